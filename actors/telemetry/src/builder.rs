//! How spans are sent.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::account::Account;
use crate::endpoint::Endpoint;
use crate::environment::{Environment, Sampling};
use crate::error::TelemetryError;
use crate::pipeline::{Pace, Queue};
use crate::telemetry::Telemetry;

/// Where a collector listens unless it is said otherwise: OTLP's own port for HTTP, on this machine.
pub const ENDPOINT: &str = "http://127.0.0.1:4318";

/// What is not taken up: what sends spans, and would be traced while it does; and ractor, whose span of an
/// actor lasts as long as the actor: it would make one trace of all that an actor ever does.
const PASSED_OVER: [&str; 10] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "ractor",
    "reqwest",
    "rustls",
    "umbel::telemetry",
];

/// How a [`Telemetry`] sends spans. What the environment says in OpenTelemetry's variables goes before what
/// is said here, so that who runs a program has the last word:
///
/// | variable | says |
/// |---|---|
/// | `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none` | that nothing is sent |
/// | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | what the program is called, and more of it |
/// | `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | [where to](Self::endpoint); the second to the letter |
/// | `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TRACES_HEADERS` | with which headers: a token, say |
/// | `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT` | [within which time](Self::export_within), in milliseconds |
/// | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | [which traces](Self::sample) |
/// | `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY` | [how many may wait](Self::queue), [go at once](Self::batch), and [how often](Self::export_every), in milliseconds |
///
/// A value that cannot be is refused with the variable's name.
#[must_use = "a builder does nothing until `start` or `init`"]
pub struct TelemetryBuilder {
    service: String,
    attributes: Vec<(String, String)>,
    endpoint: Option<String>,
    ratio: f64,
    pace: Pace,
    spans: Targets,
}

impl TelemetryBuilder {
    pub(crate) fn new(service: String) -> Self {
        let pace = Pace {
            // These four are OpenTelemetry's own.
            queue: 2048,
            batch: 512,
            every: Duration::from_secs(5),
            within: Duration::from_secs(10),
        };
        let (attributes, spans) = (Vec::new(), Self::default_spans());
        Self { service, attributes, endpoint: None, ratio: 1.0, pace, spans }
    }

    /// The spans that are taken up unless it is said otherwise: of level info, and those of service calls,
    /// which are of level debug; none of what sends spans itself, nor of ractor, whose spans last as long as
    /// their actors.
    #[must_use]
    pub fn default_spans() -> Targets {
        Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("umbel::service", LevelFilter::DEBUG)
            .with_targets(PASSED_OVER.map(|target| (target, LevelFilter::OFF)))
    }

    /// The collector's URL, below which the path of traces is `/v1/traces`. Default: [`ENDPOINT`].
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Something else that is to be known of this process: the name of its node, say. Its process id is
    /// told in any case.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Which share of the traces that begin here is recorded, from 0 to 1. Default: all. One that came from
    /// elsewhere is recorded where it was there.
    pub fn sample(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// How many spans may wait, at least one; others are lost. Default: 2048. As many again may be on
    /// their way as go [at once](Self::batch).
    pub fn queue(mut self, spans: usize) -> Self {
        self.pace.queue = spans;
        self
    }

    /// How many spans are sent at once at most, at least one. Default: 512.
    pub fn batch(mut self, spans: usize) -> Self {
        self.pace.batch = spans;
        self
    }

    /// How long a span waits at most for others to be sent with it. Default: 5 s.
    pub fn export_every(mut self, interval: Duration) -> Self {
        self.pace.every = interval;
        self
    }

    /// How long the collector may take to take what it is sent, all tries together. Default: 10 s.
    pub fn export_within(mut self, within: Duration) -> Self {
        self.pace.within = within;
        self
    }

    /// Which spans are taken up, by target and level, instead of [the usual](Self::default_spans).
    pub fn spans(mut self, spans: Targets) -> Self {
        self.spans = spans;
        self
    }

    /// Starts the thread that sends spans. They come by [`Telemetry::layer`].
    ///
    /// # Errors
    /// [`TelemetryError`]. Whether there is a collector is not looked at.
    pub fn start(self) -> Result<Telemetry, TelemetryError> {
        self.start_in(Environment::read(|name| std::env::var(name).ok())?)
    }

    /// [Starts](Self::start), and makes the subscriber of the process one that sends spans, and logs to the
    /// standard error output what `RUST_LOG` asks for (by default level info and above).
    ///
    /// # Errors
    /// [`TelemetryError`]; also where there is a subscriber already.
    pub fn init(self) -> Result<Telemetry, TelemetryError> {
        let telemetry = self.start()?;
        let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
        let log = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_filter(filter.from_env_lossy());
        let subscriber = Registry::default().with(telemetry.layer()).with(log);
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|_| TelemetryError::Subscriber)?;
        Ok(telemetry)
    }

