//! Calling services: typed and by JSON, waiting and blocking, with retries and hedges.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::*;
use tokio::task::JoinSet;
use tokio::time::Instant;
use umbel_services::{
    CallError, CallOptions, HostOptions, LocalDirectory, Placement, Policy, ServiceManager,
    ServiceOptions,
};

const SECOND: Duration = Duration::from_secs(1);

fn with(options: ServiceOptions) -> ServiceManager {
    ServiceManager::builder(&system()).service("desk", options).build()
}

/// Two instances of the desk.
async fn two(services: &ServiceManager) -> [Arc<Book>; 2] {
    let (first, a) = desk(HostOptions::default());
    let (second, b) = desk(HostOptions::default());
    services.start(first).await.unwrap().unwrap();
    services.start(second.instance("2")).await.unwrap().unwrap();
    [a, b]
}

#[test]
fn the_same_call_is_made_waiting_and_blocking_typed_and_by_json() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().unwrap();
    let services = runtime.block_on(async {
        let services = manager();
        let (host, _) = desk(HostOptions::default());
        services.start(host).await.unwrap();
        assert_eq!(services.call("desk", Echo("a".into())).await.as_deref(), Ok("a"));
        assert_eq!(services.call_json("desk", "echo", json!("b")).await, Ok(json!("b")));
        services
    });
    // This thread is none of the runtime's.
    let desk = services.blocking().service("desk");
    assert_eq!(desk.call(Echo("c".into())).as_deref(), Ok("c"));
    assert_eq!(desk.call_json("echo", json!("d")), Ok(json!("d")));
    let options = || CallOptions::new().deadline(SECOND / 100).retries(0);
    let late = desk.call_with(options(), Wait).unwrap_err();
    assert_eq!(late, CallError::TimedOut { within: SECOND / 100 });
    let late = desk.call_json_with(options(), "wait", json!(null)).unwrap_err();
    assert_eq!(late, CallError::TimedOut { within: SECOND / 100 });
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_yet_is_waited_for() {
    let services = manager();
    let handle = services.service("desk");
    let call = tokio::spawn(async move { handle.call(Echo("x".into())).await });
    tokio::time::sleep(4 * SECOND).await;
    let (host, _) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    assert_eq!(call.await.unwrap().as_deref(), Ok("x"));
    let begun = Instant::now();
    let none = services.call("desks", Echo("x".into())).await.unwrap_err();
    assert_eq!(none, CallError::NotFound { service: "desks".into(), waited: 5 * SECOND });
    assert_eq!(begun.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_three_times_again_a_second_apart() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    let handle = services.service("desk");
    let begun = Instant::now();
    assert_eq!(handle.call(Fail::Locked(3)).await, Ok(3));
    assert_eq!((begun.elapsed(), book.executed()), (3 * SECOND, 4));
    let locked = handle.call(Fail::Locked(1_000)).await.unwrap_err();
    assert!(matches!(&locked, CallError::Failed(failure) if failure.is_transient), "{locked}");
    assert_eq!(book.executed(), 8);
    let sold = handle.call(Fail::Sold).await.unwrap_err();
    assert_eq!(sold.to_string(), "all are sold (sold_out)");
    assert_eq!(book.executed(), 9, "what has failed for good is not tried again");
}

#[tokio::test(start_paused = true)]
async fn how_often_and_how_far_apart_can_be_said_for_each_call() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    let (handle, begun) = (services.service("desk"), Instant::now());
    let options = CallOptions::new().retries(5).retry_after(SECOND / 10);
    assert_eq!(handle.call_with(options, Fail::Locked(5)).await, Ok(5));
    assert_eq!((begun.elapsed(), book.executed()), (SECOND / 2, 6));
    // There is no time for a second attempt.
    let options = CallOptions::new().deadline(SECOND).retry_after(SECOND);
    handle.call_with(options, Fail::Locked(1_000)).await.unwrap_err();
    assert_eq!((begun.elapsed(), book.executed()), (SECOND / 2, 7));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_followed_by_another_where_it_may_be() {
    let services =
        with(ServiceOptions { attempt_deadline: Some(2 * SECOND), ..ServiceOptions::default() });
    let (host, book) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    let handle = services.service("desk");
    let again = handle.clone();
    let again = tokio::spawn(async move { again.call(WaitAgain).await });
    let late = handle.call(Wait).await.unwrap_err();
    assert_eq!(late, CallError::TimedOut { within: 2 * SECOND });
    until("the second attempt runs", || book.executed() == 3).await;
    book.gate.add_permits(1);
    assert_eq!(again.await.unwrap(), Ok(2));
    assert_eq!(book.dropped(), 2, "the first attempts were cancelled at the server");
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_did_not_execute_is_tried_at_another_at_once() {
    let services = manager();
    let options = || HostOptions { workers: 1, ..HostOptions::default() };
    let ((first, a), (second, b)) = (desk(options()), desk(options()));
    let first = services.start(first).await.unwrap().unwrap();
    let second = services.start(second.instance("2")).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let handle = services.service("desk");
        calls.spawn(async move { handle.call(Wait).await });
    }
    let waiting = || (first.figures().waiting, second.figures().waiting);
    until("one runs and two wait at each", || waiting() == (2, 2)).await;
    let begun = Instant::now();
    first.supervisor().cell().get_children()[0].kill();
    until("they wait at the other", || waiting() == (0, 4)).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    b.gate.add_permits(99);
    let mut outcomes = calls.join_all().await;
    outcomes.retain(|outcome| !matches!(outcome, Err(CallError::Lost { .. })));
    outcomes.sort_by_key(|outcome| outcome.clone().ok());
    assert_eq!(outcomes, [Ok(1), Ok(1), Ok(1), Ok(2), Ok(2)]);
    assert_eq!((a.executed(), b.executed()), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn no_call_is_hedged_unless_it_is_said_and_the_first_answer_counts() {
    let services = manager();
    let [a, b] = two(&services).await;
    let handle = services.service("desk");
    b.gate.add_permits(99);
    let slow = handle.clone();
    let slow = tokio::spawn(async move { slow.call(WaitAgain).await });
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!((a.running(), b.executed(), slow.is_finished()), (1, 0, false));
    a.gate.add_permits(1);
    assert_eq!(slow.await.unwrap(), Ok(1));
    handle.call(Echo("the turn is a's".into())).await.unwrap();

    let begun = Instant::now();
    let hedged = CallOptions::new().hedge_after(SECOND);
    assert_eq!(handle.call_with(hedged.clone(), WaitAgain).await, Ok(2), "the second attempt");
    assert_eq!(begun.elapsed(), SECOND);
    // One that may be executed only once is not.
    b.gate.forget_permits(99);
    let before = a.executed() + b.executed();
    handle.call_with(hedged.deadline(5 * SECOND), Wait).await.unwrap_err();
    assert_eq!(a.executed() + b.executed(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_is_the_one_with_the_fewest_calls_under_way() {
    let services =
        with(ServiceOptions { policy: Policy::LeastLoaded, ..ServiceOptions::default() });
    let [a, b] = two(&services).await;
    let handle = services.service("desk");
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call(Wait).await });
    }
    until("all run", || a.running() + b.running() == 8).await;
    assert_eq!((a.running(), b.running()), (4, 4));
    a.gate.add_permits(4);
    until("a is free", || a.running() == 0).await;
    for _ in 0..4 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call(Wait).await });
    }
    until("all run", || a.running() + b.running() == 8).await;
    assert_eq!((a.running(), b.running()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn calls_with_one_key_go_to_one_instance() {
    let services = with(ServiceOptions { policy: Policy::ByKey, ..ServiceOptions::default() });
    let [a, b] = two(&services).await;
    let handle = services.service("desk");
    for key in ["ada", "grace", "barbara", "edsger", "tony", "niklaus"] {
        let before = (a.executed(), b.executed());
        for _ in 0..5 {
            let options = CallOptions::new().key(key);
            handle.call_with(options, Echo("x".into())).await.unwrap();
        }
        let by = (a.executed() - before.0, b.executed() - before.1);
        assert!(by == (5, 0) || by == (0, 5), "{key}: {by:?}");
    }
    assert!(a.executed() > 0 && b.executed() > 0);
}

#[tokio::test(start_paused = true)]
async fn headers_travel_and_metadata_is_not_mixed_up() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    let options = CallOptions::new().header("tenant", "7").header("token", "secret");
    services.service("desk").call_with(options, Echo("x".into())).await.unwrap();
    let headers = book.headers.lock().clone();
    assert_eq!(
        headers.into_iter().collect::<Vec<_>>(),
        [("tenant".into(), "7".into()), ("token".into(), "secret".into())]
    );
}

#[tokio::test(start_paused = true)]
async fn handles_are_kept_while_they_are_used_and_instances_while_they_live() {
    let system = system();
    let services = ServiceManager::builder(&system).handles(2, Duration::from_secs(60)).build();
    let (host, _) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    services.call("desk", Echo("x".into())).await.unwrap();
    assert_eq!(services.handles()["desk"].len(), 1);
    for _ in 0..10 {
        tokio::time::sleep(30 * SECOND).await;
        services.call("desk", Echo("x".into())).await.unwrap();
    }
    assert_eq!(services.handles().len(), 1, "it is used");
    tokio::time::sleep(91 * SECOND).await;
    assert_eq!(services.handles().len(), 0, "it is idle");
    services.call("desk", Echo("x".into())).await.unwrap();
    desk.stop(SECOND).await;
    assert_eq!(services.handles()["desk"].len(), 0, "it has gone");
    // However many are called, two are kept: those that were called last.
    for name in ["a", "b", "c", "d"] {
        let quick = CallOptions::new().deadline(SECOND / 10);
        let none = services.service(name).call_with(quick, Echo("x".into())).await;
        assert!(matches!(none, Err(CallError::NotFound { .. })));
    }
    assert_eq!(services.handles().into_keys().collect::<Vec<_>>(), ["c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn where_a_service_runs_is_a_matter_of_configuration() {
    let system = system();
    let elsewhere = ServiceOptions { placement: Placement::Remote, ..ServiceOptions::default() };
    let directory = LocalDirectory::new();
    let services = ServiceManager::builder(&system)
        .directory(directory.clone())
        .service("desk", elsewhere)
        .build();
    let (host, book) = desk(HostOptions::default());
    assert!(services.start(host).await.unwrap().is_none());
    assert_eq!(book.lives(), 0);
    // One that is here all the same is not called.
    let here = ServiceManager::builder(&system).directory(directory).build();
    let (host, book) = desk(HostOptions::default());
    here.start(host).await.unwrap().unwrap();
    let none = services.call("desk", Echo("x".into())).await.unwrap_err();
    assert!(matches!(none, CallError::NotFound { .. }), "{none}");
    here.call("desk", Echo("x".into())).await.unwrap();
    assert_eq!(book.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_host_is_told_by_the_manager_goes_before_what_it_says_itself() {
    let system = system();
    let options = HostOptions { workers: 3, ..HostOptions::default() };
    let services = ServiceManager::builder(&system).host("desk", options).build();
    let (host, _) = desk(HostOptions { workers: 99, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    assert_eq!(desk.figures().workers, 3);
}

#[tokio::test]
async fn nothing_of_a_manager_outlives_it_or_its_system() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let system = system();
    let before = tasks();
    let services = ServiceManager::new(&system);
    assert!(tasks() > before);
    drop(services);
    until("its tasks have ended", || tasks() == before).await;
    let _services = ServiceManager::new(&system);
    system.shutdown(SECOND).await;
    until("its tasks have ended with the system", || tasks() <= before).await;
}
