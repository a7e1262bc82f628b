//! How fast requests are executed, and which of them come in time.

use std::time::Duration;

/// How much a new time counts in the mean: an eighth, as in TCP's estimate of a round trip
/// (RFC 6298).
const WEIGHT: u32 = 8;

/// How long a request takes a worker, on average, of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace(Option<Duration>);

impl Pace {
    /// A request took a worker so long.
    pub(crate) fn took(&mut self, time: Duration) {
        self.0 = Some(match self.0 {
            None => time,
            Some(mean) => mean - mean / WEIGHT + time / WEIGHT,
        });
    }

    /// Whether one that comes behind `waiting` others is likely done within `remaining`.
    ///
    /// Without this, a queue that is longer than callers wait serves only those who have just given
    /// up: under overload nothing would come of all the work. The first in line is let in whatever
    /// the mean says, so that a mean that has become too long is corrected.
    pub(crate) fn is_in_time(&self, waiting: usize, workers: usize, remaining: Duration) -> bool {
        let (Some(mean), 1..) = (self.0, waiting) else { return true };
        let rounds = waiting as f64 / workers.max(1) as f64 + 1.0;
        mean.as_secs_f64() * rounds <= remaining.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn all_are_let_in_until_something_is_known() {
        assert!(Pace::default().is_in_time(10_000, 1, Duration::ZERO));
    }

    #[test]
    fn who_cannot_be_served_in_time_is_kept_out() {
        let mut pace = Pace::default();
        pace.took(SECOND);
        assert!(pace.is_in_time(20, 10, 3 * SECOND));
        assert!(!pace.is_in_time(21, 10, 3 * SECOND));
    }

    #[test]
    fn an_empty_queue_lets_in_whoever_comes() {
        let mut pace = Pace::default();
        pace.took(3600 * SECOND);
        assert!(pace.is_in_time(0, 1, SECOND));
    }

    #[test]
    fn the_mean_follows_what_is_measured() {
        let mut pace = Pace::default();
        pace.took(100 * SECOND);
        for _ in 0..50 {
            pace.took(SECOND);
        }
        assert!(pace.is_in_time(9, 10, 3 * SECOND), "{pace:?}");
    }
}
