//! What becomes of spans on their way to the collector.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is logged at most that spans are lost.
pub const TELL_EVERY: Duration = Duration::from_secs(60);

/// What has become of the spans that were recorded, in numbers: since telemetry was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetryFigures {
    /// Those that the collector has taken.
    pub exported: u64,
    /// Those that it was sent and has not taken, or cannot have.
    pub failed: u64,
    /// Those that found the queue full.
    pub dropped: u64,
    /// Those that wait.
    pub waiting: u64,
}

impl fmt::Display for TelemetryFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exported, failed, dropped, waiting } = self;
        write!(f, "{exported} exported, {failed} failed, {dropped} dropped, {waiting} waiting")
    }
}

/// Counts the spans on their way, and keeps their queue to its bound.
#[derive(Debug)]
pub(crate) struct Account {
    queue: usize,
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    told: Mutex<Told>,
    endpoint: String,
}

/// What was last logged.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    failed: u64,
    dropped: u64,
    /// Whether the last export failed, and that was logged.
    is_lost: bool,
}

impl Account {
    pub(crate) fn new(queue: usize, endpoint: String) -> Self {
        let (waiting, zero) = (AtomicUsize::new(0), AtomicU64::default);
        let (exported, failed, dropped, told) = (zero(), zero(), zero(), Mutex::default());
        Self { queue, waiting, exported, failed, dropped, told, endpoint }
    }

    /// A span comes. Whether there is room for it: if not, it is lost.
    pub(crate) fn enter(&self) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.queue {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        count("dropped", 1);
        false
    }

    /// So many are about to be sent.
    pub(crate) fn leave(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }

    /// So many have been sent. What is lost is logged here, on the exporter's thread, and not where a
    /// span ends.
    pub(crate) fn sent(&self, spans: usize, outcome: &OTelSdkResult) {
        let spans = spans as u64;
        match outcome {
            Ok(()) => {
                self.exported.fetch_add(spans, Ordering::Relaxed);
                count("exported", spans);
            }
            Err(_) => {
                self.failed.fetch_add(spans, Ordering::Relaxed);
                count("failed", spans);
            }
        }
        self.tell(outcome);
    }

    fn tell(&self, outcome: &OTelSdkResult) {
        let (endpoint, figures, now) = (&self.endpoint, self.figures(), Instant::now());
        let mut told = self.told.lock();
        let (failed, dropped) = (figures.failed - told.failed, figures.dropped - told.dropped);
        if failed == 0 && dropped == 0 {
            if std::mem::take(&mut told.is_lost) {
                tracing::info!(target: "umbel::telemetry", endpoint, "spans are taken again");
            }
            return;
        }
        if told.at.is_some_and(|at| now.duration_since(at) < TELL_EVERY) {
            return;
        }
        let is_lost = outcome.is_err();
        *told = Told { at: Some(now), failed: figures.failed, dropped: figures.dropped, is_lost };
        drop(told);
        let why = outcome.as_ref().err().map(tracing::field::display);
        tracing::warn!(
            target: "umbel::telemetry", endpoint, failed, dropped, why,
            "spans were lost; this is told once in {TELL_EVERY:?} at most"
        );
    }

    pub(crate) fn figures(&self) -> TelemetryFigures {
        TelemetryFigures {
            exported: self.exported.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
        }
    }
}

fn count(outcome: &'static str, spans: u64) {
    metrics::counter!("umbel_telemetry_spans_total", "outcome" => outcome).increment(spans);
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn who_finds_the_queue_full_is_counted_and_lost() {
        let account = Account::new(2, "here".into());
        assert_eq!([account.enter(), account.enter(), account.enter()], [true, true, false]);
        account.leave(2);
        account.sent(2, &Ok(()));
        assert!(account.enter());
        let figures = TelemetryFigures { exported: 2, failed: 0, dropped: 1, waiting: 1 };
        assert_eq!(account.figures(), figures);
        assert_eq!(figures.to_string(), "2 exported, 0 failed, 1 dropped, 1 waiting");
        account.leave(1);
        account.sent(1, &Err(OTelSdkError::AlreadyShutdown));
        assert_eq!(account.figures().failed, 1);
    }
}
