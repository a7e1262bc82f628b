//! HTTP requests, the actors that they ask, and what a real collector gets of them.

mod receiver;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::MatchedPath;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get};
use receiver::{Received, Receiver, SOON};
use tokio::net::TcpListener;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, System};
use umbel_telemetry::{HttpTraces, Telemetry, inject_current};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[derive(Message)]
enum Ask {
    /// Answers with the headers of a request that its handler would send.
    Headers(Reply<(Option<String>, Option<String>)>),
    Tick,
}

struct Sender;

impl Actor for Sender {
    type Msg = Ask;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Ask>,
        ask: Ask,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // Goes on with the message's trace after it has waited, too.
        tokio::task::yield_now().await;
        if let Ask::Headers(reply) = ask {
            let mut headers = HeaderMap::new();
            inject_current(&mut headers);
            let text = |name| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
            reply.send((text("traceparent"), text("tracestate")));
        }
        Ok(())
    }
}

/// A server whose requests are traced, with a collector; on this thread only, so that tests do not see
/// each other's spans.
struct Front {
    receiver: Receiver,
    address: SocketAddr,
    sender: Address<Ask>,
    _subscriber: DefaultGuard,
}

impl Front {
    async fn start() -> Self {
        let receiver = Receiver::start().await;
        let telemetry = Telemetry::builder("front")
            .endpoint(receiver.url())
            .export_every(Duration::from_millis(20))
            .start()
            .unwrap();
        let subscriber = Registry::default().with(telemetry.layer()).set_default();
        let system = System::builder("front").traces(telemetry.traces()).start();
        let sender = system.spawn(Sender, ()).await.unwrap();
        let ask = |State(sender): State<Address<Ask>>| async move {
            let (parent, state) = sender.ask(Ask::Headers).await.unwrap();
            format!("{}|{}", parent.unwrap_or_default(), state.unwrap_or_default())
        };
        let broken = || async { StatusCode::BAD_GATEWAY };
        let layer = HttpTraces::new()
            .route(|found| found.get::<MatchedPath>().map(|path| path.as_str().to_owned()))
            .except(["/healthz"]);
        let stranger = get(|| async { "hello" }).layer(HttpTraces::new().of_strangers());
        let router = Router::new()
            .route("/ask/{who}", any(ask))
            .route("/broken", get(broken))
            .route("/healthz", get(|| async { "well" }))
            .layer(layer)
            .route("/stranger", stranger)
            .with_state(sender.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { receiver, address, sender, _subscriber: subscriber }
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> String {
        self.send("GET", path, headers).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}{path}", self.address);
        let mut request = client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().text().await.unwrap()
    }

    /// All that the collector has once the end of a request has come there, which is sent after others.
    async fn received(&self) -> Vec<Received> {
        self.get("/broken", &[]).await;
        self.receiver.until("the last request", |all| named(all, "GET /broken").is_some()).await
    }
}

fn named<'a>(all: &'a [Received], name: &str) -> Option<&'a Received> {
    all.iter().find(|span| span.name == name)
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

#[tokio::test]
async fn a_request_goes_on_with_the_trace_of_its_headers_and_so_does_all_that_it_causes() {
    let front = Front::start().await;
    let headers = [("traceparent", &*parent("01")), ("tracestate", "a=1,b=2")];
    let answer = front.get("/ask/ada?password=secret", &headers).await;
    let all = front.received().await;
    let request = named(&all, "GET /ask/{who}").unwrap();
    assert_eq!((&*request.trace, &*request.parent), (TRACE, SPAN));
    assert_eq!((request.kind, request.is_error, &*request.state), (2, false, "a=1,b=2"));
    assert_eq!(request.service, "front");
    let attributes = &request.attributes;
    assert_eq!(attributes["http.request.method"], "GET");
    assert_eq!(attributes["http.route"], "/ask/{who}");
    assert_eq!(attributes["url.path"], "/ask/ada");
    assert_eq!(attributes["http.response.status_code"], "200");
    assert!(!format!("{request:?}").contains("secret"));

    let message = all.iter().find(|span| span.name.starts_with("handle ")).unwrap();
    assert_eq!((&message.trace, &message.parent), (&request.trace, &request.span));
    // What the actor would send elsewhere says that the actor's span caused it.
    assert_eq!(answer, format!("00-{TRACE}-{}-01|a=1,b=2", message.span));
}

#[tokio::test]
async fn what_is_not_sampled_stays_so_and_keeps_its_trace() {
    let front = Front::start().await;
    let answer = front.get("/ask/ada", &[("traceparent", &*parent("00"))]).await;
    assert!(answer.starts_with(&format!("00-{TRACE}-")), "{answer}");
    assert!(answer.ends_with("-00|") && !answer.contains(SPAN), "{answer}");
    assert!(front.received().await.iter().all(|span| span.trace != TRACE));
}

