//! Where the shop's processes log.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use umbel_telemetry::Telemetry;

/// Logs to standard error what `RUST_LOG` says (`warn`, unless it says something), and sends spans where
/// `telemetry` does.
pub(crate) fn to_standard_error(telemetry: Option<&Telemetry>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    tracing_subscriber::registry().with(log).with(telemetry.map(Telemetry::layer)).init();
}
