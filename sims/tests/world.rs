//! Whole nodes in a world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use umbel_cluster::NodeConfig;
use umbel_sims::{Fault, Faults, Host, MACHINES_MAX, Options, Planned, Scenario, World};

fn three(seed: u64) -> World {
    World::new(seed).nodes(3, |host| async move { host.node().start().await })
}

#[test]
fn three_nodes_find_one_another() {
    let outcome = three(1).faults(Faults::none()).run();
    assert!(outcome.ok, "{outcome}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for seed in 0..5 {
        let (one, again) = (three(seed).run(), three(seed).run());
        assert!(one.ok, "{one}");
        assert_eq!((&one.trace, one.events), (&again.trace, again.events));
        assert_ne!(one.trace, three(seed + 1).run().trace);
    }
}

#[test]
fn a_run_in_which_the_faults_are_given_is_the_run_in_which_they_were_drawn() {
    for seed in 0..3 {
        let drawn = three(seed).run_once();
        let given = three(seed).faults(Faults::Planned(drawn.faults.clone())).run_once();
        assert_eq!(drawn.trace, given.trace);
    }
}

#[test]
fn a_world_that_depends_on_more_than_its_seed_is_told_where_its_two_runs_part() {
    let lucky = Arc::new(AtomicU64::new(0));
    let world = World::new(1).faults(Faults::none()).nodes(2, move |host| {
        host.note(format_args!("number {}", lucky.fetch_add(1, Ordering::Relaxed)));
        async move { host.node().start().await }
    });
    let outcome = world.run_twice();
    assert!(outcome.has_parted(), "{outcome}");
    let told = outcome.to_string();
    assert!(told.contains("invariant=same-every-time") && told.contains("number"), "{told}");
}

#[test]
fn nodes_that_were_never_answered_dial_again_and_find_one_another() {
    let half_open = |from, to| Planned { at_ms: 0, fault: Fault::HalfOpen { from, to, ms: 8_000 } };
    let faults = Faults::Planned(vec![half_open(0, 1), half_open(1, 0)]);
    let outcome = three(1)
        .faults(faults.clone())
        .invariant("they-are-not-linked", |snapshot| {
            let linked = snapshot.nodes.iter().take(2).any(|node| {
                let others = snapshot.nodes.iter().take(2).filter(|other| other.node != node.node);
                others.into_iter().any(|other| node.linked.contains(&other.node))
            });
            if linked && snapshot.now.as_secs() < 8 { Err("they are".to_owned()) } else { Ok(()) }
        })
        .run();
    assert!(outcome.ok, "{outcome}");
    assert_ne!(outcome.trace, three(1).faults(Faults::none()).run().trace);
}

#[test]
fn what_does_not_hold_is_told_with_the_faults_that_it_takes() {
    let outcome = three(3)
        .faults(Faults::Random(6))
        .invariant("nobody-is-ever-down", |snapshot| {
            if snapshot.deaths.is_empty() { Ok(()) } else { Err("somebody is".to_owned()) }
        })
        .run();
    assert!(!outcome.ok && outcome.faults.len() == 1, "{outcome}");
    let told = outcome.to_string();
    assert!(told.contains("FAIL world seed=3 invariant=nobody-is-ever-down"), "{told}");
}

#[test]
fn the_standard_scenario_holds() {
    let scenario = Scenario::named("standard").expect("it is the first of the list");
    for seed in 0..10 {
        let outcome = scenario.run(seed, &Options::default());
        assert!(outcome.ok, "{outcome}");
    }
}

#[test]
fn nothing_depends_on_what_the_operating_system_says() {
    let scenario = Scenario::named("standard").expect("it is the first of the list");
    for seed in 0..6 {
        let outcome = scenario.run_twice(seed, &Options::default());
        assert!(outcome.ok, "{outcome}");
    }
}

#[test]
fn a_client_that_fails_ends_the_run_and_is_told() {
    let outcome = three(1)
        .faults(Faults::none())
        .workload(|_, _| async { Err::<(), _>("the till is empty") })
        .run();
    let told = outcome.to_string();
    assert!(told.contains("invariant=workload") && told.contains("the till is empty"), "{told}");
    assert!(outcome.sim_seconds < 1.0, "{told}");
}

#[test]
fn who_panics_is_told_with_what_was_said() {
    let client = three(1).faults(Faults::none()).workload(|host, _| async move {
        assert_eq!(host.number(), 0, "the client is no first machine");
        Ok::<_, String>(())
    });
    let told = client.run().to_string();
    assert!(told.contains("the client is no first machine"), "{told}");

    let program = |host: Host| async move {
        let node = host.node().start().await;
        assert!(host.life() == 0, "it begins with one");
        node
    };
    let world = World::new(1).nodes(1, program).faults(Faults::none());
    let told = world.settles_within(Duration::from_secs(5)).run().to_string();
    assert!(told.contains("did not start: it panicked: it begins with one"), "{told}");
}

#[test]
fn faults_that_do_not_fit_a_world_are_told_before_anything_runs() {
    let kill = |node, down_ms| Planned { at_ms: 5_000, fault: Fault::Kill { node, down_ms } };
    for (fault, told) in [(kill(3, 1), "they are 0 to 2"), (kill(0, u64::MAX), "longer than a day")]
    {
        let outcome = three(1).faults(Faults::Planned(vec![kill(0, 1), fault])).run();
        let first = &outcome.violations[0];
        assert!(first.invariant == "faults" && first.what.contains(told), "{outcome}");
        assert!(first.what.starts_with("fault 2, "), "{outcome}");
        assert_eq!((outcome.ok, outcome.events, outcome.faults.len()), (false, 0, 2));
    }
}

#[test]
fn a_world_without_nodes_says_so_where_it_is_to_have_faults() {
    for outcome in [World::new(1).run(), World::new(1).faults(Faults::Random(1)).run_twice()] {
        let first = &outcome.violations[0];
        assert!(first.invariant == "faults" && first.what.contains("`World::nodes`"), "{outcome}");
    }
    assert!(
        World::new(1).faults(Faults::none()).run().ok,
        "nothing is there, and nothing is wrong"
    );
}

#[test]
#[should_panic(expected = "64 machines at most, clients' too")]
fn clients_are_machines_too() {
    let full = World::new(1).nodes(MACHINES_MAX, |host| async move { host.node().start().await });
    drop(full.workload(|_, _| async { Ok::<_, String>(()) }));
}

#[test]
fn a_failure_that_does_not_come_again_is_told_as_one() {
    let first = AtomicU64::new(0);
    let world = three(1).faults(Faults::none()).invariant("runs-again", move |snapshot| {
        let is_first = first.fetch_max(1, Ordering::Relaxed) == 0;
        if is_first { Err(format!("at {:?}", snapshot.now)) } else { Ok(()) }
    });
    let outcome = world.run();
    assert!(!outcome.ok && outcome.to_string().contains("could not be repeated"), "{outcome}");
}

#[test]
fn nodes_that_bear_longer_silence_violate_nothing_by_it() {
    let program = |host: Host| async move {
        let mut config = NodeConfig::default();
        config.peers.silence_max = Duration::from_secs(15);
        host.node().config(config).start().await
    };
    let power_loss = Fault::PowerLoss { node: 2, down_ms: 18_000 };
    let faults = Faults::Planned(vec![Planned { at_ms: 3_000, fault: power_loss }]);
    let world = World::new(1).nodes(3, program).lasts(Duration::from_secs(25)).faults(faults);
    let outcome = world.run();
    assert!(outcome.ok, "{outcome}");
}
