//! One trace over HTTP, services, and nodes that are processes, as a real collector gets it. In a file of
//! its own, as there is one subscriber for a process.
//!
//! The other process is this test binary again, told by its environment to be a node.

#[path = "../../../actors/telemetry/tests/receiver/mod.rs"]
mod receiver;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use receiver::{Received, Receiver, SOON};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use umbel_actors::System;
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, Overwrite};
use umbel_cluster_services::ClusterDirectory;
use umbel_services::{
    CallOptions, Context, Failure, Handle, Method, Methods, Service, ServiceHost, ServiceManager,
};
use umbel_telemetry::{HttpTraces, Telemetry};

const CHILD: &str = "UMBEL_TEST_CHILD";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Goes on at the services that are named, the last first. Fails the first time where nothing is left of
/// the name but `flaky`.
#[derive(Clone, Serialize, Deserialize)]
struct Go {
    through: Vec<String>,
}

impl Method for Go {
    const NAME: &'static str = "go";
    const IDEMPOTENT: bool = true;
    type Answer = Vec<String>;
}

struct Stage {
    name: &'static str,
    services: ServiceManager,
}

impl Service for Stage {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Go>()
    }
}

impl Handle<Go> for Stage {
    async fn handle(
        &self,
        Go { mut through }: Go,
        context: &Context,
    ) -> Result<Vec<String>, Failure> {
        let mut seen = match through.pop() {
            Some(next) if next == "flaky" && context.attempt == 1 => {
                return Err(Failure::new("not now").transient());
            }
            Some(next) if next == "broken" => return Err(Failure::new("broken for good")),
            Some(next) if next != "flaky" => self.services.call(&next, Go { through }).await?,
            _ => Vec::new(),
        };
        seen.push(self.name.to_owned());
        Ok(seen)
    }
}

/// A node with services of these names; its messages are part of traces.
async fn node(
    directory: &Path,
    name: &str,
    seed: Option<String>,
    telemetry: &Telemetry,
    stages: &'static [&'static str],
) -> (Node, ServiceManager) {
    let file = |end: &str| directory.join(format!("{name}{end}.pem"));
    let authority = directory.join("ca.pem");
    let credentials = Credentials::load(file(""), file("-key"), authority).unwrap();
    let system = System::builder(name).traces(telemetry.traces()).start();
    let node = Node::builder().credentials(credentials).system(system);
    let node = node.listen("127.0.0.1:0").join(seed).start().await.unwrap();
    let services =
        ServiceManager::builder(node.system()).directory(ClusterDirectory::new(&node)).build();
    for name in stages {
        let manager = services.clone();
        let make = move || Stage { name, services: manager.clone() };
        services.start(ServiceHost::new(*name, make)).await.unwrap();
    }
    (node, services)
}

/// The child's side; a test that does nothing unless the environment says which node to be. Where the
/// collector is, and what this is called there, is said by the environment as well.
#[test]
fn child() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let [directory, seed] = child.split('|').collect::<Vec<_>>()[..] else { panic!() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let telemetry = Telemetry::builder("unnamed").init().unwrap();
        let directory = Path::new(directory);
        let (node, _) = node(directory, "b", Some(seed.into()), &telemetry, &["stock"]).await;
        // Ends with its parent: the pipe's other end is gone then.
        let closed = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)
        });
        let _ = closed.await;
        node.leave(Duration::from_secs(2)).await;
        telemetry.shutdown(SOON).await.unwrap();
    });
}

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(directory: &Path, seed: &str, receiver: &Receiver) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{}|{seed}", directory.display()))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())
        .env("OTEL_SERVICE_NAME", "back")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// The spans from this one down to the root that the request named, if it leads there.
