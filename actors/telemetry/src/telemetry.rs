//! Spans on their way to a collector.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::account::{Account, TelemetryFigures};
use crate::bridge::OpenTelemetryTraces;
use crate::builder::TelemetryBuilder;
use crate::error::ShutdownError;

/// Sends spans to an OpenTelemetry collector, as OTLP over HTTP.
///
/// Whatever becomes of the collector, who ends a span waits for nothing: the span goes into a queue, and is
/// lost where that is full. One thread sends what is in there.
///
/// To drop this changes nothing: spans are sent as long as somebody has the layer. Those that wait when the
/// process ends are lost, so end with [`Telemetry::shutdown`]. (Where the layer, too, is dropped without that, as
/// in tests, the SDK sends what waits on the thread that drops it, which blocks for up to 5 s.)
pub struct Telemetry {
    /// `None` where the environment has switched it off.
    pub(crate) provider: Option<SdkTracerProvider>,
    pub(crate) account: Arc<Account>,
    pub(crate) spans: Targets,
}

impl Telemetry {
    /// Begins one for a program of this name, which the collector shows as the service.
    pub fn builder(service: impl Into<String>) -> TelemetryBuilder {
        TelemetryBuilder::new(service.into())
    }

    /// The layer that takes spans up, for the subscriber of [`tracing`]; one for all of a process. It looks
    /// at the spans that were asked for with [`TelemetryBuilder::spans`], whatever other layers look at.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        self.provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("umbel"))
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(self.spans.clone())
        })
    }

    /// What connects a system's messages with these traces: give it to
    /// [`SystemBuilder::traces`](umbel_actors::SystemBuilder::traces).
    #[must_use]
    pub fn traces(&self) -> OpenTelemetryTraces {
        OpenTelemetryTraces::new()
    }

    /// Whether spans are sent: not so where the environment has switched it off.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.provider.is_some()
    }

    /// What has become of spans so far.
    #[must_use]
    pub fn figures(&self) -> TelemetryFigures {
        self.account.figures()
    }

    /// Sends what is there, and ends: after `within` at the latest, whatever the collector does.
    ///
    /// # Errors
    /// [`ShutdownError`]: the last spans are lost, or may be.
    pub async fn shutdown(self, within: Duration) -> Result<(), ShutdownError> {
        let Some(provider) = self.provider else { return Ok(()) };
        let (begun, failed) = (Instant::now(), self.account.figures().failed);
        let (tell, told) = oneshot::channel();
        // A thread and no task: it blocks, and a runtime that ends would wait for it.
        let thread = std::thread::Builder::new().name("umbel-telemetry".into()).spawn(move || {
            let _ = tell.send(provider.shutdown_with_timeout(within));
        });
        thread.map_err(|why| ShutdownError::Failed { why: why.to_string() })?;
        let Ok(told) = timeout(within, told).await else {
            return Err(ShutdownError::TimedOut { within });
        };
        match told {
            Ok(Ok(())) => match self.account.figures().failed - failed {
                0 => Ok(()),
                spans => Err(ShutdownError::Lost { spans }),
            },
            // It has the same deadline, and may be the first to see it.
            Ok(Err(_)) if begun.elapsed() >= within => Err(ShutdownError::TimedOut { within }),
            Ok(Err(why)) => Err(ShutdownError::Failed { why: why.to_string() }),
            Err(_) => Err(ShutdownError::Failed { why: "its thread panicked".into() }),
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("is_on", &self.is_on())
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}
