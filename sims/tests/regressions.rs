//! Seeds that found something once, and what that was.

use umbel_sims::{Options, Scenario};

fn holds(scenario: &str, seed: u64) {
    let scenario = Scenario::named(scenario).expect("it is in the list");
    let outcome = scenario.run(seed, &Options::default());
    assert!(outcome.ok, "{outcome}");
}

#[test]
fn a_link_whose_second_lane_comes_after_its_peer_was_declared_down_does_not_come_up() {
    holds("decisions", 1255);
}
