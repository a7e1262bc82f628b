//! How a service does, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The longest response time that is told apart from longer ones.
const RESPONSE_MAX: Duration = Duration::from_secs(3600);

/// How a service does, in numbers: over all its lives, since its host was started.
///
/// Each request counts once: `requests` is the sum of `answered`, of all `errors`, of `repeats`, and
/// of those that are `waiting` and `running`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The service.
    pub service: String,
    /// Requests that came, whatever became of them.
    pub requests: u64,
    /// Those that were answered by what the method returned.
    pub answered: u64,
    /// Those that were not, by [kind](crate::CallError::kind); those that their callers gave up are
    /// `cancelled`.
    pub errors: BTreeMap<String, u64>,
    /// Those that came again, and were told what came of the first.
    pub repeats: u64,
    /// Those that wait for a worker.
    pub waiting: u64,
    /// Those that workers have in hands.
    pub running: u64,
    /// How many workers there are.
    pub workers: u64,
    /// How often the service was started again.
    pub restarts: u64,
    /// How long requests took, from their arrival to their end, those that were never begun aside.
    pub response_times: ResponseTimes,
    /// When the last request came or ended, since 1970-01-01 00:00 UTC; by the wall clock when its host
    /// was started, and by tokio's since.
    pub last_activity: Option<Duration>,
}

/// How long requests took, in microseconds; quantiles are right within one in a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseTimes {
    /// How many there were.
    pub count: u64,
    /// The sum of all.
    pub total_us: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// Of a hundred, one took longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Figures {
    /// All requests that were not answered.
    #[must_use]
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What waits and runs, by the number of workers: beyond 1, requests wait.
    #[must_use]
    pub fn load(&self) -> f64 {
        (self.waiting + self.running) as f64 / self.workers.max(1) as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, requests, waiting, running, response_times, .. } = self;
        write!(
            f,
            "{service}: {requests} requests, {} errors, {waiting} waiting, {running} running, p50 {} µs, \
             p99 {} µs",
            self.errors_total(),
            response_times.p50_us,
            response_times.p99_us,
        )
    }
}

/// The figures in the making.
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) repeats: u64,
    pub(crate) starts: u64,
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    answered: u64,
    errors: BTreeMap<&'static str, u64>,
    total_us: u64,
    max_us: u64,
    times: Histogram<u64>,
    pub(crate) last_activity: Option<Instant>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let max = RESPONSE_MAX.as_micros() as u64;
        Self {
            requests: 0,
            repeats: 0,
            starts: 0,
            waiting: 0,
            running: 0,
            answered: 0,
            errors: BTreeMap::new(),
            total_us: 0,
            max_us: 0,
            times: Histogram::new_with_bounds(1, max, 2).expect("these bounds are valid"),
            last_activity: None,
        }
    }

    /// A request has ended, so long after it came if it was begun; `error` is its kind.
    pub(crate) fn ended(&mut self, took: Option<Duration>, error: Option<&'static str>) {
        match error {
            None => self.answered += 1,
            Some(kind) => *self.errors.entry(kind).or_default() += 1,
        }
        if let Some(took) = took {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.total_us = self.total_us.saturating_add(micros);
            self.max_us = self.max_us.max(micros);
            self.times.saturating_record(micros);
        }
    }

    /// `epoch` is one moment by the wall clock and by tokio's: the wall clock is not read for each
    /// request.
    pub(crate) fn figures(
        &self,
        service: &str,
        workers: usize,
        epoch: (Duration, Instant),
    ) -> Figures {
        let quantile = |quantile| {
            // A bucket is told by its upper end, which may be more than there was.
            if self.times.is_empty() { 0 } else { self.times.value_at_quantile(quantile) }
                .min(self.max_us)
        };
        Figures {
            service: service.to_owned(),
            requests: self.requests,
            answered: self.answered,
            errors: self.errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            repeats: self.repeats,
            waiting: self.waiting,
            running: self.running,
            workers: workers as u64,
            restarts: self.starts.saturating_sub(1),
            response_times: ResponseTimes {
                count: self.times.len(),
                total_us: self.total_us,
                p50_us: quantile(0.5),
                p99_us: quantile(0.99),
                max_us: self.max_us,
            },
            last_activity: self.last_activity.map(|last| epoch.0 + (last - epoch.1)),
        }
    }
}
