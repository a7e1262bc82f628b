//! The wall clock, handed in.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a [`System`](crate::System) reads the wall clock, so that a simulation can have its own.
///
/// Timers do not use it: they run on tokio's clock, which can be paused.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time since 1970-01-01 00:00 UTC; zero where the clock stands before that.
    fn now(&self) -> Duration;
}

/// The operating system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the wall clock is read"
    )]
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
