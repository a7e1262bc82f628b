//! A collector: it takes spans as OTLP over HTTP, and keeps them.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;

/// Far beyond what anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A span as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The program that it is of.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) span: String,
    /// Empty where there is none.
    pub(crate) parent: String,
    pub(crate) state: String,
    /// 1 internal, 2 server, 3 client.
    pub(crate) kind: i32,
    /// Whether it is an error.
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) events: Vec<String>,
}

/// A collector on a port of its own.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Received>>,
    refuses: AtomicBool,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Kept::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it refuses from now on what it is sent.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.received.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn spans(&self) -> Vec<Received> {
        self.received.spans.lock().clone()
    }

    /// What there is, once this holds of it.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        let waited = tokio::time::timeout(SOON, async {
            while !holds(&self.spans()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}; {:#?}", self.spans());
        self.spans()
    }
}

async fn take(State(all): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if all.refuses.load(Ordering::SeqCst) {
        return StatusCode::BAD_REQUEST;
    }
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let about = texts(resource.resource.unwrap().attributes);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let received = Received {
                service: about["service.name"].clone(),
                name: span.name,
                trace: hexadecimal(&span.trace_id),
                span: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                state: span.trace_state,
                kind: span.kind,
                is_error: span.status.is_some_and(|status| status.code == 2),
                attributes: texts(span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
            };
            all.spans.lock().push(received);
        }
    }
    StatusCode::OK
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
