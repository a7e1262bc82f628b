//! Seeds that found something once, and must find nothing again. What each found is in `FOUND.md`.

use umbel_sims::{Fault, Options, Planned, Scenario};

fn holds(seed: u64, faults: &[(u64, Fault)]) {
    let standard = Scenario::named("standard").expect("it is the first of the list");
    let planned = |(at_ms, fault): &(u64, Fault)| Planned { at_ms: *at_ms, fault: fault.clone() };
    let faults = Some(faults.iter().map(planned).collect());
    let outcome = standard.run(seed, &Options { faults, ..Options::default() });
    assert!(outcome.ok, "{outcome}");
}

/// The network delivered them, and whoever got them took the machine for alive.
#[test]
fn bytes_of_a_machine_without_power_do_not_come_when_a_cut_mends() {
    let cut = Fault::Cut { from: 1, to: 2, ms: 4514 };
    let power_loss = Fault::PowerLoss { node: 1, down_ms: 7668 };
    holds(1866, &[(1404, cut), (2576, power_loss)]);
}
