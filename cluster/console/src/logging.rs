//! What is logged, and where to.

use std::io;

use tracing_subscriber::EnvFilter;

/// Logs to standard error, from `RUST_LOG` on, or else from `otherwise` on. In colours where that is a
/// terminal that has them, unless `NO_COLOR` is set.
pub(crate) fn start(otherwise: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise));
    // Fails where a subscriber is set already, which then goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .try_init();
}
