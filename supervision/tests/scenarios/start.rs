use std::{error::Error, time::Duration};

use ractor::{Actor, ActorStatus, SpawnErr};
use tokio::time::{Instant, timeout};
use umbel_supervision::{AutoShutdown, ChildSpec, Senseless, StartError, Strategy, Supervisor};

use crate::probe::{Act, Lab, Parent, SECOND, Script};

fn three(lab: &Lab, third: Script) -> Supervisor {
    Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(lab.child("b"))
        .child(lab.scripted("c", third))
}

#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_stop_in_reverse_order() {
    let lab = Lab::default();
    let root = three(&lab, Script::default()).start().await.unwrap();
    assert_eq!(lab.traces(), "+a +b +c");
    root.stop().await;
    assert_eq!(lab.traces(), "-c -b -a");
    assert_eq!(root.cell().get_status(), ActorStatus::Stopped);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_starts_when_the_one_before_it_is_up() {
    let lab = Lab::default();
    let slow = Script { start: Act::Take(SECOND), ..Script::default() };
    let started = Instant::now();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("a", slow))
        .child(lab.scripted("b", slow))
        .start()
        .await
        .unwrap();
    assert_eq!(lab.traces(), "+a +b");
    assert_eq!(started.elapsed(), 2 * SECOND);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_start_undoes_those_before_it_in_reverse_order_and_says_which_and_why() {
    let failing = [Act::Fail, Act::Panic];
    for start in failing {
        let lab = Lab::default();
        let error = three(&lab, Script { start, ..Script::default() })
            .child(lab.child("d"))
            .start()
            .await
            .unwrap_err();
        assert_eq!(lab.traces(), "+a +b -b -a");
        assert_eq!(error.to_string(), "child `c` of supervisor `root` did not start");
        assert!(error.source().unwrap().to_string().contains("as told"));
        lab.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_closure_that_panics_is_a_start_that_failed() {
    let lab = Lab::default();
    let error = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(ChildSpec::new("b", |_| async { panic!("no luck") }))
        .start()
        .await
        .unwrap_err();
    assert!(matches!(&error, StartError::Child { child, .. } if &**child == "b"));
    assert!(error.source().unwrap().to_string().contains("no luck"));
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_nested_start_error_is_found_inside_the_outer_one() {
    let lab = Lab::default();
    let inner = lab.clone();
    let error = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("z"))
        .child(ChildSpec::supervisor("sub", move || {
            three(&inner, Script { start: Act::Fail, ..Script::default() })
        }))
        .start()
        .await
        .unwrap_err();
    assert_eq!(lab.traces(), "+z +a +b -b -a -z");
    let StartError::Child { child, source: SpawnErr::StartupFailed(source), .. } = error else {
        panic!("another error: {error}")
    };
    assert_eq!(&*child, "sub");
    let inner = source.downcast::<StartError>().unwrap();
    assert!(matches!(*inner, StartError::Child { child, .. } if &*child == "c"));
    lab.assert_empty().await;
}

/// Fails to start with an error that has a cause, below two supervisors.
fn deep(lab: &Lab) -> ChildSpec {
    #[derive(Debug, thiserror::Error)]
    #[error("the index is not there")]
    struct NoIndex(#[source] std::io::Error);
    let lab = lab.clone();
    let sub = move || {
        let broken = ChildSpec::new("index", |_| async {
            let why = NoIndex(std::io::Error::other("disk on fire"));
            Err(SpawnErr::StartupFailed(why.into()))
        });
        Supervisor::new("store", Strategy::OneForOne).child(lab.child("a")).child(broken)
    };
    ChildSpec::supervisor("middle", move || {
        Supervisor::new("middle", Strategy::OneForOne)
            .child(ChildSpec::supervisor("store", sub.clone()))
    })
}

#[tokio::test(start_paused = true)]
async fn the_reason_is_that_of_the_innermost_child_once_and_without_ractors_words() {
    let reason = "child `index` of supervisor `store` did not start: the index is not there: \
                  disk on fire";
    let lab = Lab::default();
    let root = || Supervisor::new("root", Strategy::OneForOne);
    let error = root().child(deep(&lab)).start().await.unwrap_err();
    assert_eq!(error.reason(), reason);
    let root = root().start().await.unwrap();
    let error = root.start_child(deep(&lab)).await.unwrap_err();
    assert_eq!(error.reason(), reason);
    let script = Script { start: Act::Panic, ..Script::default() };
    let error = root.start_child(lab.scripted("c", script)).await.unwrap_err();
    let panicked = error.reason();
    assert!(panicked.starts_with("child `c` of supervisor `root` did not start: "), "{panicked}");
    assert_eq!(panicked.matches("as told").count(), 1, "{panicked}");
    assert!(!panicked.contains("during startup"), "{panicked}");
    let error = root.restart_child("nobody").await.unwrap_err();
    assert_eq!(error.reason(), error.to_string(), "what has no cause is its own reason");
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_senseless_declaration_is_refused_before_anything_starts() {
    let lab = Lab::default();
    let new = || Supervisor::new("root", Strategy::OneForOne).child(lab.child("a"));
    let refused = [
        (new().child(lab.child("a")), Senseless::DuplicateName),
        (new().child(lab.child("b")).children_max(1), Senseless::TooMany),
        (new().child(lab.child("b").significant()), Senseless::Significant),
        (
            new().child(lab.child("b").significant()).auto_shutdown(AutoShutdown::AnySignificant),
            Senseless::Significant,
        ),
    ];
    for (declaration, expected) in refused {
        match declaration.start().await.unwrap_err() {
            StartError::Declaration { why, .. } => assert_eq!(why, expected),
            other => panic!("another error: {other}"),
        }
        assert_eq!(lab.traces(), "");
    }
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_leaves_nothing_behind() {
    let lab = Lab::default();
    let start = three(&lab, Script { start: Act::Hang, ..Script::default() }).start();
    assert!(timeout(SECOND, start).await.is_err());
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_does_not_start_under_an_actor_that_has_stopped() {
    let lab = Lab::default();
    let (parent, task) = Actor::spawn(None, Parent, Default::default()).await.unwrap();
    parent.stop(None);
    task.await.unwrap();
    let error = three(&lab, Script::default()).start_linked(parent.get_cell()).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn { .. }));
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_function_that_does_not_link_is_linked() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .intensity(10, SECOND)
        .child(ChildSpec::new("a", |_| async {
            Ok(Actor::spawn(None, Parent, Default::default()).await?.0.get_cell())
        }))
        .start()
        .await
        .unwrap();
    let children = root.cell().get_children();
    assert_eq!(children.len(), 1);
    children[0].kill();
    crate::probe::until("it was restarted", async || {
        root.which_children().await.unwrap()[0].restarts == 1
    })
    .await;
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn many_children_start_although_each_poll_may_do_only_so_much() {
    let lab = Lab::default();
    let mut root = Supervisor::new("root", Strategy::OneForOne);
    for n in 0..1000 {
        let name: &'static str = Box::leak(format!("c{n}").into_boxed_str());
        root = root.child(lab.child(name));
    }
    let root = root.start().await.unwrap();
    assert_eq!(root.count_children().await.unwrap().active, 1000);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_is_a_child_of_the_actor_that_it_is_linked_to() {
    let lab = Lab::default();
    let (parent, task) = Actor::spawn(None, Parent, Default::default()).await.unwrap();
    let root = three(&lab, Script::default()).start_linked(parent.get_cell()).await.unwrap();
    assert_eq!(root.cell().try_get_supervisor(), Some(parent.get_cell()));
    assert_eq!(root.name(), "root");
    assert_eq!(root.cell().get_name(), None);
    parent.stop(None);
    task.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    // ractor: a parent's end kills its children.
    assert_eq!(lab.traces(), "+a +b +c");
    lab.assert_empty().await;
}

#[test]
fn what_takes_time_can_be_done_in_a_spawned_task() {
    fn is_send<F: Send>(make: impl FnOnce() -> F) {
        let _ = make;
    }
    fn declaration() -> Supervisor {
        unreachable!("only its type matters")
    }
    fn root() -> &'static umbel_supervision::SupervisorRef {
        unreachable!("only its type matters")
    }
    is_send(|| declaration().start());
    is_send(|| declaration().start_linked(root().cell()));
    is_send(|| root().stop());
    is_send(|| root().ended());
    is_send(|| root().start_child(Lab::default().child("it").with_handle(1)));
    is_send(|| root().restart_child("it"));
    is_send(|| root().terminate_child("it"));
    is_send(|| root().delete_child(String::from("it")));
    is_send(|| root().which_children());
    is_send(|| root().snapshot());
    is_send(|| root().supervisor("it"));
}
