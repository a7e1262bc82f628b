use std::time::Duration;

/// How a runtime treats its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// How long a module's [`on_startup`](crate::Module::on_startup) may take; then the module counts as
    /// not started. Default: 60 s.
    pub startup: Duration,
    /// How long a module's [`on_shutdown`](crate::Module::on_shutdown) may take; then it is cut off, and
    /// the module is stopped all the same. Default: 10 s.
    pub shutdown: Duration,
    /// How long a new instance may take to be healthy, before an upgrade is rolled back. Default: 10 s.
    pub healthy: Duration,
    /// How long the [`health`](crate::Module::health) of a module may take to answer. Default: 5 s.
    pub health: Duration,
    /// How long an old instance may take to finish what it was given, before it is stopped. Default: 30 s.
    pub drain: Duration,
    /// How long a handler may take for one event; then it counts as failed. Default: 30 s.
    pub event: Duration,
    /// How many restarts within how long are borne: of a module's children before the module fails, and of
    /// modules before the runtime gives up. Default: 3 in 5 s.
    pub intensity: (u32, Duration),
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            startup: Duration::from_secs(60),
            shutdown: Duration::from_secs(10),
            healthy: Duration::from_secs(10),
            health: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            event: Duration::from_secs(30),
            intensity: (3, Duration::from_secs(5)),
        }
    }
}
