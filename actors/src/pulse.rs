//! Whether an actor gets on with its work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use tokio::time::sleep;

/// How soon one who asks looks again, and how much later at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Counts the hooks of one incarnation that have begun and ended: odd while one runs.
///
/// Only the actor writes it, with two plain stores for each message. An actor between two hooks
/// takes whatever comes next, so nothing need be sent to it to know that it would answer; one in the
/// same hook as before does not.
#[derive(Debug, Default)]
pub(crate) struct Pulse(CachePadded<AtomicU64>);

impl Pulse {
    /// A hook begins.
    #[inline]
    pub(crate) fn begin(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
    }

    /// A hook has ended.
    #[inline]
    pub(crate) fn end(&self) {
        self.0.store((self.0.load(Ordering::Relaxed) | 1).wrapping_add(1), Ordering::Relaxed);
    }

    /// Ends when the hook that runs now, if one does, has ended.
    pub(crate) async fn beat(&self) {
        let now = self.0.load(Ordering::Relaxed);
        let (mut wait, longest) = LOOK_AGAIN;
        while now % 2 == 1 && self.0.load(Ordering::Relaxed) == now {
            sleep(wait).await;
            wait = longest.min(2 * wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_actor_between_two_hooks_answers_at_once() {
        let (pulse, begun) = (Pulse::default(), Instant::now());
        pulse.beat().await;
        pulse.begin();
        pulse.end();
        pulse.beat().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_a_hook_answers_when_that_has_ended_though_the_next_has_begun() {
        let pulse = Arc::new(Pulse::default());
        pulse.begin();
        let asked = {
            let pulse = pulse.clone();
            tokio::spawn(async move { pulse.beat().await })
        };
        sleep(Duration::from_secs(3600)).await;
        assert!(!asked.is_finished());
        pulse.end();
        pulse.begin();
        timeout(LOOK_AGAIN.1, asked).await.unwrap().unwrap();
    }
}
