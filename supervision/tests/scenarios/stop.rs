use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ractor::Actor;
use tokio::time::Instant;
use umbel_supervision::{
    AutoShutdown, ChildSpec, ChildState, Restart, Shutdown, Strategy, Supervisor,
};

use crate::probe::{Act, Lab, Parent, SECOND, Script, cell_of, poke, state_of, until, until_state};

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_is_killed_when_its_time_is_up() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("stop", Script { stop: Act::Hang, ..Script::default() }))
        .child(lab.child("handle").shutdown(Shutdown::Timeout(2 * SECOND)))
        .start()
        .await
        .unwrap();
    poke(&root, "handle", Act::Hang).await;
    let asked = Instant::now();
    root.stop().await;
    // 5 s is the default, and one is stopped after the other.
    assert_eq!(asked.elapsed(), 7 * SECOND);
    assert_eq!(lab.traces(), "+stop +handle");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_brutal_kill_is_immediate_and_infinity_waits() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(3600 * SECOND), ..Script::default() };
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("patient", slow).shutdown(Shutdown::Infinity))
        .child(lab.scripted("brutal", slow).shutdown(Shutdown::BrutalKill))
        .start()
        .await
        .unwrap();
    let asked = Instant::now();
    root.stop().await;
    assert_eq!(asked.elapsed(), 3600 * SECOND);
    assert_eq!(lab.traces(), "+patient +brutal -patient");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_stop_by_ractor_is_as_graceful() {
    let lab = Lab::default();
    let inner = lab.clone();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(ChildSpec::supervisor("sub", move || {
            Supervisor::new("sub", Strategy::OneForOne)
                .child(inner.child("b"))
                .child(inner.child("c"))
        }))
        .child(lab.child("d"))
        .start()
        .await
        .unwrap();
    lab.traces();
    root.cell().stop_and_wait(None, None).await.unwrap();
    assert_eq!(lab.traces(), "-d -c -b -a");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_stop_in_the_midst_of_a_graceful_one_changes_nothing() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(SECOND), ..Script::default() };
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(lab.scripted("b", slow))
        .start()
        .await
        .unwrap();
    lab.traces();
    let stopping = tokio::spawn({
        let root = root.clone();
        async move { root.stop().await }
    });
    until_state(&root, "b", ChildState::Stopping).await;
    root.cell().stop(None);
    stopping.await.unwrap();
    assert_eq!(lab.traces(), "-b -a");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_answers_while_it_stops_its_children_but_starts_nothing() {
    let lab = Lab::default();
    let slow = Script { stop: Act::Take(SECOND), ..Script::default() };
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("a", slow))
        .start()
        .await
        .unwrap();
    let stopping = tokio::spawn({
        let root = root.clone();
        async move { root.stop().await }
    });
    until_state(&root, "a", ChildState::Stopping).await;
    assert!(root.snapshot().await.unwrap().stopping);
    let refused = root.start_child(lab.child("b")).await.unwrap_err();
    assert_eq!(refused.to_string(), "supervisor `root` is stopping or gone");
    stopping.await.unwrap();
    assert!(root.which_children().await.is_err());
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_killed_takes_everything_with_it() {
    let lab = Lab::default();
    let inner = lab.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (parent, _) = Actor::spawn(None, Parent, seen.clone()).await.unwrap();
    let declaration = Arc::new(());
    let held = declaration.clone();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(ChildSpec::supervisor("sub", move || {
            let _ = &held;
            Supervisor::new("sub", Strategy::OneForOne).child(inner.child("b"))
        }))
        .start_linked(parent.get_cell())
        .await
        .unwrap();
    // One more that hangs in its start, which the supervisor does in a task.
    let hanging = lab.scripted("hangs", Script { start: Act::Hang, ..Script::default() });
    let starting = tokio::spawn({
        let root = root.clone();
        async move { root.start_child(hanging).await }
    });
    until_state(&root, "hangs", ChildState::Starting).await;
    root.cell().kill();
    root.ended().await;
    assert!(starting.await.unwrap().is_err());
    until("the declarations are dropped", async || Arc::strong_count(&declaration) == 1).await;
    until("the parent knows", async || !seen.lock().unwrap().is_empty()).await;
    assert_eq!(*seen.lock().unwrap(), ["terminated Some(\"killed\")"]);
    parent.stop(None);
    lab.assert_empty().await;
    assert_eq!(lab.traces(), "+a +b");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_in_its_start_does_not_keep_the_supervisor_from_stopping() {
    let lab = Lab::default();
    let root =
        Supervisor::new("root", Strategy::OneForOne).child(lab.child("a")).start().await.unwrap();
    let hanging = lab.scripted("hangs", Script { start: Act::Hang, ..Script::default() });
    let starting = tokio::spawn({
        let root = root.clone();
        async move { root.start_child(hanging).await }
    });
    until_state(&root, "hangs", ChildState::Starting).await;
    let asked = Instant::now();
    root.stop().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(starting.await.unwrap().is_err());
    assert_eq!(lab.traces(), "+a -a");
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_still_starting_stops_what_it_has_started_in_order() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne).start().await.unwrap();
    let inner = lab.clone();
    let sub = ChildSpec::supervisor("sub", move || {
        Supervisor::new("sub", Strategy::OneForOne)
            .child(inner.child("a"))
            .child(inner.child("b"))
            .child(inner.scripted("c", Script { start: Act::Hang, ..Script::default() }))
    });
    let starting = tokio::spawn({
        let root = root.clone();
        async move { root.start_child(sub).await }
    });
    until("b is up", async || lab.alive() == 3).await;
    assert_eq!(lab.traces(), "+a +b");
    root.terminate_child("sub").await.unwrap();
    assert_eq!(lab.traces(), "-b -a");
    let error = starting.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "child `sub` of supervisor `root` was told to stop before it was up"
    );
    assert_eq!(state_of(&root, "sub").await, None);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn significant_children_end_their_supervisor() {
    for (auto_shutdown, after_first) in
        [(AutoShutdown::AnySignificant, true), (AutoShutdown::AllSignificant, false)]
    {
        let lab = Lab::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (parent, _) = Actor::spawn(None, Parent, seen.clone()).await.unwrap();
        let root = Supervisor::new("root", Strategy::OneForOne)
            .auto_shutdown(auto_shutdown)
            .child(lab.child("service"))
            .child(lab.child("a").restart(Restart::Transient).significant())
            .child(lab.child("b").restart(Restart::Temporary).significant())
            .start_linked(parent.get_cell())
            .await
            .unwrap();
        // Neither an end that leads to a restart nor a termination by hand counts.
        crate::probe::fail(&root, "a").await;
        root.terminate_child("a").await.unwrap();
        root.restart_child("a").await.unwrap();
        cell_of(&root, "a").await.stop(None);
        if !after_first {
            until_state(&root, "a", ChildState::Down).await;
            cell_of(&root, "b").await.kill();
        }
        root.ended().await;
        until("the parent knows", async || !seen.lock().unwrap().is_empty()).await;
        assert_eq!(*seen.lock().unwrap(), ["terminated Some(\"shutdown\")"]);
        assert!(lab.traces().ends_with("-service"));
        parent.stop(None);
        lab.assert_empty().await;
    }
}
