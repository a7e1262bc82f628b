//! Why traces are not sent.

use std::time::Duration;

use thiserror::Error;

/// Why telemetry was not started. Nothing is left of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A variable of the environment says something that cannot be.
    #[error("{name}: expected {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it may say.
        expected: &'static str,
    },
    /// The collector's URL is none.
    #[error("the endpoint is no URL such as http://127.0.0.1:4318")]
    Endpoint,
    /// The share of traces is not from 0 to 1.
    #[error("the share of traces to record is {0}: it goes from 0 to 1")]
    Ratio(f64),
    /// The exporter was not made: the operating system has no thread left, or its certificates cannot be
    /// read, or a variable of the environment asks for what this build cannot do.
    #[error("spans cannot be exported: {why}")]
    Exporter {
        /// Why.
        why: String,
    },
    /// There is a subscriber for the process already: add [`Telemetry::layer`](crate::Telemetry::layer)
    /// to that.
    #[error("the process has a tracing subscriber already: add the layer to that one")]
    Subscriber,
}

/// Why not all spans were sent in the end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The collector was too slow. What was not sent is lost.
    #[error("the last spans were not sent within {within:?}")]
    TimedOut {
        /// How long it was waited for.
        within: Duration,
    },
    /// The collector did not take them.
    #[error("the collector has not taken the last {spans} spans")]
    Lost {
        /// How many.
        spans: u64,
    },
    /// They were not sent for another reason.
    #[error("the last spans were not sent: {why}")]
    Failed {
        /// Why.
        why: String,
    },
}
