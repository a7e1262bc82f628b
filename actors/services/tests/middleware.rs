//! What middleware sees of calls, and what it may make of them.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use parking_lot::Mutex;
use serde_json::json;
use support::*;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::timeout::TimeoutLayer;
use umbel_services::{
    BreakerOptions, BreakerState, Bulkhead, Cache, CacheOptions, Call, CallError, CallOptions,
    Chain, CircuitBreaker, Context, Fallback, Flow, HostOptions, Logging, Metering, Middleware,
    Payload, RateLimit, ServiceHandle, ServiceManager, ServiceOptions,
};

const SECOND: Duration = Duration::from_secs(1);

/// The desk, called through a chain.
async fn through(middleware: Chain) -> (ServiceHandle, Arc<Book>) {
    through_both(middleware, Chain::new()).await
}

async fn through_both(middleware: Chain, at_host: Chain) -> (ServiceHandle, Arc<Book>) {
    let options = ServiceOptions { middleware, retries: 0, ..ServiceOptions::default() };
    let services = ServiceManager::builder(&system()).service("desk", options).build();
    let (host, book) = desk(HostOptions { workers: 20, ..HostOptions::default() });
    services.start(host.middleware(&at_host)).await.unwrap();
    (services.service("desk"), book)
}

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: String) {
        self.0.lock().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Notes what it is told, and refuses where it is to.
struct Scribe {
    name: &'static str,
    diary: Diary,
    refuses: Option<&'static str>,
}

impl Middleware for Scribe {
    async fn before(&self, call: &mut Call) -> Result<Flow, CallError> {
        self.diary.note(format!("before {}", self.name));
        call.context.headers.insert(self.name.into(), "was here".into());
        if self.refuses == Some("before") {
            let (by, why) = (self.name.into(), "not today".into());
            return Err(CallError::Rejected { by, why, again_after: None });
        }
        Ok(Flow::Continue)
    }

    async fn after(&self, context: &Context, answer: Payload) -> Result<Payload, CallError> {
        self.diary.note(format!("after {} {}", self.name, context.method));
        if self.refuses == Some("after") {
            return Err(CallError::BadAnswer { why: "not so".into() });
        }
        Ok(answer)
    }

    async fn on_error(&self, _: &Context, why: CallError) -> Result<Payload, CallError> {
        self.diary.note(format!("on_error {} {}", self.name, why.kind()));
        Err(why)
    }
}

fn scribes(refusals: [Option<&'static str>; 3]) -> (Chain, Diary) {
    let diary = Diary::default();
    let chain =
        ["a", "b", "c"].into_iter().zip(refusals).fold(Chain::new(), |chain, (name, refuses)| {
            chain.with(Scribe { name, diary: diary.clone(), refuses })
        });
    (chain, diary)
}

#[tokio::test(start_paused = true)]
async fn before_goes_in_order_and_after_and_on_error_the_other_way() {
    let (chain, diary) = scribes([None; 3]);
    let (desk, book) = through(chain).await;
    desk.call(Echo("x".into())).await.unwrap();
    let before = ["before a", "before b", "before c"];
    let noted = diary.take();
    assert_eq!(noted[..3], before);
    assert_eq!(noted[3..], ["after c echo", "after b echo", "after a echo"]);
    assert_eq!(book.headers.lock().len(), 3, "what they add arrives");
    desk.call(Fail::Sold).await.unwrap_err();
    let noted = diary.take();
    assert_eq!(noted[..3], before);
    assert_eq!(noted[3..], ["on_error c failed", "on_error b failed", "on_error a failed"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_is_seen_by_those_outside_of_it() {
    let (chain, diary) = scribes([None, Some("before"), None]);
    let (desk, book) = through(chain).await;
    let refused = desk.call(Echo("x".into())).await.unwrap_err();
    assert_eq!(refused.to_string(), "refused by b: not today");
    assert_eq!(diary.take(), ["before a", "before b", "on_error a rejected"]);
    assert_eq!(book.executed(), 0);

    let (chain, diary) = scribes([None, Some("after"), None]);
    let (desk, _) = through(chain).await;
    desk.call(Echo("x".into())).await.unwrap_err();
    assert_eq!(diary.take()[3..], ["after c echo", "after b echo", "on_error a bad_answer"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_middleware_works_at_the_host_for_batches_too() {
    let (chain, diary) = scribes([None; 3]);
    let (desk, _) = through_both(Chain::new(), chain).await;
    desk.call(Echo("x".into())).await.unwrap();
    assert_eq!(diary.take().len(), 6);
    let mut calls = JoinSet::new();
    for number in 0..4 {
        let desk = desk.clone();
        calls.spawn(async move { desk.call(Square(number)).await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert_eq!(diary.take().iter().filter(|note| *note == "after a square").count(), 4);
    assert_eq!(answers.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_executed_without_those_that_middleware_refuses() {
    /// Lets even numbers through, after a while.
    struct Even;
    impl Middleware for Even {
        async fn before(&self, call: &mut Call) -> Result<Flow, CallError> {
            let Square(number) = *call.request.peek().expect("it is one, of this machine");
            tokio::time::sleep(SECOND * number.unsigned_abs() as u32).await;
            if number % 2 == 0 {
                return Ok(Flow::Continue);
            }
            let (by, why) = ("even".into(), "odd".into());
            Err(CallError::Rejected { by, why, again_after: None })
        }
    }
    let services = manager();
    let options = HostOptions { workers: 1, ..HostOptions::default() };
    let (host, book) = desk(HostOptions { middleware: Chain::new().with(Even), ..options });
    services.start(host).await.unwrap();
    let desk = services.service("desk");
    let mut calls = JoinSet::new();
    for number in [8, 0, 1, 2, 3] {
        let desk = desk.clone();
        calls.spawn(async move { (number, desk.call_with(once(), Square(number)).await) });
    }
    let mut outcomes = calls.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    let refused = |why: &CallError| matches!(why, CallError::Rejected { .. });
    assert_eq!(outcomes[0].1, Ok((0, 3)), "with 2 and 8, when 1 was refused");
    assert!(outcomes[1].1.as_ref().is_err_and(refused));
    assert_eq!(outcomes[2].1, Ok((4, 3)));
    assert!(outcomes[3].1.as_ref().is_err_and(refused));
    assert_eq!(outcomes[4].1, Ok((64, 3)));
    assert_eq!(book.executed(), 1);
}

#[tokio::test(start_paused = true)]
async fn any_tower_layer_can_be_used() {
    // One that fails by itself.
    let (desk, _) = through(Chain::new().layer(TimeoutLayer::new(SECOND))).await;
    let late = desk.call(Work(2_000)).await.unwrap_err();
    assert_eq!(late, CallError::Layer { why: "request timed out".into() });
    let sold = desk.call(Fail::Sold).await.unwrap_err();
    assert!(matches!(sold, CallError::Failed(_)), "an error of the service is still one: {sold}");
    // One that makes them wait.
    let (desk, book) = through(Chain::new().layer(ConcurrencyLimitLayer::new(2))).await;
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let desk = desk.clone();
        calls.spawn(async move { desk.call(Work(1_000)).await });
    }
    let begun = Instant::now();
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!((begun.elapsed(), book.running_max.load(Ordering::SeqCst)), (3 * SECOND, 2));
    // One that is not `Clone`, in a buffer.
    let layers = ServiceBuilder::new().buffer::<Call>(9).layer(RateLimitLayer::new(1, SECOND));
    let (desk, _) = through(Chain::new().layer(layers.into_inner())).await;
    let begun = Instant::now();
    for _ in 0..3 {
        desk.call(Echo("x".into())).await.unwrap();
    }
    assert!(begun.elapsed() >= 2 * SECOND);
    let sold = desk.call(Fail::Sold).await.unwrap_err();
    assert!(matches!(sold, CallError::Failed(_)), "{sold}");
}

#[tokio::test(start_paused = true)]
async fn whatever_holds_a_call_up_holds_it_for_its_deadline_at_most() {
    let (desk, _) = through(Chain::new().concurrency_limit(1)).await;
    let first = desk.clone();
    let first = tokio::spawn(async move { first.call(Work(20_000)).await });
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    let options = CallOptions::new().deadline(SECOND);
    let late = desk.call_with(options, Echo("x".into())).await.unwrap_err();
    assert_eq!((late, begun.elapsed()), (CallError::TimedOut { within: SECOND }, SECOND));
    first.await.unwrap().unwrap();
    desk.call(Echo("x".into())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_lets_a_burst_through_and_then_so_many_a_second() {
    let (desk, book) = through(Chain::new().with(RateLimit::per_second(2).burst(5))).await;
    let call = async || desk.call(Echo("x".into())).await;
    for _ in 0..5 {
        call().await.unwrap();
    }
    let refused = call().await.unwrap_err();
    let CallError::Rejected { by, why, again_after: Some(after) } = refused else {
        panic!("{refused}")
    };
    assert_eq!((&*by, &*why), ("rate limit", "2 calls a second are let through"));
    assert!(after <= SECOND / 2, "{after:?}");
    tokio::time::sleep(after).await;
    call().await.unwrap();
    assert!(call().await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    let mut through = 0;
    while call().await.is_ok() {
        through += 1;
    }
    assert_eq!((through, book.executed()), (5, 11));
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_refuses_beyond_those_under_way_and_those_that_may_wait() {
    let bulkhead = Bulkhead { concurrent_max: 2, waiting_max: 1, wait: SECOND };
    let (desk, book) = through(Chain::new().bulkhead(bulkhead)).await;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let desk = desk.clone();
        calls.spawn(async move { desk.call(Work(3_000)).await });
    }
    let begun = Instant::now();
    let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let text = "refused by bulkhead: 2 calls are under way, and 1 may wait";
    assert_eq!(refused.to_string(), text);
    let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(refused.to_string(), "refused by bulkhead: no place within 1s");
    assert_eq!(calls.join_all().await, vec![Ok(()); 2]);
    assert_eq!(book.executed(), 2);
    desk.call(Echo("x".into())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cache_answers_what_was_asked_before_until_it_is_too_old() {
    let cache = Cache::new(CacheOptions::default());
    let (desk, book) = through(Chain::new().cache(cache.clone())).await;
    for _ in 0..3 {
        assert_eq!(desk.call(Echo("x".into())).await.as_deref(), Ok("x"));
        assert_eq!(desk.call(Echo("y".into())).await.as_deref(), Ok("y"));
    }
    assert_eq!((book.executed(), cache.len()), (2, 2));
    // The same by JSON, where it is said to be idempotent.
    let idempotent = CallOptions::new().idempotent(true);
    let same = desk.call_json_with(idempotent, "echo", json!("x")).await;
    assert_eq!((same, book.executed()), (Ok(json!("x")), 2));
    // What headers say may make another answer of it.
    let of_another = CallOptions::new().header("tenant", "7");
    desk.call_with(of_another, Echo("x".into())).await.unwrap();
    assert_eq!(book.executed(), 3);
    for _ in 0..2 {
        desk.call(Work(1)).await.unwrap();
    }
    assert_eq!(book.executed(), 5, "it may not be executed less often than it is called");
    tokio::time::sleep(60 * SECOND).await;
    desk.call(Echo("x".into())).await.unwrap();
    assert_eq!(book.executed(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_cache_keeps_no_errors_and_no_more_than_it_may() {
    let cache = Cache::new(CacheOptions { entries_max: 10, ..CacheOptions::default() });
    let (desk, book) = through(Chain::new().cache(cache.clone())).await;
    let idempotent = || CallOptions::new().idempotent(true);
    for _ in 0..2 {
        desk.call_with(idempotent(), Fail::Sold).await.unwrap_err();
    }
    assert_eq!((book.executed(), cache.is_empty()), (2, true));
    for number in 0..1_000 {
        desk.call(Echo(number.to_string())).await.unwrap();
    }
    assert!(cache.len() <= 10, "{}", cache.len());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_where_the_service_does_not() {
    let chain = Chain::new()
        .with(Fallback::value("work", json!(null)))
        .with(Fallback::new(|context, _| (context.method == "wait").then(|| Payload::new(99_u32))));
    let (desk, _) = through(chain).await;
    let short = || CallOptions::new().deadline(SECOND);
    assert_eq!(desk.call_with(short(), Work(2_000)).await, Ok(()));
    assert_eq!(desk.call_with(short(), Wait).await, Ok(99));
    let panicked = desk.call(Fail::Panic).await.unwrap_err();
    assert!(matches!(panicked, CallError::Panicked { .. }), "{panicked}");
    assert_eq!(desk.call(Echo("x".into())).await.as_deref(), Ok("x"));
}

/// Fails as long as it is told to, before the call reaches the service.
struct Weather(Arc<AtomicUsize>);

impl Middleware for Weather {
    async fn before(&self, _: &mut Call) -> Result<Flow, CallError> {
        match self.0.load(Ordering::SeqCst) {
            0 => Ok(Flow::Continue),
            _ => Err(CallError::Lost { why: "a storm".into() }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_opens_tries_and_closes_and_tells_so() {
    let breaker = CircuitBreaker::new("desk", BreakerOptions::default());
    let storm = Arc::new(AtomicUsize::new(1));
    let chain = Chain::new()
        .with(Fallback::new(|_, why| {
            matches!(why, CallError::Rejected { .. }).then(|| Payload::new("closed".to_owned()))
        }))
        .circuit_breaker(&breaker)
        .with(Weather(storm.clone()));
    let mut events = breaker.events();
    let (desk, book) = through(chain).await;
    let call = async || desk.call(Echo("open".into())).await;
    for _ in 0..10 {
        assert!(matches!(call().await, Err(CallError::Lost { .. })));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(call().await.as_deref(), Ok("closed"), "the fallback's");
    storm.store(0, Ordering::SeqCst);
    assert_eq!(call().await.as_deref(), Ok("closed"), "it stays open for a while");
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    for _ in 0..3 {
        assert_eq!(call().await.as_deref(), Ok("open"));
    }
    assert_eq!((breaker.state(), book.executed()), (BreakerState::Closed, 3));
    let mut seen = Vec::new();
    while let Some(change) = events.try_recv() {
        assert_eq!(&*change.name, "desk");
        seen.push(change.to);
    }
    assert_eq!(seen, [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);
}

#[test]
fn calls_are_counted_by_outcome_and_the_breakers_state_is_shown() {
    let recorder = DebuggingRecorder::new();
    let shown = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = CircuitBreaker::new("desk", BreakerOptions::default());
            let chain = Chain::new().with(Logging::new()).with(Metering::new());
            let (desk, _) = through(chain.circuit_breaker(&breaker)).await;
            for _ in 0..3 {
                desk.call(Echo("x".into())).await.unwrap();
            }
            for number in 0..20 {
                let method = format!("no-{number}");
                desk.call_json(&method, json!(null)).await.unwrap_err();
            }
            for _ in 0..20 {
                let _ = desk.call(Fail::Panic).await;
            }
        });
    });
    let mut counted = Vec::new();
    let mut state = None;
    for (key, _, _, value) in shown.snapshot().into_vec() {
        let name = key.key().name().to_owned();
        let labels = key.key().labels().map(|label| label.value().to_owned());
        let labels = labels.collect::<Vec<_>>().join(" ");
        match value {
            DebugValue::Counter(count) if name == "umbel_service_calls_total" => {
                counted.push((labels, count));
            }
            DebugValue::Gauge(value) if name == "umbel_service_breaker_state" => {
                state = Some(value.into_inner());
            }
            _ => {}
        }
    }
    counted.sort();
    assert_eq!(
        counted,
        [
            ("desk echo answered".to_owned(), 3),
            ("desk fail panicked".to_owned(), 10),
            ("desk fail rejected".to_owned(), 10),
            ("desk other no_such_method".to_owned(), 20),
        ]
    );
    assert_eq!(state, Some(2.0), "open: ten of the last twenty were the service's failures");
}
