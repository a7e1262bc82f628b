//! Counts and logs who was not let in, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a cause stays unsaid once it was said.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts each refusal, and logs one for each cause and period: whoever knocks a thousand times a
/// second fills no disk.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    causes: Mutex<BTreeMap<&'static str, Cause>>,
}

#[derive(Debug)]
struct Cause {
    total: u64,
    unsaid: u64,
    said: Instant,
}

impl Refusals {
    /// Notes one.
    pub(crate) fn note(&self, cause: &'static str, why: &dyn fmt::Display) {
        metrics::counter!("umbel_refusals_total", "cause" => cause).increment(1);
        let now = Instant::now();
        let unsaid = {
            let mut causes = self.causes.lock();
            match causes.get_mut(cause) {
                Some(known) if now.duration_since(known.said) < PERIOD => {
                    known.total += 1;
                    known.unsaid += 1;
                    return;
                }
                Some(known) => {
                    known.total += 1;
                    known.said = now;
                    std::mem::take(&mut known.unsaid)
                }
                None => {
                    causes.insert(cause, Cause { total: 1, unsaid: 0, said: now });
                    0
                }
            }
        };
        tracing::warn!(target: "umbel", cause, unsaid, "refused: {why}");
    }

    /// How many there were of each cause.
    pub(crate) fn totals(&self) -> BTreeMap<&'static str, u64> {
        self.causes.lock().iter().map(|(cause, known)| (*cause, known.total)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_said_is_counted_and_said_with_the_next() {
        let refusals = Refusals::default();
        let unsaid = |cause| refusals.causes.lock().get(cause).map(|known| known.unsaid);
        for _ in 0..1000 {
            refusals.note("busy", &"no room");
        }
        refusals.note("silent", &"nothing said");
        assert_eq!((unsaid("busy"), unsaid("silent")), (Some(999), Some(0)));
        tokio::time::advance(PERIOD).await;
        refusals.note("busy", &"no room");
        assert_eq!(unsaid("busy"), Some(0));
        assert_eq!(refusals.totals(), BTreeMap::from([("busy", 1001), ("silent", 1)]));
    }
}
