use umbel_supervision::{Backoff, ChildState, Restart, Strategy, Supervisor, SupervisorRef};

use crate::probe::{Act, Lab, SECOND, Script, fail, poke, state_of, until, until_state};

async fn four(lab: &Lab, strategy: Strategy) -> SupervisorRef {
    let root = Supervisor::new("root", strategy)
        .intensity(10, SECOND)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(lab.child("c").restart(Restart::Temporary))
        .child(lab.child("d").restart(Restart::Transient))
        .start()
        .await
        .unwrap();
    assert_eq!(lab.traces(), "+a +b +c +d");
    root
}

async fn settled(root: &SupervisorRef) {
    until("all children run", async || {
        let children = root.which_children().await.unwrap();
        children.iter().all(|child| child.state == ChildState::Running)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_all_in_reverse_and_starts_all_in_order_but_temporary_ones() {
    let lab = Lab::default();
    let root = four(&lab, Strategy::OneForAll).await;
    fail(&root, "b").await;
    settled(&root).await;
    assert_eq!(lab.traces(), "-d -c -a +a +b +d");
    root.stop().await;
    assert_eq!(lab.traces(), "-d -b -a");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_leaves_older_siblings_alone() {
    let lab = Lab::default();
    let root = four(&lab, Strategy::RestForOne).await;
    fail(&root, "b").await;
    settled(&root).await;
    assert_eq!(lab.traces(), "-d -c +b +d");
    root.stop().await;
    assert_eq!(lab.traces(), "-d -b -a");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_had_ended_normally_is_started_with_its_group() {
    let lab = Lab::default();
    let root = four(&lab, Strategy::OneForAll).await;
    crate::probe::cell_of(&root, "d").await.stop(None);
    until_state(&root, "d", ChildState::Down).await;
    root.terminate_child("b").await.unwrap();
    lab.traces();
    fail(&root, "a").await;
    settled(&root).await;
    assert_eq!(lab.traces(), "-c +a +b +d");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn siblings_that_die_together_are_one_restart() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForAll)
        .intensity(1, SECOND)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(lab.child("c"))
        .start()
        .await
        .unwrap();
    lab.traces();
    let children = root.cell().get_children();
    children.iter().for_each(|child| child.kill());
    settled(&root).await;
    assert_eq!(lab.traces(), "+a +b +c");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_stopped_at_once_and_started_when_the_back_off_is_over() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForAll)
        .intensity(10, SECOND)
        .child(lab.child("a").backoff(Backoff::constant(10 * SECOND)))
        .child(lab.child("b"))
        .start()
        .await
        .unwrap();
    lab.traces();
    fail(&root, "a").await;
    until_state(&root, "b", ChildState::Waiting).await;
    assert_eq!(state_of(&root, "a").await, Some(ChildState::Waiting));
    assert_eq!(lab.traces(), "-b");
    // Who waits can be told not to, and the others come up without it.
    root.terminate_child("a").await.unwrap();
    until_state(&root, "b", ChildState::Running).await;
    assert_eq!(lab.traces(), "+b");
    assert_eq!(state_of(&root, "a").await, Some(ChildState::Down));
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_in_a_group_begins_again_with_those_that_it_concerns() {
    for (strategy, expected) in [
        (Strategy::OneForAll, "-c -b +a +b -b -a +a +b +c"),
        (Strategy::RestForOne, "-c -b +a +b +c"),
    ] {
        let lab = Lab::default();
        let fails_once =
            |n| Script { start: if n == 1 { Act::Fail } else { Act::Well }, ..Script::default() };
        let root = Supervisor::new("root", strategy)
            .intensity(10, SECOND)
            .child(lab.child("a"))
            .child(lab.child("b"))
            .child(lab.changing("c", fails_once))
            .start()
            .await
            .unwrap();
        lab.traces();
        fail(&root, "a").await;
        settled(&root).await;
        assert_eq!(lab.traces(), expected, "{strategy:?}");
        root.stop().await;
        lab.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_sibling_that_dies_meanwhile_widens_the_restart() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(SECOND), ..Script::default() };
    let root = Supervisor::new("root", Strategy::RestForOne)
        .intensity(2, 100 * SECOND)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(lab.scripted("c", slow))
        .start()
        .await
        .unwrap();
    lab.traces();
    fail(&root, "b").await;
    assert_eq!(state_of(&root, "c").await, Some(ChildState::Stopping));
    fail(&root, "a").await;
    assert_eq!(state_of(&root, "a").await, Some(ChildState::Waiting));
    settled(&root).await;
    assert_eq!(lab.traces(), "-c +a +b +c");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_in_its_stop_holds_up_its_group_no_longer_than_declared() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForAll)
        .child(lab.child("a"))
        .child(lab.changing("b", |n| Script {
            stop: if n == 0 { Act::Hang } else { Act::Well },
            ..Script::default()
        }))
        .start()
        .await
        .unwrap();
    lab.traces();
    let failed = tokio::time::Instant::now();
    poke(&root, "a", Act::Panic).await;
    until("both were restarted", async || {
        let children = root.which_children().await.unwrap();
        children.iter().all(|child| child.restarts == 1)
    })
    .await;
    assert!(failed.elapsed() >= 5 * SECOND && failed.elapsed() < 6 * SECOND);
    assert_eq!(lab.traces(), "+a +b");
    root.stop().await;
    lab.assert_empty().await;
}
