//! What is logged, and where to.

use std::env;
use std::io;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Logs to standard error, from `RUST_LOG` on, or else from `otherwise` on. In colours where that is a
/// terminal that has them, unless `NO_COLOR` is set.
///
/// # Errors
/// Where `RUST_LOG` cannot be understood.
pub(crate) fn start(otherwise: &str) -> Result<(), Failure> {
    let filter = match env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|why| {
            let advice = "write error, warn, info, debug or trace, or umbel=debug, say";
            Failure::new(format!("RUST_LOG is {filter:?}: {why}"), advice)
        })?,
        _ => EnvFilter::new(otherwise),
    };
    // Fails where a subscriber is set already, which then goes on.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .try_init();
    Ok(())
}
