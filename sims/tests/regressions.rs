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

#[test]
fn of_two_that_hold_each_other_for_over_one_yields_though_the_same_node_stands_behind_both() {
    for seed in [576, 2395, 2726] {
        holds("decisions", seed, None);
    }
}

/// It did not yield to whoever refused it, and held an earlier life for over than the one that had.
#[test]
fn a_node_that_is_refused_by_a_life_it_was_never_linked_with_is_linked_with_it_in_the_end() {
    let delay = Fault::Delay { from: 4, to: 0, extra_ms: 117, ms: 7340 };
    let (others, two) = (vec![0, 1, 3], vec![1, 4]);
    let faults = vec![
        (1058, delay),
        (1237, Fault::Partition { side: others, ms: 981 }),
        (4187, Fault::Reset { a: 1, b: 0 }),
        (7725, Fault::Partition { side: two, ms: 6161 }),
        (10_007, Fault::Kill { node: 4, down_ms: 1 }),
    ];
    holds("churn", 140, Some(faults));
}

/// The network delivered them, and whoever got them took the machine for alive.
#[test]
fn bytes_of_a_machine_without_power_do_not_come_when_a_cut_mends() {
    let cut = Fault::Cut { from: 1, to: 2, ms: 4514 };
    let power_loss = Fault::PowerLoss { node: 1, down_ms: 7668 };
    holds("standard", 1866, Some(vec![(1404, cut), (2576, power_loss)]));
}

/// Another attempt had been executed before; or the other of two hedged, which had answered.
#[cfg(feature = "command")]
#[test]
fn a_call_that_was_executed_is_not_told_to_be_not_executed() {
    for seed in [0, 1] {
        holds("services", seed, Some(Vec::new()));
    }
    let slow = Fault::Slow { node: 2, turn_ms: 74, ms: 3552 };
    holds("services", 32, Some(vec![(490, slow), (1011, Fault::Cut { from: 1, to: 2, ms: 2155 })]));
    let partition = Fault::Partition { side: vec![2], ms: 3757 };
    holds("reload", 50, Some(vec![(3832, partition), (5478, Fault::Reset { a: 0, b: 2 })]));
}

/// A manager of services slept on, and so did a change of modules, and the clerk of a service's questions.
#[cfg(feature = "command")]
#[test]
fn a_node_that_leaves_keeps_no_task_of_services_and_modules() {
    holds("services", 7, Some(vec![(2480, Fault::Leave { node: 2, down_ms: 1 })]));
    holds("services", 47, Some(vec![(1345, Fault::Leave { node: 0, down_ms: 1 })]));
    holds("reload", 6, Some(vec![(5412, Fault::Leave { node: 0, down_ms: 1 })]));
}
