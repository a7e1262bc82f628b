//! Calls of a service on one machine, beside a bare ask and beside tower's buffer; and how much is
//! done in time when more is asked than can be done.
//!
//! Everything runs on a runtime with two workers, made anew for each round of each case. A bare ask
//! is one to an actor that answers at once. tower's buffer is a queue of its own before one task, with
//! three layers around it, as the service has three middlewares around it; it has no workers, no
//! retries, no figures and no deadline that a server would keep.

#[path = "../../benches/harness/mod.rs"]
mod harness;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use harness::{Case, Latencies, Options, Sample, Stopwatch};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tower::buffer::Buffer;
use tower::timeout::TimeoutLayer;
use tower::util::BoxCloneService;
use tower::{Service as _, ServiceBuilder, ServiceExt, service_fn};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, System};
use umbel_services::{
    CallOptions, Chain, Context, Failure, Handle, HostOptions, Logging, Metering, Method, Methods,
    Service, ServiceHandle, ServiceHost, ServiceManager, ServiceOptions,
};

/// One call in so many is timed: reading the clock for each would blur the differences.
const TIMED: u64 = 16;

/// What ten workers can do that take ten milliseconds each.
const CAPACITY_PER_S: u64 = 1_000;
const WORK: Duration = Duration::from_millis(10);
const WORKERS: usize = 10;
/// How long a caller waits under overload: much less than a full queue takes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Calls come in bursts, so often.
const BURSTS: Duration = Duration::from_millis(5);

fn main() {
    let options = Options::from_args(
        "Measures services on one machine: a call through three middlewares, beside a bare ask and \
         tower's buffer; and what is done in time under overload.",
        &[],
    );
    let mut cases = Vec::new();
    for callers in [1, 64] {
        let params = || json!({ "callers": callers });
        let ops = 160_000;
        cases.extend([
            Case::new("call", "umbel", params(), ops, move |ops| call::<Plain>(callers, ops))
                .variant(json!({ "middlewares": 0 })),
            Case::new("call", "ask", params(), ops, move |ops| call::<Asked>(callers, ops)),
            Case::new("call", "tower", params(), ops, move |ops| call::<Buffered>(callers, ops)),
            Case::new("call", "umbel", params(), ops, move |ops| call::<Layered>(callers, ops))
                .variant(json!({ "middlewares": 3 })),
        ]);
    }
    for times in [1, 2, 10] {
        let run = move |ops| overload::<Queued>(times, ops);
        cases.push(
            Case::new("overload", "umbel", json!({}), 5 * CAPACITY_PER_S, run)
                .variant(json!({ "offered": times })),
        );
        let run = move |ops| overload::<Shed>(times, ops);
        cases.push(
            Case::new("overload", "tower", json!({}), 5 * CAPACITY_PER_S, run)
                .variant(json!({ "offered": times })),
        );
    }
    harness::run(&options, cases);
}

/// Something that answers a number with the next one.
trait Peer: Clone + Send + Sync + 'static {
    fn start() -> impl Future<Output = Self> + Send;
    fn next(&self, number: u64) -> impl Future<Output = u64> + Send;
}

fn measure(work: impl Future<Output = Sample> + Send + 'static) -> Sample {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async { tokio::spawn(work).await.expect("no bench panics") })
}

fn call<P: Peer>(callers: u64, ops: u64) -> Sample {
    measure(async move {
        let peer = P::start().await;
        let share = ops / callers;
        let watch = Stopwatch::start();
        let latencies = Latencies::of_tasks(callers, || {
            let peer = peer.clone();
            async move {
                let mut latencies = Latencies::new();
                for number in 0..share {
                    let asked = number.is_multiple_of(TIMED).then(Instant::now);
                    assert_eq!(peer.next(number).await, number + 1);
                    if let Some(asked) = asked {
                        latencies.record(asked.elapsed());
                    }
                }
                latencies
            }
        });
        let latencies = latencies.await;
        watch.stop().sample(share * callers, latencies)
    })
}

#[derive(Clone, Serialize, Deserialize)]
struct Next(u64);

impl Method for Next {
    const NAME: &'static str = "next";
    const IDEMPOTENT: bool = true;
    type Answer = u64;
}

#[derive(Clone, Serialize, Deserialize)]
struct Work;

impl Method for Work {
    const NAME: &'static str = "work";
    type Answer = ();
}

struct Counter;

impl Service for Counter {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Next>().on::<Work>()
    }
}

impl Handle<Next> for Counter {
    async fn handle(&self, Next(number): Next, _: &Context) -> Result<u64, Failure> {
        Ok(number + 1)
    }
}

impl Handle<Work> for Counter {
    async fn handle(&self, _: Work, _: &Context) -> Result<(), Failure> {
        sleep(WORK).await;
        Ok(())
    }
}

async fn service(middleware: Chain) -> ServiceHandle {
    // Without retries, a request is moved and never cloned or remembered: as the peers do it.
    let options = ServiceOptions { middleware, retries: 0, ..ServiceOptions::default() };
    let system = System::builder("bench").seed(1).start();
    let services = ServiceManager::builder(&system).default_options(options).build();
    let host = ServiceHost::new("counter", || Counter);
    let host = host.options(HostOptions { workers: WORKERS, ..HostOptions::default() });
    services.start(host).await.expect("it starts");
    services.service("counter")
}