#[tokio::test]
async fn headers_that_are_not_right_are_passed_over_and_a_trace_begins() {
    let front = Front::start().await;
    let upper = parent("01").to_uppercase();
    for bad in ["", "00", &*upper, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
        let answer = front.get("/ask/ada", &[("traceparent", bad), ("tracestate", "a=1")]).await;
        assert!(answer.starts_with("00-") && answer.ends_with("-01|"), "{bad:?}: {answer}");
    }
    let all = front.received().await;
    let requests: Vec<_> = all.iter().filter(|span| span.name == "GET /ask/{who}").collect();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|span| span.parent.is_empty() && span.trace != TRACE));
}

#[tokio::test]
async fn what_strangers_say_of_traces_is_passed_over() {
    let front = Front::start().await;
    for flags in ["00", "01"] {
        front.get("/stranger", &[("traceparent", &*parent(flags))]).await;
    }
    let all = front.received().await;
    let requests: Vec<_> =
        all.iter().filter(|span| span.attributes["url.path"] == "/stranger").collect();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|span| span.parent.is_empty() && span.trace != TRACE));
}

#[tokio::test]
async fn an_answer_of_500_and_above_is_an_error_and_methods_that_are_made_up_have_one_name() {
    let front = Front::start().await;
    front.send("MADEUP", "/ask/ada", &[]).await;
    front.get("/nowhere", &[]).await;
    let all = front.received().await;
    let broken = named(&all, "GET /broken").unwrap();
    assert!(broken.is_error);
    assert_eq!(broken.attributes["error.type"], "502");
    assert!(named(&all, "_OTHER /ask/{who}").is_some());
    // No route, no name: whoever calls cannot make names up.
    let nowhere =
        all.iter().find(|span| span.attributes.get("url.path").is_some_and(|it| it == "/nowhere"));
    assert_eq!(nowhere.map(|span| (&*span.name, span.is_error)), Some(("GET", false)));
}

#[tokio::test]
async fn paths_that_are_excepted_and_messages_of_no_trace_begin_none() {
    let front = Front::start().await;
    front.get("/healthz", &[("traceparent", &*parent("01"))]).await;
    front.sender.tell(Ask::Tick).await.unwrap();
    let (headers, _) = front.sender.ask(Ask::Headers).await.unwrap();
    assert_eq!(headers, None);
    let names: Vec<_> = front.received().await.into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /broken"]);
}

#[tokio::test]
async fn shutdown_sends_what_waits() {
    let receiver = Receiver::start().await;
    let hour = Duration::from_secs(3600);
    let telemetry = Telemetry::builder("front").endpoint(receiver.url()).export_every(hour);
    let telemetry = telemetry.attribute("umbel.node", "a").start().unwrap();
    let subscriber = Registry::default().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || tracing::info_span!("work").in_scope(|| ()));
    assert_eq!(telemetry.figures().waiting, 1);
    assert_eq!(telemetry.shutdown(SOON).await, Ok(()));
    assert_eq!(receiver.spans().iter().map(|span| &*span.name).collect::<Vec<_>>(), ["work"]);
}

#[tokio::test]
async fn a_share_of_the_traces_is_recorded_whole_or_not_at_all() {
    let receiver = Receiver::start().await;
    let telemetry = Telemetry::builder("front").endpoint(receiver.url()).sample(0.5);
    let telemetry = telemetry.start().unwrap();
    let subscriber = Registry::default().with(telemetry.layer());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..400 {
            tracing::info_span!("outer").in_scope(|| tracing::info_span!("inner").in_scope(|| ()));
        }
    });
    telemetry.shutdown(SOON).await.unwrap();
    let all = receiver.spans();
    let traces = |name: &str| {
        let named = all.iter().filter(|span| span.name == name);
        named.map(|span| span.trace.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(traces("outer"), traces("inner"));
    // Off by ten standard deviations at most.
    assert!((100..=300).contains(&traces("outer").len()), "{}", traces("outer").len());
}

#[tokio::test]
async fn without_a_subscriber_nothing_is_recorded_or_sent_along() {
    let receiver = Receiver::start().await;
    let telemetry = Telemetry::builder("front").endpoint(receiver.url()).start().unwrap();
    let system = System::builder("front").traces(telemetry.traces()).start();
    let sender = system.spawn(Sender, ()).await.unwrap();
    assert_eq!(sender.ask(Ask::Headers).await.unwrap(), (None, None));
    assert_eq!(telemetry.figures(), umbel_telemetry::TelemetryFigures::default());
}
