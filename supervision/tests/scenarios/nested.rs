use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use umbel_supervision::{ChildSpec, ChildState, Restart, Strategy, Supervisor, SupervisorRef};

use crate::{
    frozen::{Blocker, Order, gate},
    probe::{Lab, SECOND, cell_of, fail, state_of, until, until_state},
};

fn sub(lab: &Lab) -> ChildSpec {
    let lab = lab.clone();
    ChildSpec::supervisor("sub", move || {
        Supervisor::new("sub", Strategy::OneForOne)
            .intensity(1, 5 * SECOND)
            .child(lab.child("b"))
            .child(lab.child("c"))
    })
}

async fn root(lab: &Lab, sub: ChildSpec) -> SupervisorRef {
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(sub)
        .start()
        .await
        .unwrap();
    assert_eq!(lab.traces(), "+a +b +c");
    root
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_gives_up_is_restarted_by_its_own() {
    // It fails, so even a transient one is; in OTP, its `shutdown` would be a normal end.
    for restart in [Restart::Permanent, Restart::Transient] {
        let lab = Lab::default();
        let root = root(&lab, sub(&lab).restart(restart)).await;
        let sub = root.supervisor("sub").await.unwrap().unwrap();
        fail(&sub, "b").await;
        fail(&sub, "b").await;
        sub.ended().await;
        until_state(&root, "sub", ChildState::Running).await;
        assert_eq!(lab.traces(), "+b -c +b +c");
        let again = &root.which_children().await.unwrap()[1];
        assert_eq!(again.restarts, 1);
        assert!(again.last_failure.as_ref().unwrap().contains("gave up"));
        root.stop().await;
        assert_eq!(lab.traces(), "-c -b -a");
        lab.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_climb_the_tree_until_the_root_gives_up() {
    let lab = Lab::default();
    let root = root(&lab, sub(&lab)).await;
    for _ in 0..2 {
        let sub = root.supervisor("sub").await.unwrap().unwrap();
        fail(&sub, "b").await;
        fail(&sub, "b").await;
        sub.ended().await;
        let _ = root.which_children().await;
    }
    root.ended().await;
    lab.assert_empty().await;
    assert!(lab.traces().ends_with("-c -a"));
}

#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_is_killed_is_restarted_with_its_children() {
    let lab = Lab::default();
    let root = root(&lab, sub(&lab)).await;
    cell_of(&root, "sub").await.kill();
    until("it is up again", async || root.which_children().await.unwrap()[1].restarts == 1).await;
    assert_eq!(lab.traces(), "+b +c");
    until("the old children are gone", async || lab.alive() == 3).await;
    root.stop().await;
    lab.assert_empty().await;
}

// A thread that is blocked makes no progress on the paused clock, so here time is real.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_successor_of_a_killed_supervisor_waits_until_the_children_before_are_gone() {
    for levels in [1, 2] {
        let (opener, gate) = gate();
        let starts = Arc::new(AtomicUsize::new(0));
        let blocker = {
            let starts = starts.clone();
            ChildSpec::actor("blocker", move || {
                starts.fetch_add(1, Ordering::SeqCst);
                (Blocker(gate.clone()), ())
            })
        };
        let mut tree = Supervisor::new("sub", Strategy::OneForOne).child(blocker);
        for _ in 1..levels {
            let below = tree.clone();
            let child = ChildSpec::supervisor("sub", move || below.clone());
            tree = Supervisor::new("sub", Strategy::OneForOne).child(child);
        }
        let sub = ChildSpec::supervisor("sub", move || tree.clone());
        let root = Supervisor::new("root", Strategy::OneForOne).child(sub).start().await.unwrap();
        let mut lowest = root.clone();
        for _ in 0..levels {
            lowest = lowest.supervisor("sub").await.unwrap().unwrap();
        }
        cell_of(&lowest, "blocker").await.send_message(Order::Block).unwrap();
        let sub = cell_of(&root, "sub").await;
        sub.kill();
        sub.wait(None).await.unwrap();
        until_state(&root, "sub", ChildState::Starting).await;
        tokio::time::sleep(SECOND / 5).await;
        assert_eq!(state_of(&root, "sub").await, Some(ChildState::Starting));
        assert_eq!(starts.load(Ordering::SeqCst), 1, "two incarnations of one child");
        opener.send(()).unwrap();
        until_state(&root, "sub", ChildState::Running).await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
        root.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_shared_declaration_owns_lives_over_restarts_of_the_nested_supervisor() {
    struct Token(Arc<AtomicUsize>);
    impl Drop for Token {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (lab, dropped) = (Lab::default(), Arc::new(AtomicUsize::new(0)));
    let (token, probes) = (Token(dropped.clone()), lab.clone());
    let shared = Supervisor::new("sub", Strategy::OneForOne)
        .child(ChildSpec::actor("b", move || {
            let _ = &token;
            (probes.probe("b"), ())
        }))
        .child(lab.child("c"));
    let root = root(&lab, ChildSpec::supervisor("sub", move || shared.clone())).await;
    cell_of(&root, "sub").await.kill();
    until("it is up again", async || root.which_children().await.unwrap()[1].restarts == 1).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    root.stop().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn only_a_supervisor_that_is_up_can_be_reached_as_one() {
    let lab = Lab::default();
    let root = root(&lab, sub(&lab)).await;
    assert!(root.supervisor("a").await.unwrap().is_none());
    assert!(root.supervisor("nobody").await.unwrap().is_none());
    root.terminate_child("sub").await.unwrap();
    assert!(root.supervisor("sub").await.unwrap().is_none());
    root.restart_child("sub").await.unwrap();
    assert_eq!(root.supervisor("sub").await.unwrap().unwrap().name(), "sub");
    root.stop().await;
    lab.assert_empty().await;
}
