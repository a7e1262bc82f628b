//! How fast requests are executed, and which of them come in time.

use std::time::Duration;

/// How much a new time counts in the mean: an eighth, as in TCP's estimate of a round trip
/// (RFC 6298).
const WEIGHT: u32 = 8;

/// How much longer than on average its wait may take, for one to be let in: those that are let in and
/// come too late after all are work for nothing, and under overload all are close to it. A wait is
/// seldom shorter than was thought: what workers have in hands is not in it.
const MARGIN: f64 = 2.0;

/// How long a request takes a worker, on average, of late; method by method.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Vec<Option<Duration>>);

impl Pace {
    pub(crate) fn new(methods: usize) -> Self {
        Self(vec![None; methods])
    }

    /// A request took a worker so long.
    pub(crate) fn took(&mut self, method: usize, time: Duration) {
        self.0[method] = Some(match self.0[method] {
            None => time,
            Some(mean) => mean - mean / WEIGHT + time / WEIGHT,
        });
    }

    /// Whether one that comes behind so many others of each method is likely done within `remaining`.
    ///
    /// Without this, a queue that is longer than callers wait serves only those who have just given
    /// up: under overload nothing would come of all the work. The first in line is let in whatever
    /// the mean says, so that a mean that has become too long is corrected.
    pub(crate) fn is_in_time(
        &self,
        method: usize,
        waiting: impl IntoIterator<Item = usize>,
        workers: usize,
        remaining: Duration,
    ) -> bool {
        let mean = |method: usize| self.0[method].unwrap_or_default().as_secs_f64();
        let waiting = waiting.into_iter().enumerate();
        let work: f64 = waiting.map(|(method, count)| count as f64 * mean(method)).sum();
        let wait = work / workers.max(1) as f64;
        work == 0.0 || wait * MARGIN + mean(method) <= remaining.as_secs_f64()
    }

    /// Whether one that is next in line, with others behind it, had better make way for them: it would
    /// not be done within `remaining`.
    pub(crate) fn is_too_late(&self, method: usize, remaining: Duration) -> bool {
        self.0[method].is_some_and(|mean| mean > remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn all_are_let_in_until_something_is_known() {
        let pace = Pace::new(1);
        assert!(pace.is_in_time(0, [10_000], 1, Duration::ZERO));
        assert!(!pace.is_too_late(0, Duration::ZERO));
    }

    #[test]
    fn who_cannot_be_served_in_time_is_kept_out() {
        let mut pace = Pace::new(1);
        pace.took(0, SECOND);
        assert!(pace.is_in_time(0, [20], 10, 5 * SECOND));
        assert!(!pace.is_in_time(0, [21], 10, 5 * SECOND));
        assert!(pace.is_too_late(0, SECOND / 2) && !pace.is_too_late(0, SECOND));
    }

    #[test]
    fn each_method_has_its_own_pace() {
        let mut pace = Pace::new(2);
        pace.took(0, 10 * SECOND);
        pace.took(1, SECOND / 1_000);
        assert!(pace.is_in_time(1, [0, 999], 1, 2 * SECOND), "the slow one is not there: 1.999 s");
        assert!(!pace.is_in_time(1, [1, 0], 1, 2 * SECOND), "it is before it");
        assert!(!pace.is_in_time(0, [0, 1], 1, 2 * SECOND), "it is the slow one itself");
    }

    #[test]
    fn an_empty_queue_lets_in_whoever_comes() {
        let mut pace = Pace::new(1);
        pace.took(0, 3600 * SECOND);
        assert!(pace.is_in_time(0, [0], 1, SECOND));
    }

    #[test]
    fn the_mean_follows_what_is_measured() {
        let mut pace = Pace::new(1);
        pace.took(0, 100 * SECOND);
        for _ in 0..50 {
            pace.took(0, SECOND);
        }
        assert!(pace.is_in_time(0, [5], 10, 3 * SECOND), "{pace:?}");
    }
}
