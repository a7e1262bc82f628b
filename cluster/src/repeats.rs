//! What was said of late, so that it is not said again and again.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// How many causes are remembered at most. Those whose period is over make room; while there is none,
/// a new cause is not said.
const CAUSES_MAX: usize = 1024;

/// Says each cause once a period: whoever knocks a thousand times a second fills no disk.
#[derive(Debug)]
pub(crate) struct Repeats<K> {
    period: Duration,
    said: BTreeMap<K, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    unsaid: u64,
}

impl<K: Ord> Repeats<K> {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, said: BTreeMap::new() }
    }

    /// It has happened: `Some` where it is to be said, with how often it happened unsaid before, if it
    /// did.
    pub(crate) fn note(&mut self, cause: K, now: Instant) -> Option<Option<NonZeroU64>> {
        let period = self.period;
        let is_over = |said: &Said| now.duration_since(said.at) >= period;
        if let Some(said) = self.said.get_mut(&cause) {
            if !is_over(said) {
                said.unsaid += 1;
                return None;
            }
            said.at = now;
            return Some(NonZeroU64::new(std::mem::take(&mut said.unsaid)));
        }
        if self.said.len() >= CAUSES_MAX {
            self.said.retain(|_, said| !is_over(said));
            if self.said.len() >= CAUSES_MAX {
                return None;
            }
        }
        self.said.insert(cause, Said { at: now, unsaid: 0 });
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_a_period_and_counted_meanwhile() {
        let (period, began) = (Duration::from_secs(10), Instant::now());
        let mut repeats = Repeats::new(period);
        assert_eq!(repeats.note("a", began), Some(None));
        assert_eq!(repeats.note("a", began), None);
        assert_eq!(repeats.note("b", began), Some(None), "another cause has a period of its own");
        assert_eq!(repeats.note("a", began + period / 2), None);
        assert_eq!(repeats.note("a", began + period), Some(NonZeroU64::new(2)));
        assert_eq!(repeats.note("a", began + period * 3), Some(None));
    }

    #[test]
    fn as_many_causes_are_remembered_as_the_bound_allows_and_no_more() {
        let (period, began) = (Duration::from_secs(10), Instant::now());
        let mut repeats = Repeats::new(period);
        for cause in 0..CAUSES_MAX {
            assert_eq!(repeats.note(cause, began), Some(None));
        }
        assert_eq!(repeats.note(CAUSES_MAX, began), None);
        assert_eq!(repeats.note(CAUSES_MAX, began + period), Some(None), "the old make room");
        assert_eq!(repeats.said.len(), 1);
    }
}
