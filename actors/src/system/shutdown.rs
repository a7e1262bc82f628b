//! The ordered end of a system.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::System;

/// What became of a system that was shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The actors that stopped by themselves when asked.
    pub stopped: usize,
    /// The ractor ids of those that did not stop in time and were killed.
    pub killed: Vec<String>,
}

/// How long an actor without a supervisor has to stop when the system shuts down: OTP's default for
/// a worker.
pub const SHUTDOWN_PER_ACTOR: Duration = Duration::from_secs(5);

/// How long a killed actor is waited for, if it is busy without ever awaiting.
const KILL_TAKES: Duration = Duration::from_millis(200);

impl System {
    /// Stops every actor, the youngest first, and ends by `deadline`. An actor has
    /// [`SHUTDOWN_PER_ACTOR`] to stop, a supervision tree as long as there is; whoever is not done
    /// then is killed. Actors under a supervisor stop in its order.
    ///
    /// Once begun it goes on by itself: cancelling the wait, or calling it from an actor that is
    /// stopped along with all others, does no harm.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.inner.stopping.store(true, Ordering::Release);
        let end = tokio::time::Instant::now() + deadline;
        let work = self.clone().stop_all(end);
        tokio::spawn(work).await.unwrap_or_default()
    }

    async fn stop_all(self, end: tokio::time::Instant) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        let mut killed = BTreeSet::new();
        loop {
            // A child may have been on its way when the flag was set: look until none is left.
            let mut children = self.inner.root.get_children();
            children.retain(|child| !killed.contains(&child.get_id()));
            if children.is_empty() {
                break;
            }
            children.sort_by_key(|child| std::cmp::Reverse(child.get_id()));
            for child in children {
                let is_supervisor =
                    self.inner.supervisors.lock().iter().any(|one| one.get_id() == child.get_id());
                let patience = tokio::time::Instant::now() + SHUTDOWN_PER_ACTOR;
                let until = if is_supervisor { end } else { end.min(patience) };
                child.stop(None);
                if tokio::time::timeout_at(until, child.wait(None)).await.is_ok() {
                    report.stopped += 1;
                } else {
                    report.killed.push(child.get_id().to_string());
                    killed.insert(child.get_id());
                    child.kill();
                    // A kill takes effect at the actor's next await, which may never come.
                    let _ = child.wait(Some(KILL_TAKES)).await;
                }
            }
        }
        self.inner.root.stop(None);
        let _ = self.inner.root.wait(None).await;
        self.inner.stopped.send_replace(true);
        report
    }

    /// Ends when the system has been shut down.
    pub async fn stopped(&self) {
        let mut stopped = self.inner.stopped.subscribe();
        // The sender lives in `self`.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}
