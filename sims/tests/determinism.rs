//! Whatever makes a run depend on more than its seed is found, and it is told where.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use umbel_actors::Message;
use umbel_cluster::{Node, StartError};
use umbel_sims::{Faults, Host, Outcome, World};

/// What the topics of this test carry, were anything published.
#[derive(Clone, Message, Serialize, Deserialize)]
#[message(remote)]
struct Told(u64);

/// Two runs of a world in which each node does something before it is given back.
fn twice<F>(plant: impl Fn(Host, Node) -> F + Copy + Send + Sync + 'static) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let program = move |host: Host| async move {
        let node = host.node().start().await?;
        plant(host, node.clone()).await;
        Ok::<_, StartError>(node)
    };
    World::new(5).nodes(2, program).faults(Faults::none()).run_twice()
}

fn assert_parts(outcome: &Outcome, at: &str) {
    let first = outcome.violations.first().map(|one| (one.invariant.as_str(), one.what.as_str()));
    let (invariant, what) = first.expect("the two runs differ");
    assert_eq!(invariant, "same-every-time", "{outcome}");
    assert!(what.contains("part at event") && what.contains(at), "{outcome}");
}

#[test]
fn nothing_that_is_planted_leaves_two_runs_the_same() {
    let outcome = twice(|host, _| async move { host.note("nothing is planted") });
    assert!(outcome.ok, "{outcome}");
}

#[test]
fn a_hash_table_of_random_keys_that_is_iterated_is_found() {
    let outcome = twice(|host, _| async move {
        let table: HashMap<u32, ()> = (0..20).map(|key| (key, ())).collect();
        host.note(format_args!("the keys are {:?}", table.keys().collect::<Vec<_>>()));
    });
    assert_parts(&outcome, "the keys are");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the wall clock is what is planted")]
fn the_wall_clock_is_found() {
    let outcome = twice(|host, _| async move {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        host.note(format_args!("it is {now:?}"));
    });
    assert_parts(&outcome, "it is");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "unseeded chance is what is planted")]
fn a_generator_that_seeds_itself_is_found() {
    let outcome = twice(|host, _| async move {
        host.note(format_args!("the die shows {}", rand::random::<u64>()));
    });
    assert_parts(&outcome, "the die shows");
}

#[test]
fn chance_that_shows_only_in_what_is_sent_is_found() {
    let outcome = twice(|host, node| async move {
        if host.number() == 1 && node.wait_for_peers(1, Duration::from_secs(5)).await {
            // The other node hears of them in the order in which the table gives them.
            let table: HashMap<u32, ()> = (0..20).map(|key| (key, ())).collect();
            for key in table.into_keys() {
                let topic = node.topic::<Told>(&format!("topic-{key}"));
                let topic = topic.expect("the name is allowed");
                std::mem::forget(topic.subscribe().expect("there are few"));
            }
        }
    });
    assert_parts(&outcome, "bytes");
}

#[test]
fn a_thread_is_found() {
    let program = |host: Host| async move {
        let node = host.node().start().await?;
        std::thread::spawn(|| ()).join().expect("it does not panic");
        Ok::<_, StartError>(node)
    };
    let outcome = World::new(5).nodes(1, program).faults(Faults::none()).run();
    let first = outcome.violations.first().expect("a thread is a violation");
    assert_eq!(first.invariant, "one-thread");
    assert!(first.what.contains("started a thread"), "{outcome}");
}

#[test]
fn tasks_that_block_are_found() {
    let program = |host: Host| async move {
        let node = host.node().start().await?;
        drop(tokio::task::spawn_blocking(|| ()));
        Ok::<_, StartError>(node)
    };
    let outcome = World::new(5).nodes(1, program).faults(Faults::none()).run();
    let first = outcome.violations.first().expect("a thread is a violation");
    assert_eq!(first.invariant, "one-thread");
}
