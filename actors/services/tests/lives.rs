//! What becomes of calls when a service ends, and how it comes back.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::*;
use tokio::task::JoinSet;
use tokio::time::Instant;
use umbel_actors::Strategy;
use umbel_actors::Supervisor;
use umbel_services::{
    CallError, Context, Directory, Executed, Failure, Handle, HostOptions, LocalDirectory, Methods,
    Service, ServiceHost, ServiceManager,
};

const SECOND: Duration = Duration::from_secs(1);

/// Kills the present life, as a bug in the actor itself would.
async fn kill(desk: &umbel_services::ServiceRef) {
    let children = desk.supervisor().cell().get_children();
    assert_eq!(children.len(), 1);
    let life = desk.address().watch();
    children[0].kill();
    life.await;
}

#[tokio::test(start_paused = true)]
async fn killed_a_service_answers_whoever_waits_and_says_what_became_of_it() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 2, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let handle = services.service("desk");
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    }
    until("all are taken in", || desk.figures().waiting == 3).await;
    kill(&desk).await;
    let outcomes = calls.join_all().await;
    let stopped = CallError::Stopped { service: "desk".into() };
    let lost = |why: &CallError| matches!(why, CallError::Lost { .. });
    let of = |is: &dyn Fn(&CallError) -> bool| {
        outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(is)).count()
    };
    assert_eq!((of(&lost), of(&|why| *why == stopped)), (2, 3), "{outcomes:?}");
    assert_eq!((book.executed(), book.dropped()), (2, 2));
    // The same handle goes on with the next life.
    let handle = services.service("desk");
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    let figures = desk.figures();
    assert_eq!((book.lives(), figures.restarts), (2, 1));
    assert_eq!((figures.errors["lost"], figures.errors["stopped"]), (2, 3));
    assert_eq!((figures.waiting, figures.running), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_executed_or_may_be_again_is_executed_by_the_next_life() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = services.service("desk");
    let in_hands = handle.clone();
    let in_hands = tokio::spawn(async move { in_hands.call(WaitAgain).await });
    until("it runs", || book.running() == 1).await;
    let waits = handle.clone();
    let waits = tokio::spawn(async move { waits.call(Wait).await });
    until("it waits", || desk.figures().waiting == 1).await;
    let begun = Instant::now();
    kill(&desk).await;
    book.gate.add_permits(9);
    assert_eq!(in_hands.await.unwrap(), Ok(2), "the second attempt");
    assert_eq!(waits.await.unwrap(), Ok(2), "the second attempt");
    assert!(begun.elapsed() >= SECOND, "a second apart: {:?}", begun.elapsed());
    assert_eq!((book.executed(), book.lives()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_executed_is_not_tried_again_unless_it_is_idempotent() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = services.service("desk");
    let call = tokio::spawn(async move { handle.call(Wait).await });
    until("it runs", || book.running() == 1).await;
    kill(&desk).await;
    let lost = call.await.unwrap().unwrap_err();
    assert!(matches!(lost, CallError::Lost { .. }), "{lost}");
    assert_eq!(book.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_attempt_may_have_executed_is_not_told_to_be_not_executed_by_the_next() {
    let services = manager();
    let (host, book) = desk(HostOptions { max_restarts: 0, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = services.service("desk");
    let call = tokio::spawn(async move { handle.call(WaitAgain).await });
    until("it runs", || book.running() == 1).await;
    // It is given up, so the second attempt finds nobody.
    kill(&desk).await;
    let why = call.await.unwrap().unwrap_err();
    assert_eq!((book.executed(), why.executed()), (1, Executed::Unknown), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_one_of_two_hedged_may_have_executed_is_not_told_to_be_not_executed_by_the_other() {
    let options = || HostOptions { workers: 1, ..HostOptions::default() };
    for first_to_be_killed in [0, 1] {
        let services = manager();
        let (first, a) = desk(options());
        let (second, b) = desk(options());
        let first = services.start(first).await.unwrap().unwrap();
        let second = services.start(second.instance("2")).await.unwrap().unwrap();
        let busy = services.service("desk");
        let (keeps, waits) = (busy.clone(), busy.clone());
        let keeps = tokio::spawn(async move { keeps.call_with(once(), Wait).await });
        until("one is busy", || a.running() + b.running() == 1).await;
        let hedged = once().hedge_after(SECOND / 10);
        let call = tokio::spawn(async move { waits.call_with(hedged, WaitAgain).await });
        let waiting = || first.figures().waiting + second.figures().waiting;
        until("it runs at one and waits at the other", || {
            a.running() + b.running() == 2 && waiting() == 1
        })
        .await;
        let both = [&first, &second];
        kill(both[first_to_be_killed]).await;
        kill(both[1 - first_to_be_killed]).await;
        let why = call.await.unwrap().unwrap_err();
        assert_eq!(why.executed(), Executed::Unknown, "{why}");
        keeps.await.unwrap().unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_of_two_hedged_has_answered_is_told_though_the_other_did_not_begin() {
    let options = || HostOptions { workers: 1, ..HostOptions::default() };
    let services = manager();
    let ((first, _), (second, b)) = (desk(options()), desk(options()));
    services.start(first).await.unwrap().unwrap();
    let second = services.start(second.instance("2")).await.unwrap().unwrap();
    let handle = services.service("desk");
    let (works, waits) = (handle.clone(), handle.clone());
    let works = tokio::spawn(async move { works.call_with(once(), Work(300)).await });
    tokio::task::yield_now().await;
    let waits = tokio::spawn(async move { waits.call_with(once(), Wait).await });
    until("the other is busy for longer", || b.running() == 1).await;
    let hedged = once().idempotent(true).hedge_after(SECOND / 10);
    let call = tokio::spawn(async move { handle.call_with(hedged, Fail::Sold).await });
    works.await.unwrap().unwrap();
    until("it waits at the other", || second.figures().waiting == 1).await;
    kill(&second).await;
    let why = call.await.unwrap().unwrap_err();
    assert_eq!(why.to_string(), "all are sold (sold_out)");
    waits.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn stopped_in_order_a_service_executes_what_it_has_taken_in() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 2, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let handle = services.service("desk");
        calls.spawn(async move { handle.call_with(once(), Work(100)).await });
    }
    until("all are taken in", || desk.figures().requests == 6).await;
    assert!(desk.stop(10 * SECOND).await);
    assert_eq!(calls.join_all().await, vec![Ok(()); 6]);
    assert_eq!(book.stops.load(Ordering::SeqCst), 1);
    let gone = services.service("desk").call(Echo("?".into())).await.unwrap_err();
    assert_eq!(gone, CallError::NotFound { service: "desk".into(), waited: 5 * SECOND });
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_within_the_drain_is_lost_and_told_so() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, drain: SECOND, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let handle = services.service("desk");
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    }
    until("all are taken in", || desk.figures().waiting == 1).await;
    let begun = Instant::now();
    assert!(!desk.stop(SECOND).await);
    assert_eq!(begun.elapsed(), 2 * SECOND, "one in the directory's time, one in the drain's");
    let outcomes = calls.join_all().await;
    let lost = |outcome: &&Result<u32, CallError>| matches!(outcome, Err(CallError::Lost { .. }));
    let stopped =
        |outcome: &&Result<u32, CallError>| matches!(outcome, Err(CallError::Stopped { .. }));
    assert_eq!(outcomes.iter().filter(lost).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(stopped).count(), 1, "{outcomes:?}");
    assert_eq!(book.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_well_is_started_anew_and_serves_again() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    *book.is_well.lock() = Err("the till is stuck");
    until("it is known", || !desk.view().is_well()).await;
    until("it is started anew", || book.lives() == 2).await;
    *book.is_well.lock() = Ok(());
    until("it is well", || desk.view().is_well()).await;
    let handle = services.service("desk");
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    assert_eq!(desk.figures().restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_unwell_is_given_up_after_three_restarts() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    *book.is_well.lock() = Err("the till is stuck");
    desk.supervisor().ended().await;
    assert_eq!((book.lives(), desk.figures().restarts), (4, 3));
    let gone = services.service("desk").call(Echo("?".into())).await.unwrap_err();
    assert!(matches!(gone, CallError::NotFound { .. }), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_the_one_that_is_not_well_is_given_no_work() {
    let services = manager();
    let (first, unwell) = desk(HostOptions { health_failures: 1_000, ..HostOptions::default() });
    let (second, well) = desk(HostOptions::default());
    services.start(first).await.unwrap();
    services.start(second.instance("2")).await.unwrap();
    let handle = services.service("desk");
    for _ in 0..10 {
        handle.call(Echo("x".into())).await.unwrap();
    }
    assert_eq!((unwell.executed(), well.executed()), (5, 5), "one after the other");
    *unwell.is_well.lock() = Err("the till is stuck");
    tokio::time::sleep(6 * SECOND).await;
    for _ in 0..10 {
        handle.call(Echo("x".into())).await.unwrap();
    }
    assert_eq!((unwell.executed(), well.executed()), (5, 15));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_well_when_it_starts_is_given_no_work_before_it_is() {
    let services = manager();
    let (first, serving) = desk(HostOptions::default());
    services.start(first).await.unwrap();
    let (second, unwell) = desk(HostOptions::default());
    *unwell.is_well.lock() = Err("the till is not there yet");
    let second = services.start(second.instance("2")).await.unwrap().unwrap();
    assert!(!second.view().is_well(), "it was asked before it was started");
    let handle = services.service("desk");
    for _ in 0..10 {
        handle.call(Echo("x".into())).await.unwrap();
    }
    assert_eq!((serving.executed(), unwell.executed()), (10, 0));
    *unwell.is_well.lock() = Ok(());
    assert!(services.until_handed_out(second.view(), 6 * SECOND).await, "at the next check");
    for _ in 0..10 {
        handle.call(Echo("x".into())).await.unwrap();
    }
    assert_eq!((serving.executed(), unwell.executed(), unwell.lives()), (15, 5, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_at_the_start_does_not_count_as_a_failure() {
    let services = manager();
    let (host, book) = desk(HostOptions { health_failures: 1, ..HostOptions::default() });
    *book.is_well.lock() = Err("the till is not there yet");
    let begun = Instant::now();
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = services.service("desk");
    let served = handle.call(Echo("on".into())).await;
    assert_eq!(served.as_deref(), Ok("on"), "where none is well, one that lives");
    until("it is started anew", || book.lives() == 2).await;
    assert!(begun.elapsed() >= 5 * SECOND, "{:?}", begun.elapsed());
    desk.supervisor().ended().await;
    assert_eq!(book.lives(), 4);
    assert!(begun.elapsed() >= 20 * SECOND, "each life has its time: {:?}", begun.elapsed());
}

/// Cannot say how it is.
struct Mute(&'static str);

impl Service for Mute {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Echo>()
    }

    async fn health(&self) -> Result<(), Failure> {
        match self.0 {
            "panics" => panic!("how should I know"),
            _ => std::future::pending().await,
        }
    }
}

impl Handle<Echo> for Mute {
    async fn handle(&self, Echo(text): Echo, _: &Context) -> Result<String, Failure> {
        Ok(text)
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_does_not_end_or_panics_holds_no_start_up_for_long() {
    for how in ["panics", "hangs"] {
        let begun = Instant::now();
        let mute = ServiceHost::new("mute", move || Mute(how)).start(&system()).await.unwrap();
        assert!(!mute.view().is_well());
        assert!(begun.elapsed() <= SECOND, "{how}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_service_is_told_when_an_instance_is_not_well_and_when_it_is_again() {
    let services = manager();
    let directory = LocalDirectory::new();
    let mut books = Vec::new();
    for instance in ["1", "2"] {
        let (host, book) = desk(HostOptions { health_failures: 1_000, ..HostOptions::default() });
        let desk = host.instance(instance).start(services.system()).await.unwrap();
        directory.register(desk.view().clone()).await.unwrap();
        books.push(book);
    }
    let mut follow = directory.follow("desk");
    assert_eq!(follow.instances().len(), 2);
    for (is_well, handed_out) in [(Err("the till is stuck"), 1), (Ok(()), 2)] {
        *books[0].is_well.lock() = is_well;
        let told = tokio::time::timeout(6 * SECOND, follow.changed()).await;
        assert!(told.is_ok(), "{is_well:?}");
        assert_eq!(follow.instances().len(), handed_out);
    }
    // What came before it is waited for is told as well; what changes nothing is not.
    *books[1].is_well.lock() = Err("the till is stuck");
    tokio::time::sleep(6 * SECOND).await;
    follow.changed().await;
    assert_eq!(follow.instances().len(), 1);
    assert!(tokio::time::timeout(60 * SECOND, follow.changed()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_instances_take_over_from_one_another() {
    let services = manager();
    let (host, _) = desk(HostOptions::default());
    let mut serving = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for number in 2..20 {
        for _ in 0..50 {
            let handle = services.service("desk");
            calls.spawn(async move { handle.call(Work(30)).await });
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let (next, _) = desk(HostOptions::default());
        let next = services.start(next.instance(number.to_string())).await.unwrap().unwrap();
        let before = std::mem::replace(&mut serving, next);
        tokio::spawn(async move { before.stop(10 * SECOND).await });
    }
    let outcomes = calls.join_all().await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(outcomes.len(), 900);
}

/// Does not start at once.
struct Late(Arc<AtomicUsize>);

impl Service for Late {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Echo>()
    }

    async fn on_start(&self) -> Result<(), Failure> {
        let tries = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if tries == 2 { Err(Failure::new("no connection")) } else { Ok(()) }
    }
}

impl Handle<Echo> for Late {
    async fn handle(&self, Echo(text): Echo, _: &Context) -> Result<String, Failure> {
        Ok(text)
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_start_again_at_once_is_tried_again() {
    let services = manager();
    let tries = Arc::new(AtomicUsize::new(0));
    let made = tries.clone();
    let late = services.start(ServiceHost::new("late", move || Late(made.clone()))).await;
    let late = late.unwrap().unwrap();
    kill(&late).await;
    let handle = services.service("late");
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_can_be_a_child_of_a_tree_of_ones_own() {
    let system = system();
    let directory = LocalDirectory::new();
    let services = ServiceManager::builder(&system).directory(directory.clone()).build();
    let (host, book) = desk(HostOptions::default());
    let child = host.child(&system);
    let tree = Supervisor::new("shop", Strategy::RestForOne).child(child.spec);
    let tree = system.supervise(tree).await.unwrap();
    directory.register(child.view.clone()).await.unwrap();
    let handle = services.service("desk");
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    let snapshot = tree.snapshot().await.unwrap().to_string();
    assert!(snapshot.contains("service/desk/1"), "{snapshot}");
    tree.stop().await;
    assert_eq!(book.stops.load(Ordering::SeqCst), 1);
    assert!(directory.register(child.view).await.is_err(), "it has ended");
}

struct Double;

impl Service for Double {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Echo>().on::<Echo>()
    }
}

impl Handle<Echo> for Double {
    async fn handle(&self, Echo(text): Echo, _: &Context) -> Result<String, Failure> {
        Ok(text)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_with_two_methods_of_one_name_does_not_start() {
    let refused = ServiceHost::new("double", || Double).start(&system()).await.unwrap_err();
    let mut why = refused.to_string();
    let mut source = std::error::Error::source(&refused);
    while let Some(cause) = source {
        why += &format!(": {cause}");
        source = cause.source();
    }
    assert!(why.contains("two methods \"echo\""), "{why}");
}

#[tokio::test(start_paused = true)]
async fn two_of_the_same_instance_are_refused() {
    let services = manager();
    let (first, _) = desk(HostOptions::default());
    services.start(first).await.unwrap();
    let (second, _) = desk(HostOptions::default());
    assert!(services.start(second).await.is_err());
    let (third, _) = desk(HostOptions::default());
    assert!(services.start(third.instance("3")).await.is_ok());
}
