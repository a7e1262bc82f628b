//! What a service's host promises: a bounded queue, so many workers, deadlines, exact figures.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use support::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use umbel_services::{CallError, CallOptions, Executed, HostOptions, RequestId};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn ten_thousand_wait_behind_ten_workers_and_one_more_is_busy() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    let mut calls = JoinSet::new();
    let call = |calls: &mut JoinSet<_>| {
        let handle = services.service("desk");
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    };
    for _ in 0..10_010 {
        call(&mut calls);
    }
    until("all are taken in", || desk.figures().waiting == 10_000).await;
    assert_eq!((desk.figures().running, book.running()), (10, 10));
    for _ in 0..5 {
        call(&mut calls);
        let busy = calls.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(busy, CallError::Busy { service: "desk".into(), waiting: 10_000 });
        assert_eq!(busy.executed(), Executed::No);
    }
    book.gate.add_permits(20_000);
    let answers = calls.join_all().await;
    assert_eq!(answers.len(), 10_010);
    assert!(answers.iter().all(|answer| *answer == Ok(1)));
    assert_eq!(book.running_max.load(Ordering::SeqCst), 10);
    let figures = desk.figures();
    assert_eq!((figures.answered, figures.errors["busy"]), (10_010, 5));
}

#[tokio::test(start_paused = true)]
async fn what_runs_beyond_its_deadline_is_dropped_at_the_server() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    let begun = Instant::now();
    let late = desk_of(&services).call(Wait).await.unwrap_err();
    assert_eq!(late, CallError::TimedOut { within: 30 * SECOND });
    assert_eq!(begun.elapsed(), 30 * SECOND, "the default");
    until("it is dropped", || book.dropped() == 1).await;
    assert_eq!(desk.figures().errors["timed_out"], 1);
    assert_eq!(desk.figures().running, 0);
}

