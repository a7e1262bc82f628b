//! What a person sees of a run.

use std::io::{self, Write};
use std::time::Duration;

/// Tells what happens as it happens, on the standard output; or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) is_silent: bool,
}

impl Screen {
    /// # Errors
    /// Where nobody reads any more.
    pub(super) fn say(&self, now: Duration, what: &str) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{:>9.3}s {what}", now.as_secs_f64())
    }
}
