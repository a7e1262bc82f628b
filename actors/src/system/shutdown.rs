//! The ordered end of a system.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::ActorCell;
use tokio::time::{Instant, timeout_at};

use super::System;
use crate::signal::Signal;

/// What became of a system that was shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The actors and trees directly under the system's root that stopped when asked, all that is
    /// below them included.
    pub stopped: usize,
    /// Those that did not stop in time and were killed: actors as their addresses print, children
    /// of trees by their names from the tree down, joined by `/`.
    pub killed: Vec<String>,
    /// Those that were killed before it was their turn to be asked, as the time was up.
    pub unasked: usize,
    /// The signal that asked for it, if one did.
    pub signal: Option<Signal>,
}

impl ShutdownReport {
    /// Whether all have stopped by themselves.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.killed.is_empty() && self.unasked == 0
    }
}

impl fmt::Display for ShutdownReport {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stopped", self.stopped)?;
        if !self.killed.is_empty() {
            write!(f, "; killed, as they did not stop in time: {}", self.killed.join(", "))?;
        }
        if self.unasked > 0 {
            write!(f, "; {} killed before it was their turn", self.unasked)?;
        }
        Ok(())
    }
}

/// How long an actor without a supervisor has to stop when the system shuts down: OTP's default for
/// a worker.
pub const SHUTDOWN_PER_ACTOR: Duration = Duration::from_secs(5);

/// How long a killed actor is waited for, if it is busy without ever awaiting.
const KILL_TAKES: Duration = Duration::from_millis(200);

impl System {
    /// Stops every actor, the youngest first, and ends by `deadline`. An actor has
    /// [`SHUTDOWN_PER_ACTOR`] to stop, a supervision tree as long as there is; whoever is not done
    /// then is killed. Actors under a supervisor stop in its order. One after the other: where several
    /// may hang, choose a deadline of more than [`SHUTDOWN_PER_ACTOR`] for each.
    ///
    /// Once begun it goes on by itself: cancelling the wait, or calling it from an actor that is
    /// stopped along with all others, does no harm.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.inner.stopping.store(true, Ordering::Release);
        let work = self.clone().stop_all(Instant::now() + deadline);
        tokio::spawn(work).await.unwrap_or_default()
    }

    /// Waits for [`Signal::next`], and then shuts down within `deadline`; at a second signal it does
    /// not wait any longer, and kills. Ends too when the system is shut down otherwise.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use umbel_actors::System;
    ///
    /// let system = System::new("orders");
    /// // ... start what there is to run ...
    /// let report = system.shutdown_on_signal(Duration::from_secs(10)).await?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled; nothing is stopped then.
    pub async fn shutdown_on_signal(&self, deadline: Duration) -> io::Result<ShutdownReport> {
        let signal = tokio::select! {
            signal = Signal::next() => signal?,
            () = self.stopped() => return Ok(ShutdownReport::default()),
        };
        tracing::info!(target: "umbel", system = self.name(), %signal, ?deadline, "shutting down");
        let report = tokio::select! {
            biased;
            report = self.shutdown(deadline) => report,
            _ = Signal::next() => self.shutdown(Duration::ZERO).await,
        };
        Ok(ShutdownReport { signal: Some(signal), ..report })
    }

    async fn stop_all(self, end: Instant) -> ShutdownReport {
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
                killed.insert(child.get_id());
                self.stop_child(child, end, &mut report).await;
            }
        }
        self.inner.root.stop(None);
        let _ = self.inner.root.wait(None).await;
        self.inner.stopped.send_replace(true);
        report
    }

    async fn stop_child(&self, child: ActorCell, end: Instant, report: &mut ShutdownReport) {
        let id = child.get_id();
        let tree = {
            let trees = self.inner.supervisors.lock();
            trees.iter().find(|tree| tree.cell().get_id() == id).cloned()
        };
        if let Some(tree) = tree {
            let stopped = tree.stop_within(end.saturating_duration_since(Instant::now())).await;
            report.stopped += usize::from(stopped.is_clean());
            report.killed.extend(stopped.overdue.iter().map(ToString::to_string));
            report.unasked += stopped.unasked;
            return;
        }
        let (name, in_turn) = (self.name_of(id), Instant::now() < end);
        child.stop(None);
        if timeout_at(end.min(Instant::now() + SHUTDOWN_PER_ACTOR), child.wait(None)).await.is_ok()
        {
            report.stopped += 1;
            return;
        }
        if in_turn {
            report.killed.push(name);
        } else {
            report.unasked += 1;
        }
        child.kill();
        // A kill takes effect at the actor's next await, which may never come.
        let _ = child.wait(Some(KILL_TAKES)).await;
    }

    fn name_of(&self, actor: ractor::ActorId) -> String {
        let living = self.inner.living.lock();
        let found = living.iter().find(|(_, (incarnation, _))| *incarnation == actor);
        found.map_or_else(|| actor.to_string(), |(id, (_, label))| format!("{label}/{id}"))
    }

    /// Notes how to call an actor that did not stop in time.
    pub(crate) fn note_living(&self, id: u64, incarnation: ractor::ActorId, label: &Arc<str>) {
        self.inner.living.lock().insert(id, (incarnation, label.clone()));
    }

    /// Whether it has been told to shut down: nothing is started in it any more.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Acquire)
    }

    /// Ends when the system has been shut down.
    pub async fn stopped(&self) {
        let mut stopped = self.inner.stopped.subscribe();
        // The sender lives in `self`.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}
