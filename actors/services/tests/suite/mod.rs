//! What holds for a service wherever it runs: one suite, for one system and for two nodes.

#![allow(dead_code, reason = "each test uses its own part of it")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use umbel_services::{
    CallError, CallOptions, Executed, HostOptions, Hosted, RequestId, ServiceHandle, ServiceManager,
};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

struct Case {
    handle: ServiceHandle,
    desk: Hosted,
    book: Arc<Book>,
}

impl Case {
    async fn new(hosts: &ServiceManager, callers: &ServiceManager, options: HostOptions) -> Self {
        let (host, book) = desk(options);
        let desk = hosts.start(host).await.unwrap().unwrap();
        let handle = callers.service("desk");
        // News of it may travel.
        while handle.figures().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self { handle, desk, book }
    }

    async fn end(self, callers: &ServiceManager) {
        self.book.gate.add_permits(1_000);
        self.desk.stop(10 * SECOND).await;
        // News of it may travel; a case must not find the service of the one before.
        until("it is known", || callers.handles()["desk"].is_empty()).await;
    }
}

/// Runs all of it: services are started by `hosts` and called by `callers`.
pub(crate) async fn all(hosts: &ServiceManager, callers: &ServiceManager) {
    calls_are_answered(hosts, callers).await;
    errors_say_what_became_of_the_request(hosts, callers).await;
    more_than_may_wait_are_busy(hosts, callers).await;
    late_work_is_dropped_at_the_server(hosts, callers).await;
    attempts_follow_one_another(hosts, callers).await;
    what_comes_again_is_executed_once(hosts, callers).await;
    a_life_ends_and_the_next_goes_on(hosts, callers).await;
    a_stopped_service_is_found_no_more(hosts, callers).await;
}

async fn calls_are_answered(hosts: &ServiceManager, callers: &ServiceManager) {
    let case = Case::new(hosts, callers, HostOptions::default()).await;
    let handle = &case.handle;
    let options = CallOptions::new().header("tenant", "7");
    let long = "tea ".repeat(50_000);
    assert_eq!(handle.call_with(options, Echo(long.clone())).await, Ok(long));
    assert_eq!(case.book.headers.lock()["tenant"], "7");
    assert_eq!(handle.call_json("echo", json!("tea")).await, Ok(json!("tea")));
    assert_eq!(handle.call_json("square", json!(-3)).await, Ok(json!([9, 1])));
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call(Square(number)).await.map(|(square, _)| square) });
    }
    let mut squares = calls.join_all().await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    squares.sort_unstable();
    assert_eq!(squares, (0..100).map(|number| number * number).collect::<Vec<_>>());
    assert_eq!(case.desk.figures().answered, 103);
    let figures = handle.figures().await;
    assert_eq!(figures.len(), 1);
    assert_eq!(figures[0].1, Ok(case.desk.figures()));
    case.end(callers).await;
}

async fn errors_say_what_became_of_the_request(hosts: &ServiceManager, callers: &ServiceManager) {
    let case = Case::new(hosts, callers, HostOptions::default()).await;
    let handle = &case.handle;
    let none = handle.call_json("shout", json!({})).await.unwrap_err();
    assert!(none.to_string().contains("but echo, fail, square"), "{none}");
    let bad = handle.call_json("echo", json!({ "text": "tea" })).await.unwrap_err();
    assert!(matches!(&bad, CallError::BadRequest { method, .. } if method == "echo"), "{bad}");
    assert_eq!((none.executed(), bad.executed()), (Executed::No, Executed::No));
    let sold = handle.call(Fail::Sold).await.unwrap_err();
    assert_eq!(sold.to_string(), "all are sold (sold_out)");
    let panicked = handle.call(Fail::Panic).await.unwrap_err();
    assert_eq!(panicked, CallError::Panicked { why: "the desk has collapsed".into() });
    assert_eq!((sold.executed(), panicked.executed()), (Executed::Yes, Executed::Unknown));
    assert_eq!(case.book.executed(), 2);
    case.end(callers).await;
}

