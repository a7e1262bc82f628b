//! How far a run has come, for whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// So long may one machine work on one millisecond of the world's time: a minute of real time, which is a
/// hundred thousand times what a busy one takes.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How far a run has come: at which millisecond, and at which machine. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// A machine begins to work on a millisecond.
    pub(crate) fn begins(&self, at: Duration, machine: usize) {
        let come = (at.as_millis() as u64) << 8 | machine as u64;
        self.0.store(come, Ordering::Relaxed);
    }

    /// Waits until the thread of a run has ended; it holds the other end of `ends`.
    ///
    /// # Panics
    /// Where the run has, and where it does not come further: code that never yields cannot be interrupted.
    pub(crate) fn wait<T>(&self, thread: JoinHandle<T>, ends: &Receiver<()>) -> T {
        self.wait_patiently(thread, ends, STUCK_AFTER)
    }

    fn wait_patiently<T>(
        &self,
        thread: JoinHandle<T>,
        ends: &Receiver<()>,
        patience: Duration,
    ) -> T {
        let mut last = None;
        while ends.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let come = self.0.load(Ordering::Relaxed);
            assert!(
                last != Some(come),
                "machine {} has not yielded for {patience:?} at {:.3} s of the world's time: is there a \
                 loop without an await, or something that blocks its thread? (That thread goes on.)",
                come & 0xff,
                (come >> 8) as f64 / 1000.0
            );
            last = Some(come);
        }
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_run_that_ends_is_waited_for() {
        let (end, ends) = channel();
        let thread = std::thread::spawn(move || {
            let _end = end;
            7
        });
        assert_eq!(Progress::default().wait(thread, &ends), 7);
    }

    #[test]
    fn a_run_that_comes_no_further_is_told_with_the_machine_that_does_not_yield() {
        let (progress, (end, ends), (go_on, goes_on)) =
            (Progress::default(), channel(), channel::<()>());
        progress.begins(Duration::from_millis(1_500), 2);
        let thread = std::thread::spawn(move || {
            let _end = end;
            let _ = goes_on.recv();
        });
        let waited = AssertUnwindSafe(|| {
            progress.wait_patiently(thread, &ends, Duration::from_millis(5));
        });
        let panic = catch_unwind(waited).expect_err("it comes no further");
        let said = panic.downcast_ref::<String>().expect("it has a text");
        assert!(said.contains("machine 2") && said.contains("1.500 s"), "{said}");
        drop(go_on);
    }
}
