//! What spans go through when they end: a bounded queue, a thread that sends them in batches.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use crate::account::Account;
use crate::endpoint::Endpoint;
use crate::error::TelemetryError;

/// How spans are sent.
pub(crate) struct Pace {
    pub(crate) queue: usize,
    pub(crate) batch: usize,
    pub(crate) every: Duration,
    pub(crate) within: Duration,
}

/// The queue of spans, kept to its bound by the account, so that none is lost uncounted.
#[derive(Debug)]
pub(crate) struct Queue {
    processor: BatchSpanProcessor,
    account: Arc<Account>,
}

impl Queue {
    pub(crate) fn new(
        endpoint: &Endpoint,
        pace: &Pace,
        account: Arc<Account>,
    ) -> Result<Self, TelemetryError> {
        let refused = |why: String| TelemetryError::Exporter { why };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            // Ours, and not the one that whichever features are on would have it choose.
            .with_http_client(client(pace.within).map_err(refused)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.url())
            .with_timeout(pace.within)
            .build()
            .map_err(|why| refused(why.to_string()))?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(pace.queue)
            .with_max_export_batch_size(pace.batch)
            .with_scheduled_delay(pace.every)
            .build();
        let exporter = Accounted { exporter, account: account.clone() };
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        Ok(Self { processor, account })
    }
}

/// An HTTP client of its own thread. Made on another one than this: it blocks, which an async runtime
/// does not allow.
fn client(within: Duration) -> Result<reqwest::blocking::Client, String> {
    let make = move || {
        reqwest::blocking::Client::builder()
            .timeout(within)
            // A collector does not send elsewhere; headers may hold a token.
            .redirect(reqwest::redirect::Policy::none())
            .build()
    };
    let thread = std::thread::Builder::new().name("umbel-telemetry".into()).spawn(make);
    let made = thread.map_err(|why| why.to_string())?.join();
    made.map_err(|_| "the HTTP client panicked".to_owned())?.map_err(|why| why.to_string())
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.account.enter() {
            self.processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(within)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter whose account is kept.
#[derive(Debug)]
struct Accounted<E> {
    exporter: E,
    account: Arc<Account>,
}

impl<E: SpanExporter> SpanExporter for Accounted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.account.leave(spans);
        let outcome = self.exporter.export(batch).await;
        self.account.sent(spans, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, within: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(within)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