fn desk_of(services: &umbel_services::ServiceManager) -> umbel_services::ServiceHandle {
    services.service("desk")
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_has_given_up_is_never_begun() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let first = desk_of(&services);
    let first = tokio::spawn(async move { first.call(Wait).await });
    until("the first runs", || book.running() == 1).await;
    let handle = desk_of(&services);
    let given_up = timeout(SECOND, handle.call_with(once(), Wait)).await;
    assert!(given_up.is_err());
    let short = once().deadline(SECOND);
    let late = handle.call_with(short, Wait).await.unwrap_err();
    assert!(matches!(late, CallError::TimedOut { .. }), "{late}");
    book.gate.add_permits(9);
    assert_eq!(first.await.unwrap(), Ok(1));
    until("the queue is empty", || desk.figures().waiting == 0).await;
    assert_eq!(book.executed(), 1);
    let errors = desk.figures().errors;
    assert_eq!((errors["cancelled"], errors["expired"]), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_gives_up_while_it_runs_is_dropped_when_it_next_wakes() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = desk_of(&services);
    assert!(timeout(SECOND, handle.call(Work(2_000))).await.is_err());
    until("it has ended", || desk.figures().running == 0).await;
    assert_eq!((book.executed(), book.dropped()), (1, 1));
    assert_eq!(desk.figures().errors["cancelled"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_it_may_is_told_that_it_was_not_executed() {
    let services = manager();
    let options = HostOptions { workers: 1, queue_wait: SECOND, ..HostOptions::default() };
    let (host, book) = desk(options);
    services.start(host).await.unwrap();
    let first = desk_of(&services);
    let first = tokio::spawn(async move { first.call(Wait).await });
    until("the first runs", || book.running() == 1).await;
    let second = desk_of(&services);
    let second = tokio::spawn(async move { second.call_with(once(), Wait).await });
    tokio::time::sleep(2 * SECOND).await;
    book.gate.add_permits(9);
    first.await.unwrap().unwrap();
    let expired = second.await.unwrap().unwrap_err();
    assert!(matches!(expired, CallError::Expired { waited } if waited >= 2 * SECOND), "{expired}");
    assert_eq!((expired.executed(), book.executed()), (Executed::No, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_batch_method_that_wait_are_executed_together() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    services.start(host).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..9 {
        let handle = desk_of(&services);
        calls.spawn(async move { handle.call(Square(number)).await.unwrap() });
    }
    let mut answers = calls.join_all().await;
    answers.sort_unstable();
    assert_eq!(
        answers.iter().map(|(square, _)| *square).collect::<Vec<_>>(),
        [0, 1, 4, 9, 16, 25, 36, 49, 64]
    );
    // At most four at once; each tells with how many it was.
    assert!(answers.iter().all(|(_, count)| (1..=4).contains(count)), "{answers:?}");
    assert!(book.executed() <= 5, "{} batches", book.executed());
    assert!(answers.iter().any(|(_, count)| *count == 4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_callers_and_the_service_goes_on() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = desk_of(&services);
    let why = CallError::Panicked { why: "the desk has collapsed".into() };
    assert_eq!(handle.call(Fail::Panic).await, Err(why));
    let thirteen = CallError::Panicked { why: "thirteen".into() };
    assert_eq!(handle.call(Square(-13)).await, Err(thirteen));
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    assert_eq!(handle.call(Square(3)).await, Ok((9, 1)));
    assert_eq!((book.lives(), desk.figures().errors["panicked"]), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_what_is_cut_off_takes_no_worker() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 1, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = desk_of(&services);
    for _ in 0..3 {
        let late = handle.call_with(once().deadline(SECOND), Fail::Cling).await.unwrap_err();
        assert!(matches!(late, CallError::TimedOut { .. } | CallError::Lost { .. }), "{late}");
        until("it is over", || desk.figures().running == 0).await;
    }
    assert_eq!(handle.call(Echo("on".into())).await.as_deref(), Ok("on"));
    assert_eq!((book.lives(), book.executed()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_method_and_no_request_is_told_apart() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    services.start(host).await.unwrap();
    let handle = desk_of(&services);
    let none = handle.call_json("shout", json!({})).await.unwrap_err();
    let known = "echo, fail, square, wait, wait_again, work";
    assert!(none.to_string().ends_with(known), "{none}");
    for bad in [json!(7), json!({ "text": "x" }), json!(null)] {
        let why = handle.call_json("echo", bad).await.unwrap_err();
        assert!(matches!(&why, CallError::BadRequest { method, .. } if method == "echo"), "{why}");
    }
    assert_eq!(book.executed(), 0);
    let bad = handle.call_json("square", json!("x")).await.unwrap_err();
    assert!(matches!(bad, CallError::BadRequest { .. }), "{bad}");
    assert_eq!(handle.call_json("echo", json!("x")).await, Ok(json!("x")));
    assert_eq!(handle.call_json("square", json!(3)).await, Ok(json!([9, 1])));
}

#[tokio::test(start_paused = true)]
async fn the_figures_are_exact() {
    let services = manager();
    let (host, book) = desk(HostOptions { workers: 2, queue: 3, ..HostOptions::default() });
    let desk = services.start(host).await.unwrap().unwrap();
    assert_eq!(desk.figures().last_activity, None);
    let handle = desk_of(&services);
    for _ in 0..4 {
        handle.call(Work(1_000)).await.unwrap();
    }
    handle.call(Work(9_000)).await.unwrap();
    handle.call(Fail::Sold).await.unwrap_err();
    handle.call_json("shout", json!({})).await.unwrap_err();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call_with(once(), Wait).await });
    }
    until("all have come", || desk.figures().requests == 13).await;
    let figures = desk.figures();
    assert_eq!((figures.waiting, figures.running, figures.workers), (3, 2, 2));
    assert!((figures.load() - 2.5).abs() < f64::EPSILON);
    let errors: Vec<_> = figures.errors.iter().map(|(kind, count)| (&**kind, *count)).collect();
    assert_eq!(errors, [("busy", 1), ("failed", 1), ("no_such_method", 1)]);
    assert_eq!((figures.answered, figures.repeats, figures.restarts), (5, 0, 0));
    let times = figures.response_times;
    assert_eq!((times.count, times.total_us, times.max_us), (6, 13_000_000, 9_000_000));
    assert!(times.p50_us.abs_diff(1_000_000) <= 10_000, "{times:?}");
    assert!(times.p99_us.abs_diff(9_000_000) <= 90_000, "{times:?}");
    let last = figures.last_activity.expect("it has had much to do");
    book.gate.add_permits(9);
    calls.join_all().await;
    let figures = desk.figures();
    assert_eq!((figures.answered, figures.waiting, figures.running), (10, 0, 0));
    tokio::time::sleep(9 * SECOND).await;
    handle.call(Echo("x".into())).await.unwrap();
    let figures = desk.figures();
    assert!(figures.last_activity.is_some_and(|now| now >= last + 9 * SECOND));
    let ended = figures.answered + figures.errors_total() + figures.repeats;
    assert_eq!(figures.requests, ended);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_again_is_executed_once() {
    let services = manager();
    let (host, book) = desk(HostOptions::default());
    let desk = services.start(host).await.unwrap().unwrap();
    let handle = desk_of(&services);
    let again = || CallOptions::new().id(RequestId(7));
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let handle = handle.clone();
        calls.spawn(async move { handle.call_with(again(), Wait).await });
    }
    until("all have come", || desk.figures().requests == 3).await;
    assert_eq!((book.running(), desk.figures().repeats), (1, 2));
    book.gate.add_permits(9);
    assert_eq!(calls.join_all().await, vec![Ok(1); 3]);
    assert_eq!(handle.call_with(again(), Wait).await, Ok(1));
    assert_eq!(book.executed(), 1);
    // What it said is remembered for a minute.
    tokio::time::sleep(61 * SECOND).await;
    assert_eq!(handle.call_with(again(), Wait).await, Ok(1));
    assert_eq!(book.executed(), 2);
}

#[tokio::test(start_paused = true)]
async fn under_overload_nearly_all_that_can_be_done_is_done_in_time() {
    // Ten workers at 100 ms each: a hundred a second. Callers wait for 5 s, which is much less than
    // it takes to empty the queue.
    const CAPACITY: u64 = 100;
    const SECONDS: u64 = 20;
    let mut done = Vec::new();
    for times in [1, 2, 10] {
        let services = manager();
        let (host, _) = desk(HostOptions::default());
        services.start(host).await.unwrap();
        let mut calls = JoinSet::new();
        let mut ticks = tokio::time::interval(SECOND / (CAPACITY * times) as u32);
        let end = Instant::now() + SECOND * SECONDS as u32;
        for _ in 0..CAPACITY * times * SECONDS {
            ticks.tick().await;
            let handle = desk_of(&services);
            let options = once().deadline(5 * SECOND);
            let call = async move { handle.call_with(options, Work(100)).await };
            calls.spawn(async move { call.await.is_ok() && Instant::now() <= end });
        }
        let in_time = calls.join_all().await.into_iter().filter(|is_in_time| *is_in_time).count();
        done.push(in_time as f64);
    }
    let peak = done.iter().copied().fold(0.0, f64::max);
    assert!(peak >= (CAPACITY * (SECONDS - 1)) as f64, "{done:?}");
    assert!(done.iter().all(|goodput| *goodput > 0.9 * peak), "{done:?}");
}