fn upwards<'a>(all: &'a [Received], last: &'a Received) -> Vec<&'a Received> {
    let mut line = vec![last];
    while let Some(above) = all.iter().find(|span| span.span == line[line.len() - 1].parent) {
        line.push(above);
    }
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_an_http_request_over_services_to_another_process_and_back() {
    let receiver = Receiver::start().await;
    let telemetry = Telemetry::builder("front")
        .endpoint(receiver.url())
        .export_every(Duration::from_millis(50))
        .init()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    for name in ["a", "b"] {
        let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
        credentials.save(directory.path(), Overwrite::Replace).unwrap();
    }
    let stages = &["orders", "ledger"];
    let (a, services) = node(directory.path(), "a", None, &telemetry, stages).await;
    let _back = start(directory.path(), &a.address().unwrap(), &receiver);
    assert!(a.wait_for_peers(1, SOON).await);
    let ready = async {
        while services.service("stock").figures().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ready).await.expect("the other process has its service");

    let go = async |State(services): State<ServiceManager>, body: String| {
        let through = body.split(' ').map(str::to_owned).collect();
        let options = CallOptions::new().retry_after(Duration::from_millis(10));
        match services.service("orders").call_with(options, Go { through }).await {
            Ok(seen) => (StatusCode::OK, seen.join(" ")),
            Err(why) => (StatusCode::BAD_GATEWAY, why.to_string()),
        }
    };
    let router = Router::new()
        .route("/orders", post(go))
        .with_state(services)
        .layer(HttpTraces::new().route(|_| Some("/orders".into())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/orders", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |trace: &str, through: &str| {
        let request = client.post(&url).body(through.to_owned());
        let request = request.header("traceparent", format!("00-{trace}-{SPAN}-01"));
        let answer = request.header("tracestate", "shop=1").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    // From here to the other process, and from there back to this one.
    let (status, seen) = ask(TRACE, "ledger stock").await;
    assert_eq!((status, &*seen), (200, "ledger stock orders"));
    let wanted = [
        ("front", "ledger/go", 2),
        ("front", "handle umbel.ServiceMessage", 1),
        ("back", "ledger/go", 3),
        ("back", "stock/go", 2),
        ("back", "handle umbel.ServiceMessage", 1),
        ("front", "stock/go", 3),
        ("front", "orders/go", 2),
        ("front", "handle umbel.ServiceMessage", 1),
        ("front", "orders/go", 3),
        ("front", "POST /orders", 2),
    ];
    let of = |all: &[Received], trace: &str| -> Vec<Received> {
        all.iter().filter(|span| span.trace == trace).cloned().collect()
    };
    let all = receiver.until("all spans", |all| of(all, TRACE).len() >= wanted.len()).await;
    let all = of(&all, TRACE);
    let last = all.iter().find(|span| span.name == "ledger/go" && span.kind == 2).unwrap();
    let line = upwards(&all, last);
    let seen: Vec<_> = line.iter().map(|it| (&*it.service, &*it.name, it.kind)).collect();
    assert_eq!(seen, wanted);
    assert_eq!(all.len(), wanted.len(), "{all:#?}");
    assert_eq!(line.last().unwrap().parent, SPAN);
    assert!(line.iter().all(|span| span.state == "shop=1" && !span.is_error));
    let (executed, called) = (&line[3].attributes, &line[5].attributes);
    for attributes in [executed, called] {
        assert_eq!(attributes["rpc.system"], "umbel");
        assert_eq!(attributes["rpc.service"], "stock");
        assert_eq!(attributes["rpc.method"], "go");
        assert_eq!(attributes["umbel.attempt"], "1");
    }
    assert_eq!(executed["umbel.request"], called["umbel.request"]);
    assert_eq!(called["server.address"], "b");
    assert!(!line[8].attributes.contains_key("server.address"), "orders is on this node");

    // One that fails there, once. (A span is sent when all below it on its node have ended: the last to come
    // need not be the outermost.)
    let executions = |all: &[Received], trace: &str| -> Vec<Received> {
        let all = of(all, trace);
        let is_whole = |span: &&Received| {
            let line = upwards(&all, span);
            line.last().is_some_and(|first| first.name == "POST /orders")
        };
        let executions = all.iter().filter(|span| span.name == "stock/go" && span.kind == 2);
        executions.filter(is_whole).cloned().collect()
    };
    let retried = TRACE.replace('0', "1");
    assert_eq!(ask(&retried, "flaky stock").await, (200, "stock orders".into()));
    let twice = |all: &[Received]| executions(all, &retried).len() == 2;
    let all = receiver.until("both attempts", twice).await;
    let attempts = executions(&all, &retried);
    let told = attempts.iter().map(|it| (&*it.attributes["umbel.attempt"], it.is_error));
    assert_eq!(told.collect::<std::collections::BTreeSet<_>>(), [("1", true), ("2", false)].into());
    let calls = of(&all, &retried);
    let calls: Vec<_> =
        calls.iter().filter(|span| span.name == "stock/go" && span.kind == 3).collect();
    let [call] = calls[..] else { panic!("{calls:#?}") };
    assert!(!call.is_error && call.attributes["umbel.attempt"] == "2", "{call:?}");
    assert_eq!(call.events, ["an attempt failed"]);
    assert!(attempts.iter().all(|it| upwards(&all, it).iter().any(|up| up.span == call.span)));

    // One that fails there for good: an error for who called, and for HTTP; none of the service's.
    let failed = TRACE.replace('0', "2");
    assert_eq!(ask(&failed, "broken stock").await, (502, "broken for good".into()));
    let once = |all: &[Received]| executions(all, &failed).len() == 1;
    let all = receiver.until("its execution", once).await;
    let execution = &executions(&all, &failed)[0];
    assert_eq!((&*execution.attributes["error.type"], execution.is_error), ("failed", false));
    let line = upwards(&all, execution);
    let (call, request) = (line[2], line[line.len() - 1]);
    assert_eq!((&*call.name, call.kind, call.is_error), ("stock/go", 3, true));
    assert_eq!(call.attributes["error.type"], "failed");
    assert!(request.is_error && request.attributes["error.type"] == "502");
    telemetry.shutdown(SOON).await.unwrap();
}
