use std::time::Duration;

use umbel_actors::Backoff;
use umbel_actors::supervision::Intensity;

/// How a runtime treats its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// How long a module may take to start: its children, one after the other, and its
    /// [`on_startup`](crate::Module::on_startup). Then it counts as not started. Default: 60 s.
    pub startup: Duration,
    /// How long a module's [`on_shutdown`](crate::Module::on_shutdown) may take; then it is cut off, and
    /// the module is stopped all the same. Default: 10 s.
    pub shutdown: Duration,
    /// How long a new instance may take to be healthy, and then to be found by callers, before an upgrade is
    /// rolled back. Default: 10 s each.
    pub healthy: Duration,
    /// How long the [`health`](crate::Module::health) of a module may take to answer. Default: 5 s.
    pub health: Duration,
    /// How long a module that is to stop may take to finish what it was given: requests of HTTP, of services,
    /// and events. Then it is stopped. Default: 30 s.
    pub drain: Duration,
    /// How long a handler may take for one event; then it counts as failed. Default: 30 s.
    pub event: Duration,
    /// How many restarts of its children a module bears, before it fails itself. Default: 3 in 5 s.
    pub intensity: Intensity,
    /// How many restarts of its modules the runtime bears, before it gives up. Default: 10 in 60 s.
    pub module_intensity: Intensity,
    /// How long a module that has failed waits to be started again. Default: exponential, from 200 ms to
    /// 5 s: what it needs may be away for a while, and the runtime bears half a minute of that.
    pub module_backoff: Backoff,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            startup: seconds(60),
            shutdown: seconds(10),
            healthy: seconds(10),
            health: seconds(5),
            drain: seconds(30),
            event: seconds(30),
            intensity: Intensity { restarts: 3, period: seconds(5) },
            module_intensity: Intensity { restarts: 10, period: seconds(60) },
            module_backoff: Backoff::exponential(Duration::from_millis(200), seconds(5)),
        }
    }
}

#[cfg(feature = "http")]
impl RuntimeOptions {
    /// How long a change of the modules may take that has begun.
    pub(crate) fn longest_change(&self) -> Duration {
        [self.startup, self.healthy, self.healthy, self.drain, self.shutdown, self.event]
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}
