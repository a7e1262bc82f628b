//! Seeds that found something once, and must find nothing again. What each found is in `FOUND.md`.

use umbel_sims::{Fault, Options, Planned, Scenario};

fn holds(scenario: &str, seed: u64, faults: Option<Vec<(u64, Fault)>>) {
    let scenario = Scenario::named(scenario).expect("it is in the list");
    let planned = |(at_ms, fault)| Planned { at_ms, fault };
    let faults = faults.map(|faults| faults.into_iter().map(planned).collect());
    let outcome = scenario.run(seed, &Options { faults, ..Options::default() });
    assert!(outcome.ok, "{outcome}");
}

#[test]
fn a_link_whose_second_lane_comes_after_its_peer_was_declared_down_does_not_come_up() {
    holds("decisions", 1255, None);
}

/// The network delivered them, and whoever got them took the machine for alive.
#[test]
fn bytes_of_a_machine_without_power_do_not_come_when_a_cut_mends() {
    let cut = Fault::Cut { from: 1, to: 2, ms: 4514 };
    let power_loss = Fault::PowerLoss { node: 1, down_ms: 7668 };
    holds("standard", 1866, Some(vec![(1404, cut), (2576, power_loss)]));
}
