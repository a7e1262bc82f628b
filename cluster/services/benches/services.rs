//! Calls of a service on another node, over mutual TLS on loopback, beside a bare ask over the same
//! links.
//!
//! Both nodes live in this process, on a runtime with two workers that is made anew for each round of
//! each case. A bare ask is one to an actor that answers at once; its question is a number in a few
//! bytes, where a service's request is JSON, with an id, its method's name and room for headers.

#[path = "../../../actors/benches/harness/mod.rs"]
mod harness;

use std::time::Duration;

use harness::{Case, Latencies, Options, Sample, Stopwatch};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply};
use umbel_cluster::{Authority, IssueOptions, Node};
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{
    Chain, Context, Failure, Handle, Logging, Metering, Method, Methods, Placement, Service,
    ServiceHandle, ServiceHost, ServiceManager, ServiceOptions,
};

/// One call in so many is timed: reading the clock for each would blur the differences.
const TIMED: u64 = 4;

fn main() {
    let options = Options::from_args(
        "Measures services on another node, over mutual TLS: a call through three middlewares, beside \
         a bare ask.",
        &[],
    );
    let mut cases = Vec::new();
    for callers in [1, 64] {
        let params = || json!({ "callers": callers });
        let ops = if callers == 1 { 8_000 } else { 64_000 };
        cases.extend([
            Case::new("remote_call", "umbel", params(), ops, move |ops| {
                call::<Plain>(callers, ops)
            })
            .variant(json!({ "middlewares": 0 })),
            Case::new("remote_call", "ask", params(), ops, move |ops| call::<Asked>(callers, ops)),
            Case::new("remote_call", "umbel", params(), ops, move |ops| {
                call::<Layered>(callers, ops)
            })
            .variant(json!({ "middlewares": 3 })),
        ]);
    }
    harness::run(&options, cases);
}

/// Something on another node that answers a number with the next one.
trait Peer: Clone + Send + Sync + 'static {
    fn start(there: &Node, here: &Node) -> impl Future<Output = Self> + Send;
    fn next(&self, number: u64) -> impl Future<Output = u64> + Send;
}

async fn nodes() -> (Node, Node) {
    let authority = Authority::create("bench".parse().expect("a name")).expect("it can be made");
    let node = |name: &str, join: Option<String>| {
        let name = name.parse().expect("a name");
        let credentials = authority.issue(&name, &IssueOptions::new()).expect("it can be issued");
        Node::builder().credentials(credentials).listen("127.0.0.1:0").join(join).start()
    };
    let there = node("there", None).await.expect("it starts");
    let here = node("here", there.address()).await.expect("it starts");
    assert!(here.wait_for_peers(1, Duration::from_secs(30)).await, "they are linked");
    (there, here)
}

fn call<P: Peer>(callers: u64, ops: u64) -> Sample {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be had");
    let work = async move {
        let (there, here) = nodes().await;
        let peer = P::start(&there, &here).await;
        assert_eq!(peer.next(1).await, 2);
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
        let reading = watch.stop();
        here.leave(Duration::from_secs(1)).await;
        there.leave(Duration::from_secs(1)).await;
        reading.sample(share * callers, latencies)
    };
    runtime.block_on(async { tokio::spawn(work).await.expect("no bench panics") })
}

#[derive(Clone, Serialize, Deserialize)]
struct Next(u64);

impl Method for Next {
    const NAME: &'static str = "next";
    const IDEMPOTENT: bool = true;
    type Answer = u64;
}

struct Counter;

impl Service for Counter {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Next>()
    }
}

impl Handle<Next> for Counter {
    async fn handle(&self, Next(number): Next, _: &Context) -> Result<u64, Failure> {
        Ok(number + 1)
    }
}

async fn service(there: &Node, here: &Node, middleware: Chain) -> ServiceHandle {
    let services = |node: &Node, options: ServiceOptions| {
        let directory = ClusterDirectory::new(node);
        let builder = ServiceManager::builder(node.system()).directory(directory);
        builder.default_options(options).build()
    };
    let hosts = services(there, ServiceOptions::default());
    hosts.start(ServiceHost::new("counter", || Counter)).await.expect("it starts");
    let placement = Placement::Remote;
    let options = ServiceOptions { middleware, placement, retries: 0, ..ServiceOptions::default() };
    services(here, options).service("counter")
}

/// A service without middleware.
#[derive(Clone)]
struct Plain(ServiceHandle);

impl Peer for Plain {
    async fn start(there: &Node, here: &Node) -> Self {
        Self(service(there, here, Chain::new()).await)
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.call(Next(number)).await.expect("it answers")
    }
}

/// A service behind three middlewares.
#[derive(Clone)]
struct Layered(ServiceHandle);

impl Peer for Layered {
    async fn start(there: &Node, here: &Node) -> Self {
        let chain = Chain::new().with(Logging::new()).with(Metering::new());
        Self(service(there, here, chain.concurrency_limit(1_000)).await)
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.call(Next(number)).await.expect("it answers")
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
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
    async fn start(there: &Node, here: &Node) -> Self {
        let actor = there.spawn(Answerer, ()).await.expect("it starts");
        there.register("answerer", &actor).await.expect("it is registered");
        Self(here.resolve::<Ask>("answerer").await.expect("it is found"))
    }

    async fn next(&self, number: u64) -> u64 {
        self.0.ask(|reply| Ask::Next(number, reply)).await.expect("it answers")
    }
}