async fn more_than_may_wait_are_busy(hosts: &ServiceManager, callers: &ServiceManager) {
    let options = HostOptions { workers: 2, queue: 3, ..HostOptions::default() };
    let case = Case::new(hosts, callers, options).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let handle = case.handle.clone();
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    }
    let busy = CallError::Busy { service: "desk".into(), waiting: 3 };
    for _ in 0..3 {
        assert_eq!(calls.join_next().await.unwrap().unwrap(), Err(busy.clone()));
    }
    case.book.gate.add_permits(5);
    assert_eq!(calls.join_all().await, vec![Ok(1); 5]);
    assert_eq!(case.book.running_max.load(Ordering::SeqCst), 2);
    case.end(callers).await;
}

async fn late_work_is_dropped_at_the_server(hosts: &ServiceManager, callers: &ServiceManager) {
    let case =
        Case::new(hosts, callers, HostOptions { workers: 1, ..HostOptions::default() }).await;
    let short = once().deadline(2 * SECOND);
    let (first, second) = tokio::join!(
        case.handle.call_with(short.clone(), Wait),
        case.handle.call_with(short, Wait)
    );
    let late = CallError::TimedOut { within: 2 * SECOND };
    assert_eq!(first, Err(late));
    let second = second.unwrap_err();
    assert!(matches!(second, CallError::TimedOut { .. } | CallError::Expired { .. }), "{second}");
    until("both have ended", || case.desk.figures().errors_total() == 2).await;
    assert_eq!((case.book.executed(), case.book.dropped()), (1, 1));
    assert_eq!(case.handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    case.end(callers).await;
}

async fn attempts_follow_one_another(hosts: &ServiceManager, callers: &ServiceManager) {
    let case = Case::new(hosts, callers, HostOptions::default()).await;
    let options = || CallOptions::new().retries(3).retry_after(SECOND / 100);
    assert_eq!(case.handle.call_with(options(), Fail::Locked(3)).await, Ok(3));
    let locked = case.handle.call_with(options(), Fail::Locked(99)).await.unwrap_err();
    assert!(matches!(&locked, CallError::Failed(failure) if failure.is_transient), "{locked}");
    assert_eq!(case.book.executed(), 8);
    case.end(callers).await;
}

async fn what_comes_again_is_executed_once(hosts: &ServiceManager, callers: &ServiceManager) {
    let case = Case::new(hosts, callers, HostOptions::default()).await;
    let again = || CallOptions::new().id(RequestId(u128::MAX - 7));
    let handle = &case.handle;
    let gate = async {
        until("both have come", || case.desk.figures().requests == 2).await;
        case.book.gate.add_permits(9);
    };
    let (first, second, ()) =
        tokio::join!(handle.call_with(again(), Wait), handle.call_with(again(), Wait), gate);
    assert_eq!((first, second), (Ok(1), Ok(1)));
    assert_eq!(handle.call_with(again(), Wait).await, Ok(1));
    assert_eq!((case.book.executed(), case.desk.figures().repeats), (1, 2));
    case.end(callers).await;
}

async fn a_life_ends_and_the_next_goes_on(hosts: &ServiceManager, callers: &ServiceManager) {
    let case =
        Case::new(hosts, callers, HostOptions { workers: 1, ..HostOptions::default() }).await;
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let handle = case.handle.clone();
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    }
    until("they are taken in", || case.desk.figures().waiting == 2).await;
    let life = case.desk.address().watch();
    case.desk.supervisor().cell().get_children()[0].kill();
    life.await;
    let mut outcomes: Vec<_> = calls.join_all().await;
    outcomes.sort_by_key(|outcome| outcome.as_ref().map_err(CallError::kind).unwrap_err());
    let kinds: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).collect();
    let kinds: Vec<_> = kinds.into_iter().map(CallError::kind).collect();
    assert_eq!(kinds, ["lost", "stopped", "stopped"]);
    assert_eq!(case.handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    assert_eq!((case.book.executed(), case.book.lives()), (2, 2));
    case.end(callers).await;
}

async fn a_stopped_service_is_found_no_more(hosts: &ServiceManager, callers: &ServiceManager) {
    let case = Case::new(hosts, callers, HostOptions::default()).await;
    case.handle.call(Echo("x".into())).await.unwrap();
    assert_eq!(callers.handles()["desk"].len(), 1);
    let Case { handle, desk, .. } = case;
    assert!(desk.stop(SECOND).await);
    until("it is known", || callers.handles()["desk"].is_empty()).await;
    let short = once().deadline(SECOND / 10);
    let none = handle.call_with(short, Echo("x".into())).await.unwrap_err();
    assert!(matches!(none, CallError::NotFound { .. }), "{none}");
}