/// A service without middleware.
#[derive(Clone)]
struct Plain(ServiceHandle);

impl Peer for Plain {
    async fn start() -> Self {
        Self(service(Chain::new()).await)
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.call(Next(number)).await.expect("it answers")
    }
}

/// A service behind three middlewares.
#[derive(Clone)]
struct Layered(ServiceHandle);

impl Peer for Layered {
    async fn start() -> Self {
        let chain = Chain::new().with(Logging::new()).with(Metering::new());
        Self(service(chain.concurrency_limit(1_000)).await)
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.call(Next(number)).await.expect("it answers")
    }
}

#[derive(Message)]
enum Ask {
    Next(u64, Reply<u64>),
}

struct Answerer;

impl Actor for Answerer {
    type Msg = Ask;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Ask>,
        Ask::Next(number, reply): Ask,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        reply.send(number + 1);
        Ok(())
    }
}

/// A bare ask.
#[derive(Clone)]
struct Asked(Address<Ask>);

impl Peer for Asked {
    async fn start() -> Self {
        let system = System::builder("bench").seed(1).start();
        Self(system.spawn(Answerer, ()).await.expect("it starts"))
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.ask(|reply| Ask::Next(number, reply)).await.expect("it answers")
    }
}

type Tower<Q, A> = Arc<parking_lot::Mutex<BoxCloneService<Q, A, tower::BoxError>>>;

async fn tower_call<Q, A>(tower: &Tower<Q, A>, request: Q) -> Result<A, tower::BoxError> {
    let mut service = tower.lock().clone();
    service.ready().await?.call(request).await
}

/// tower's buffer, behind three layers.
#[derive(Clone)]
struct Buffered(Tower<u64, u64>);

impl Peer for Buffered {
    async fn start() -> Self {
        let counter = service_fn(|number: u64| async move { Ok::<_, Infallible>(number + 1) });
        let service = ServiceBuilder::new()
            .map_request(|number: u64| number)
            .layer(TimeoutLayer::new(Duration::from_secs(30)))
            .concurrency_limit(1_000)
            .service(Buffer::new(counter, 10_000));
        Self(Arc::new(parking_lot::Mutex::new(BoxCloneService::new(service))))
    }

    async fn next(&self, number: u64) -> u64 {
        tower_call(&self.0, number).await.expect("it answers")
    }
}

/// Something that works for a while, with so many at once.
trait Worker: Clone + Send + Sync + 'static {
    fn start() -> impl Future<Output = Self> + Send;
    /// Whether it was done in time.
    fn work(&self) -> impl Future<Output = bool> + Send;
}

/// Offers so many times what can be done, for as long as it takes to do `ops`; counts what was done in
/// time, and when.
fn overload<W: Worker>(times: u64, ops: u64) -> Sample {
    measure(async move {
        let worker = W::start().await;
        let bursts = ops * 1_000 / CAPACITY_PER_S / BURSTS.as_millis() as u64;
        let burst = times * ops / bursts.max(1);
        let mut calls = JoinSet::new();
        let mut ticks = interval(BURSTS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let watch = Stopwatch::start();
        let end = Instant::now() + BURSTS * u32::try_from(bursts).expect("few");
        for _ in 0..bursts {
            ticks.tick().await;
            for _ in 0..burst {
                let worker = worker.clone();
                calls.spawn(async move {
                    let begun = Instant::now();
                    (worker.work().await && Instant::now() <= end).then(|| begun.elapsed())
                });
            }
        }
        tokio::time::sleep_until(end).await;
        let reading = watch.stop();
        let mut latencies = Latencies::new();
        let mut done = 0;
        while let Some(call) = calls.join_next().await {
            if let Some(took) = call.expect("no caller panics") {
                latencies.record(took);
                done += 1;
            }
        }
        reading.sample(done, latencies)
    })
}

/// A service, its queue at its default.
#[derive(Clone)]
struct Queued(ServiceHandle);

impl Worker for Queued {
    async fn start() -> Self {
        Self(service(Chain::new()).await)
    }

    async fn work(&self) -> bool {
        self.0.call_with(CallOptions::new().deadline(PATIENCE), Work).await.is_ok()
    }
}

/// tower's buffer before as many at once; beyond its bound, calls are shed.
#[derive(Clone)]
struct Shed(Tower<(), ()>);

impl Worker for Shed {
    async fn start() -> Self {
        let work = service_fn(|(): ()| async move {
            sleep(WORK).await;
            Ok::<_, Infallible>(())
        });
        let limited = ServiceBuilder::new().concurrency_limit(WORKERS).service(work);
        let service = ServiceBuilder::new().load_shed().service(Buffer::new(limited, 10_000));
        Self(Arc::new(parking_lot::Mutex::new(BoxCloneService::new(service))))
    }

    async fn work(&self) -> bool {
        matches!(timeout(PATIENCE, tower_call(&self.0, ())).await, Ok(Ok(())))
    }
}
