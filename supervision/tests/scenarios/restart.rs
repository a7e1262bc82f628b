use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ractor::Actor;
use tokio::time::Instant;
use umbel_supervision::{
    Backoff, ChildSpec, ChildState, Event, Happening, Observed, Restart, Strategy, Supervisor,
    SupervisorRef,
};

use crate::probe::{
    Act, Lab, Parent, SECOND, Script, cell_of, fail, poke, state_of, until, until_state,
};

async fn one(lab: &Lab, restart: Restart) -> SupervisorRef {
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(100, SECOND)
        .child(lab.child("other"))
        .child(lab.child("it").restart(restart))
        .start()
        .await
        .unwrap();
    assert_eq!(lab.traces(), "+other +it");
    root
}

/// The ways in which an actor can end, and whether each is abnormal.
async fn end(root: &SupervisorRef, way: usize) -> Option<bool> {
    let it = cell_of(root, "it").await;
    let abnormal = match way {
        0 => poke(root, "it", Act::Panic).await.get_id() == it.get_id(),
        1 => poke(root, "it", Act::Fail).await.get_id() == it.get_id(),
        2 => {
            it.kill();
            true
        }
        3 => {
            it.stop(None);
            false
        }
        4 => {
            it.stop(Some("done".into()));
            false
        }
        5 => {
            it.drain().unwrap();
            false
        }
        _ => return None,
    };
    it.wait(None).await.unwrap();
    Some(abnormal)
}

