use std::{
    error::Error,
    sync::{Arc, Weak},
};

use umbel_supervision::{
    Backoff, ChildCount, ChildError, ChildSpec, ChildState, Restart, Senseless, Strategy,
    Supervisor,
};

use crate::probe::{Act, Lab, SECOND, Script, cell_of, fail, state_of, until, until_state};

#[tokio::test(start_paused = true)]
async fn a_child_can_be_started_terminated_restarted_and_deleted() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne).start().await.unwrap();
    let it = root.start_child(lab.child("it")).await.unwrap();
    assert_eq!(it, cell_of(&root, "it").await);
    root.terminate_child("it").await.unwrap();
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Down));
    root.terminate_child("it").await.unwrap();
    let again = root.restart_child("it").await.unwrap();
    assert_ne!(it, again);
    root.terminate_child("it").await.unwrap();
    root.delete_child("it").await.unwrap();
    assert_eq!(state_of(&root, "it").await, None);
    assert_eq!(lab.traces(), "+it -it +it -it");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("up"))
        .child(lab.child("waits").backoff(Backoff::constant(SECOND)))
        .start()
        .await
        .unwrap();
    fail(&root, "waits").await;
    let text = |error: ChildError| error.to_string();
    assert_eq!(
        text(root.terminate_child("nobody").await.unwrap_err()),
        "supervisor `root` has no child `nobody`"
    );
    assert!(matches!(root.restart_child("x").await, Err(ChildError::NotFound { .. })));
    assert!(matches!(root.delete_child("x").await, Err(ChildError::NotFound { .. })));
    assert_eq!(
        text(root.start_child(lab.child("up")).await.unwrap_err()),
        "supervisor `root` has a child `up` already"
    );
    for (name, state) in [("up", "running"), ("waits", "being restarted")] {
        let expected = format!("child `{name}` of supervisor `root` is {state}");
        assert_eq!(text(root.restart_child(name).await.unwrap_err()), expected);
        assert_eq!(text(root.delete_child(name).await.unwrap_err()), expected);
    }
    assert!(matches!(
        root.start_child(lab.child("s").restart(Restart::Transient).significant()).await,
        Err(ChildError::Declaration { why: Senseless::Significant, .. })
    ));
    root.stop().await;
    assert!(matches!(root.terminate_child("up").await, Err(ChildError::SupervisorGone { .. })));
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_requested_start_that_fails_says_why_and_is_not_tried_again() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne).start().await.unwrap();
    let bad = Script { start: Act::Fail, ..Script::default() };
    let error = root.start_child(lab.scripted("new", bad)).await.unwrap_err();
    assert_eq!(error.to_string(), "child `new` of supervisor `root` did not start");
    assert!(error.source().unwrap().to_string().contains("as told"));
    assert_eq!(state_of(&root, "new").await, None);

    let second_fails =
        |n| Script { start: if n == 1 { Act::Fail } else { Act::Well }, ..Script::default() };
    root.start_child(lab.changing("old", second_fails)).await.unwrap();
    root.terminate_child("old").await.unwrap();
    assert!(matches!(root.restart_child("old").await, Err(ChildError::NotStarted { .. })));
    assert_eq!(state_of(&root, "old").await, Some(ChildState::Down));
    root.restart_child("old").await.unwrap();
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_a_restart_can_be_terminated_and_restarted_at_once() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("it").backoff(Backoff::constant(3600 * SECOND)))
        .start()
        .await
        .unwrap();
    fail(&root, "it").await;
    root.terminate_child("it").await.unwrap();
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Down));
    root.restart_child("it").await.unwrap();
    assert_eq!(state_of(&root, "it").await, Some(ChildState::Running));
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn children_are_counted_by_kind_and_by_whether_they_run() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(ChildSpec::supervisor("sub", || Supervisor::dynamic("sub")))
        .start()
        .await
        .unwrap();
    root.terminate_child("a").await.unwrap();
    let count = root.count_children().await.unwrap();
    assert_eq!(count, ChildCount { specs: 3, active: 2, supervisors: 1, actors: 2 });
    root.stop().await;
    lab.assert_empty().await;
}

/// A child whose declaration owns a token: the token is gone when the declaration is.
fn with_token(lab: &Lab, name: &'static str) -> (ChildSpec, Weak<()>) {
    let (lab, token) = (lab.clone(), Arc::new(()));
    let watch = Arc::downgrade(&token);
    let spec = ChildSpec::actor(name, move || {
        let _ = &token;
        (lab.probe(name), ())
    });
    (spec, watch)
}

async fn until_dropped(token: &Weak<()>) {
    until("the declaration is dropped", async || token.strong_count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_declaration_is_dropped_as_soon_as_its_child_can_never_be_started_again() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne).start().await.unwrap();

    let (spec, token) = with_token(&lab, "temporary");
    root.start_child(spec.restart(Restart::Temporary)).await.unwrap().kill();
    until_dropped(&token).await;

    let (spec, token) = with_token(&lab, "deleted");
    root.start_child(spec).await.unwrap();
    root.terminate_child("deleted").await.unwrap();
    assert_eq!(token.strong_count(), 1);
    root.delete_child("deleted").await.unwrap();
    assert_eq!(token.strong_count(), 0);

    let (spec, token) = with_token(&lab, "refused");
    root.start_child(lab.child("refused")).await.unwrap();
    root.start_child(spec).await.unwrap_err();
    assert_eq!(token.strong_count(), 0);

    let (spec, token) = with_token(&lab, "transient");
    root.start_child(spec.restart(Restart::Transient)).await.unwrap().stop(None);
    until_state(&root, "transient", ChildState::Down).await;
    assert_eq!(token.strong_count(), 1, "it can still be restarted by hand");
    root.stop().await;
    assert_eq!(token.strong_count(), 0);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn declarations_are_dropped_when_the_supervisor_stops_gives_up_or_is_killed() {
    let lab = Lab::default();
    for way in 0..4 {
        let (a, a_token) = with_token(&lab, "a");
        let (b, b_token) = with_token(&lab, "b");
        let mut declaration = Supervisor::new("root", Strategy::OneForOne).child(a).child(b);
        if way == 3 {
            let bad = Script { start: Act::Fail, ..Script::default() };
            declaration = declaration.child(lab.scripted("bad", bad));
            declaration.start().await.unwrap_err();
        } else {
            let root = declaration.start().await.unwrap();
            match way {
                0 => root.stop().await,
                1 => root.cell().kill(),
                _ => {
                    fail(&root, "a").await;
                    fail(&root, "a").await;
                }
            }
            root.ended().await;
        }
        until_dropped(&a_token).await;
        until_dropped(&b_token).await;
    }
    lab.assert_empty().await;
}

#[test]
fn a_handle_rides_on_a_declaration_until_that_is_given_away() {
    let spec = Lab::default().child("it").with_handle(42).restart(Restart::Temporary);
    assert_eq!(*spec.handle(), 42);
    assert_eq!(spec.name(), "it");
    let _ = Supervisor::new("root", Strategy::OneForOne).child(spec);
}
