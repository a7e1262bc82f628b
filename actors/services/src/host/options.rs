//! How a service is run.

use std::time::Duration;

use crate::chain::Chain;

/// How a service is run. Bounds that are zero count as one.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How many requests are executed at once; a batch counts as one. Default: 10.
    pub workers: usize,
    /// How many requests wait at most; one more is answered [`Busy`](crate::CallError::Busy).
    /// Default: 10,000.
    pub queue: usize,
    /// How many bytes those may have that wait and came from other nodes; where others wait, one that
    /// would be too much is answered [`Busy`](crate::CallError::Busy). Default: 64 MiB.
    pub queue_bytes: usize,
    /// How long one waits at most; after that it is answered [`Expired`](crate::CallError::Expired).
    /// Default: 30 s.
    pub queue_wait: Duration,
    /// The deadline of requests whose caller has said none. Default: 30 s.
    pub deadline: Duration,
    /// How long the outcome of a request that may come again is remembered, so that it is not
    /// executed once more. Default: 60 s, twice the deadline.
    pub remember: Duration,
    /// How many outcomes are remembered at most; the oldest is forgotten first. Default: 10,000.
    pub remembered: usize,
    /// How often within [`HostOptions::restart_period`] the service is started again at most, before
    /// it is given up. Default: 3.
    pub max_restarts: u32,
    /// Default: 5 minutes, which is more than it takes to find out so often that a service is not
    /// well.
    pub restart_period: Duration,
    /// How often [`Service::health`](crate::Service::health) is asked, after the first time at the start.
    /// Default: 5 s.
    pub health_interval: Duration,
    /// How long it may take to answer; a start waits for the first answer. Default: 1 s.
    pub health_timeout: Duration,
    /// After how many bad answers in a row the service is ended and started anew. After the first it
    /// is given no more work where there are others. Default: 3.
    pub health_failures: u32,
    /// How long requests that were taken in may go on when the service is stopped. Default: 5 s.
    pub drain: Duration,
    /// What each request goes through before it is executed.
    pub middleware: Chain,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            workers: 10,
            queue: 10_000,
            queue_bytes: 64 << 20,
            queue_wait: Duration::from_secs(30),
            deadline: Duration::from_secs(30),
            remember: Duration::from_secs(60),
            remembered: 10_000,
            max_restarts: 3,
            restart_period: Duration::from_secs(300),
            health_interval: Duration::from_secs(5),
            health_timeout: Duration::from_secs(1),
            health_failures: 3,
            drain: Duration::from_secs(5),
            middleware: Chain::new(),
        }
    }
}

impl HostOptions {
    /// The same, without zeros where there must be one at least.
    pub(crate) fn sane(mut self) -> Self {
        let some = |span: &mut Duration| *span = (*span).max(Duration::from_millis(1));
        self.workers = self.workers.max(1);
        self.queue = self.queue.max(1);
        self.health_failures = self.health_failures.max(1);
        some(&mut self.health_interval);
        some(&mut self.health_timeout);
        self
    }
}
