//! Whole nodes in a world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use umbel_sims::{Fault, Faults, Host, Options, Planned, Scenario, World};

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
