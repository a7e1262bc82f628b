use std::{sync::Arc, time::Duration};

use umbel_supervision::{
    Backoff, ChildKind, ChildSpec, ChildState, Exit, Happening, Observed, Strategy, Supervisor,
    SupervisorRef, SupervisorSnapshot,
};

use crate::probe::{Act, Lab, SECOND, Script, fail, poke, until_state};

async fn tree(lab: &Lab) -> SupervisorRef {
    let inner = lab.clone();
    Supervisor::new("root", Strategy::RestForOne)
        .intensity(3, 5 * SECOND)
        .child(lab.child("a").mailbox(|| Some(7)))
        .child(ChildSpec::supervisor("sub", move || {
            Supervisor::new("sub", Strategy::OneForAll)
                .child(inner.child("b"))
                .child(inner.child("c").backoff(Backoff::constant(60 * SECOND)))
        }))
        .child(ChildSpec::supervisor("pool", || Supervisor::dynamic("pool")))
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_the_whole_tree_and_survives_json() {
    let lab = Lab::default();
    let root = tree(&lab).await;
    let sub = root.supervisor("sub").await.unwrap().unwrap();
    tokio::time::sleep(2 * SECOND).await;
    fail(&sub, "c").await;
    until_state(&sub, "b", ChildState::Waiting).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let seen = root.snapshot().await.unwrap();
    assert_eq!(seen.up_for.as_secs(), 3);
    assert_eq!(seen.children[0].mailbox, Some(7));
    assert_eq!(seen.children[1].kind, ChildKind::Supervisor);
    let sub = seen.children[1].supervisor.as_ref().unwrap();
    let c = &sub.children[1];
    assert_eq!((c.state, c.restarts, c.state_for.as_secs()), (ChildState::Waiting, 0, 1));
    assert_eq!(c.last_failure.as_deref(), Some("failed: as told"));

    let json = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<SupervisorSnapshot>(&json).unwrap(), seen);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_prints_as_a_tree() {
    let lab = Lab::default();
    let root = tree(&lab).await;
    let pool = root.supervisor("pool").await.unwrap().unwrap();
    pool.start_child(lab.child("p")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    fail(&pool, "p").await;
    let expected = "\
root [rest-for-one, 3 in 5s]
├─ a running for 1s, 7 in mailbox
├─ sub [one-for-all, 1 in 5s] running for 1s
│  ├─ b running for 1s
│  └─ c running for 1s
└─ pool [dynamic, 1 in 5s] running for 1s
   └─ p running for 0ns, restarted once, last failure: failed: as told";
    let seen = root.snapshot().await.unwrap().to_string();
    // The clock ticks in milliseconds while a test waits for things to settle.
    assert_eq!(seen.replace("1.001s", "1s").replace("1.002s", "1s"), expected);
    root.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_answer_costs_its_own_part_of_the_picture_only() {
    let lab = Lab::default();
    let inner = lab.clone();
    let slow = Script { stop: Act::Take(60 * SECOND), ..Script::default() };
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(ChildSpec::supervisor("busy", move || {
            Supervisor::new("busy", Strategy::OneForOne)
                .child(inner.scripted("x", slow).shutdown(umbel_supervision::Shutdown::Infinity))
        }))
        .child(ChildSpec::supervisor("free", || Supervisor::dynamic("free")))
        .start()
        .await
        .unwrap();
    // Stopped past its supervisor, by ractor: it hears no messages until it is through.
    crate::probe::cell_of(&root, "busy").await.stop(None);
    let seen = root.snapshot().await.unwrap();
    assert!(seen.children[0].supervisor.is_none());
    assert!(seen.children[1].supervisor.is_some());
    root.stop().await;
    lab.assert_empty().await;
}

fn told(observed: Observed) -> (String, Happening) {
    match observed {
        Observed::Event(event) => {
            let child = event.child.map(|child| format!("/{child}")).unwrap_or_default();
            (format!("{}{child}", event.supervisor), event.what)
        }
        Observed::Lagged(events) => panic!("{events} events were lost"),
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_the_whole_tree_come_in_order_and_end_with_it() {
    let lab = Lab::default();
    let root = tree(&lab).await;
    let mut all = root.events();
    let pool = root.supervisor("pool").await.unwrap().unwrap();
    let mut below = pool.events();
    pool.start_child(lab.child("p")).await.unwrap();
    fail(&pool, "p").await;
    poke(&pool, "p", Act::Panic).await;
    pool.ended().await;
    until_state(&root, "pool", ChildState::Running).await;
    root.terminate_child("pool").await.unwrap();
    root.stop().await;

    let failed = || Happening::Ended { exit: Exit::Failed("as told".into()) };
    let reason = "supervisor `pool` gave up: more than 1 restarts within 5s, the last one for \
                  child `p` (failed: as told)";
    let stopped = || Happening::Stopped { killed: false };
    let expected = [
        ("root/pool/p", Happening::Started),
        ("root/pool/p", failed()),
        ("root/pool/p", Happening::Restarted { restarts: 1 }),
        ("root/pool/p", failed()),
        ("root/pool", Happening::Escalated { reason: reason.into() }),
        ("root/pool", stopped()),
        ("root/pool", Happening::Ended { exit: Exit::Failed(reason.into()) }),
        ("root/pool", Happening::Started),
        ("root/pool", Happening::Restarted { restarts: 1 }),
        ("root/pool", stopped()),
        ("root/pool", stopped()),
        ("root/sub/c", stopped()),
        ("root/sub/b", stopped()),
        ("root/sub", stopped()),
        ("root/sub", stopped()),
        ("root/a", stopped()),
        ("root", stopped()),
    ];
    for (who, what) in expected {
        assert_eq!(told(all.next().await.unwrap()), (who.to_owned(), what));
    }
    assert_eq!(all.next().await, None);
    // A stream of a supervisor below shows what happens below that one.
    for _ in 0..6 {
        assert!(told(below.next().await.unwrap()).0.starts_with("root/pool"));
    }
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_can_be_seen_from_its_first_start() {
    let lab = Lab::default();
    let inner = lab.clone();
    let sub = Supervisor::new("sub", Strategy::OneForOne).child(inner.child("b"));
    let mut below = sub.events();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(ChildSpec::supervisor("sub", move || sub.clone()));
    let (mut all, unread) = (root.events(), root.events());
    drop(unread);
    let root = root.start().await.unwrap();
    let started = || Happening::Started;
    for who in ["root/a", "root/sub/b", "root/sub", "root/sub", "root"] {
        assert_eq!(told(all.next().await.unwrap()), (who.to_owned(), started()));
    }
    root.terminate_child("sub").await.unwrap();
    root.restart_child("sub").await.unwrap();
    root.stop().await;
    // The stream of a nested declaration shows its part, and goes on over restarts.
    let stopped = || Happening::Stopped { killed: false };
    for what in [started(), stopped(), started(), stopped()] {
        let both = [told(below.next().await.unwrap()), told(below.next().await.unwrap())];
        assert_eq!(both, ["root/sub/b", "root/sub"].map(|who| (who.to_owned(), what.clone())));
    }
    assert_eq!(below.next().await, None);
    while all.next().await.is_some() {}
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_can_be_seen() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.child("a"))
        .child(lab.scripted("b", Script { start: Act::Fail, ..Script::default() }));
    let mut events = root.events();
    root.start().await.unwrap_err();
    let expected = [
        ("root/a", Happening::Started),
        ("root/b", Happening::StartFailed { reason: "as told".into() }),
        ("root/a", Happening::Stopped { killed: false }),
        ("root", Happening::Stopped { killed: false }),
    ];
    for (who, what) in expected {
        assert_eq!(told(events.next().await.unwrap()), (who.to_owned(), what));
    }
    assert_eq!(events.next().await, None);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn events_of_a_declaration_are_those_of_its_first_start_alone() {
    let lab = Lab::default();
    let pool = Supervisor::dynamic("pool");
    let mut events = pool.events();
    let (first, second) = (pool.clone(), pool.clone());
    let first = first.start().await.unwrap();
    let second = second.start().await.unwrap();
    second.start_child(lab.child("unseen")).await.unwrap();
    first.start_child(lab.child("seen")).await.unwrap();
    assert_eq!(told(events.next().await.unwrap()).0, "pool");
    assert_eq!(told(events.next().await.unwrap()).0, "pool/seen");
    first.stop().await;
    while events.next().await.is_some() {}

    let mut never = pool.events();
    drop(pool);
    assert_eq!(never.next().await, None, "nobody is left who could start it");
    second.stop().await;
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_is_told_how_much_it_has_missed() {
    let lab = Lab::default();
    let pool =
        Supervisor::dynamic("pool").events_kept(4).intensity(1000, SECOND).start().await.unwrap();
    let mut events = pool.events();
    pool.start_child(lab.child("p")).await.unwrap();
    for _ in 0..10 {
        fail(&pool, "p").await;
    }
    // 1 start, 10 failures, 10 restarts; 4 are kept.
    assert_eq!(events.next().await, Some(Observed::Lagged(17)));
    for _ in 0..4 {
        assert!(matches!(events.next().await, Some(Observed::Event(_))));
    }
    pool.stop().await;
    drop(events);
    assert_eq!(pool.events().next().await, None);
    lab.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn who_did_not_stop_in_time_is_told() {
    let lab = Lab::default();
    let root = Supervisor::new("root", Strategy::OneForOne)
        .child(lab.scripted("hangs", Script { stop: Act::Hang, ..Script::default() }))
        .start()
        .await
        .unwrap();
    let mut events = root.events();
    root.stop().await;
    let event = events.next().await.unwrap();
    let Observed::Event(event) = event else { panic!("lost") };
    assert_eq!(event.to_string(), "    5.000s root/hangs: killed by its supervisor");
    assert_eq!(event.child, Some(Arc::from("hangs")));
    lab.assert_empty().await;
}