#[tokio::test(start_paused = true)]
async fn a_permanent_child_is_restarted_whatever_its_end() {
    let lab = Lab::default();
    let root = one(&lab, Restart::Permanent).await;
    for way in 0.. {
        let Some(_) = end(&root, way).await else { break };
        until_state(&root, "it", ChildState::Running).await;
        assert!(lab.traces().ends_with("+it"));
    }
    assert_eq!(root.which_children().await.unwrap()[0].restarts, 0, "the other was left alone");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_transient_child_is_restarted_after_an_abnormal_end_only() {
    for way in 0..6 {
        let lab = Lab::default();
        let root = one(&lab, Restart::Transient).await;
        let abnormal = end(&root, way).await.unwrap();
        let expected = if abnormal { ChildState::Running } else { ChildState::Down };
        until_state(&root, "it", expected).await;
        root.stop().await;
        lab.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_is_forgotten_whatever_its_end() {
    for way in 0..6 {
        let lab = Lab::default();
        let root = one(&lab, Restart::Temporary).await;
        end(&root, way).await.unwrap();
        until("it is forgotten", async || state_of(&root, "it").await.is_none()).await;
        root.stop().await;
        lab.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_post_stop_is_an_abnormal_end() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(
            lab.scripted("it", Script { stop: Act::Panic, ..Script::default() })
                .restart(Restart::Transient),
        )
        .start()
        .await
        .unwrap();
    cell_of(&root, "it").await.stop(None);
    until("it was restarted", async || root.which_children().await.unwrap()[0].restarts == 1).await;
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn more_restarts_than_the_intensity_make_the_supervisor_stop_its_children_and_fail() {
    let lab = Lab::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (parent, _) = Actor::spawn(None, Parent, seen.clone()).await.unwrap();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(2, 5 * SECOND)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(lab.child("c"))
        .start_linked(parent.get_cell())
        .await
        .unwrap();
    for _ in 0..3 {
        fail(&root, "b").await;
    }
    root.ended().await;
    assert_eq!(lab.traces(), "+a +b +c +b +b -c -a");
    until("the parent knows", async || !seen.lock().unwrap().is_empty()).await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["failed: supervisor `root` gave up: more than 2 restarts within 5s, the last one for \
          child `b` (failed: as told)"]
    );
    parent.stop(None);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn restarts_that_are_far_enough_apart_go_on_for_ever() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(1, 5 * SECOND)
        .child(lab.child("it"))
        .start()
        .await
        .unwrap();
    for _ in 0..20 {
        fail(&root, "it").await;
        tokio::time::sleep(5 * SECOND + Duration::from_millis(1)).await;
    }
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Running));
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again_and_counts() {
    let lab = Lab::default();
    let fails_twice = |n| Script {
        start: if n == 1 || n == 2 { Act::Fail } else { Act::Well },
        ..Script::default()
    };
    let declare = |restarts| {
        Supervisor::new("root", Strategy::OneForOne)
            .intensity(restarts, 5 * SECOND)
            .child(lab.changing("it", fails_twice))
    };
    let root = declare(3).start().await.unwrap();
    fail(&root, "it").await;
    until_state(&root, "it", ChildState::Running).await;
    root.stop().await;

    let root = declare(2).start().await.unwrap();
    poke(&root, "it", Act::Panic).await;
    root.ended().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_crash_loop_does_not_keep_the_supervisor_from_stopping() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(u32::MAX, SECOND)
        .child(lab.changing("it", |n| Script {
            start: if n > 0 { Act::Fail } else { Act::Well },
            ..Script::default()
        }))
        .start()
        .await
        .unwrap();
    fail(&root, "it").await;
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_out_its_back_off_is_visible_and_hinders_nobody() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(10, 100 * SECOND)
        .child(lab.child("it").backoff(Backoff::constant(10 * SECOND)))
        .child(lab.child("other"))
        .start()
        .await
        .unwrap();
    lab.traces();
    let failed = Instant::now();
    fail(&root, "it").await;
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Waiting));
    fail(&root, "other").await;
    assert_eq!(state_of(&root, "other").await, Some(ChildState::Running));
    assert_eq!(lab.traces(), "+other");
    until_state(&root, "it", ChildState::Running).await;
    assert!(failed.elapsed() >= 10 * SECOND);
    assert!(failed.elapsed() <= 10 * SECOND + Duration::from_millis(10));
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_stops_at_once_although_a_child_waits_out_its_back_off() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("it").backoff(Backoff::constant(3600 * SECOND)))
        .start()
        .await
        .unwrap();
    fail(&root, "it").await;
    let asked = Instant::now();
    root.stop().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn back_off_grows_with_failures_in_a_row_and_is_forgotten_after_a_good_life() {
    let lab = Lab::default();
    let backoff = Backoff::exponential(SECOND, 64 * SECOND).reset_after(100 * SECOND);
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(1000, SECOND)
        .child(lab.child("it").backoff(backoff))
        .start()
        .await
        .unwrap();
    let mut events = root.events();
    let mut next_wait = async || {
        fail(&root, "it").await;
        loop {
            match events.next().await.unwrap() {
                Observed::Event(Event { what: Happening::Waiting { wait }, .. }) => {
                    tokio::time::sleep(wait).await;
                    until_state(&root, "it", ChildState::Running).await;
                    return wait;
                }
                Observed::Event(_) => {}
                Observed::Lagged(_) => panic!("events were lost"),
            }
        }
    };
    // Full jitter: a single wait says nothing, the longest of many does.
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        longest = longest.max(next_wait().await);
    }
    assert!(longest > 32 * SECOND && longest <= 64 * SECOND, "{longest:?}");
    for _ in 0..20 {
        tokio::time::sleep(100 * SECOND).await;
        assert!(next_wait().await <= SECOND);
    }
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_dies_while_another_one_starts_is_restarted_meanwhile() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(10, SECOND)
        .child(lab.child("it"))
        .start()
        .await
        .unwrap();
    let slow = lab.scripted("slow", Script { start: Act::Take(60 * SECOND), ..Script::default() });
    let starting = tokio::spawn({
        let root = root.clone();
        async move { root.start_child(slow).await.map(drop) }
    });
    until_state(&root, "slow", ChildState::Starting).await;
    fail(&root, "it").await;
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Running));
    assert_eq!(state_of(&root, "slow").await, Some(ChildState::Starting));
    starting.await.unwrap().unwrap();
    assert_eq!(lab.traces(), "+it +it +slow");
    root.stop().await;
    lab.assert_empty().await;
}

// With threads, the end of an actor can be known before the report that it is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_dies_the_moment_it_is_up_is_not_overlooked() {
    let (lab, count) = (Lab::default(), AtomicUsize::new(0));
    let it = ChildSpec::new("it", {
        let lab = lab.clone();
        move |supervisor| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let probe = lab.probe("it");
            async move {
                let (it, _) = Actor::spawn_linked(None, probe, (), supervisor).await?;
                if n < 200 {
                    it.kill();
                    tokio::task::yield_now().await;
                }
                Ok(it.get_cell())
            }
        }
    });
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(u32::MAX, SECOND)
        .child(it)
        .start()
        .await
        .unwrap();
    until("it has died 200 times", async || {
        let it = &root.which_children().await.unwrap()[0];
        it.restarts == 200 && it.state == ChildState::Running
    })
    .await;
    root.stop().await;
    lab.assert_empty().await;
}