    fn start_in(self, said: Environment) -> Result<Telemetry, TelemetryError> {
        let Sampling { ratio, follows } =
            said.sampling.unwrap_or(Sampling { ratio: self.ratio, follows: true });
        if !(0.0..=1.0).contains(&ratio) {
            return Err(TelemetryError::Ratio(ratio));
        }
        let endpoint = match (said.endpoint, self.endpoint) {
            (Some(endpoint), _) => Some(endpoint),
            (None, url) => Endpoint::below(url.as_deref().unwrap_or(ENDPOINT)),
        };
        let endpoint = endpoint.ok_or(TelemetryError::Endpoint)?;
        let queue = said.queue.unwrap_or(self.pace.queue).max(1);
        let pace = Pace {
            queue,
            batch: said.batch.unwrap_or(self.pace.batch).clamp(1, queue),
            every: said.export_every.unwrap_or(self.pace.every),
            within: said.export_within.unwrap_or(self.pace.within),
        };
        let account = Arc::new(Account::new(pace.queue, endpoint.to_string()));
        let spans = self.spans;
        if said.is_disabled {
            return Ok(Telemetry { provider: None, account, spans });
        }
        let queue = Queue::new(&endpoint, &pace, account.clone())?;
        let attributes = self.attributes.into_iter().map(|(name, it)| KeyValue::new(name, it));
        let process = KeyValue::new("process.pid", i64::from(std::process::id()));
        let resource = Resource::builder().with_attribute(process).with_attributes(attributes);
        let resource = match said.names_service {
            true => resource,
            false => resource.with_service_name(self.service),
        };
        let sampler = match ratio {
            0.0 => Sampler::AlwaysOff,
            1.0 => Sampler::AlwaysOn,
            ratio => Sampler::TraceIdRatioBased(ratio),
        };
        let sampler = match follows {
            true => Sampler::ParentBased(Box::new(sampler)),
            false => sampler,
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler)
            .with_resource(resource.build())
            .build();
        Ok(Telemetry { provider: Some(provider), account, spans })
    }
}

impl fmt::Debug for TelemetryBuilder {
    /// Without the endpoint, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("service", &self.service)
            .field("attributes", &self.attributes)
            .field("ratio", &self.ratio)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let bad = |builder: TelemetryBuilder| builder.start_in(Environment::default()).unwrap_err();
        let builder = || Telemetry::builder("shop");
        assert!(matches!(bad(builder().endpoint("nowhere")), TelemetryError::Endpoint));
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(bad(builder().sample(ratio)), TelemetryError::Ratio(_)));
        }
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let said = Environment {
            endpoint: Endpoint::below("http://127.0.0.1:1"),
            sampling: Some(Sampling { ratio: 0.0, follows: true }),
            ..Environment::default()
        };
        let builder = Telemetry::builder("shop").endpoint("nowhere").sample(7.0);
        assert!(builder.start_in(said).unwrap().is_on());
        let off = Environment { is_disabled: true, ..Environment::default() };
        assert!(!Telemetry::builder("shop").start_in(off).unwrap().is_on());
    }
}
