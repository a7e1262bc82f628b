use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// How long a supervisor waits before it starts a failed child again.
///
/// OTP has no such wait: its supervisors restart at once and give up when the intensity is
/// exceeded. Every restart counts towards the intensity at the moment of the failure, waited for
/// or not, so a back-off does not weaken it.
///
/// It is for restarts. A child that does not come up when its supervisor *starts* stops the whole
/// start, as in OTP: an actor whose dependency may be away at that time connects after `pre_start`.
///
/// ```
/// use std::time::Duration;
/// use umbel_supervision::Backoff;
///
/// // up to 0.1 s, 0.2 s, 0.4 s ... never more than 10 s; forgotten after a minute of good life
/// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10))
///     .reset_after(Duration::from_secs(60));
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    curve: Curve,
    reset_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Curve {
    #[default]
    None,
    Constant(Duration),
    Exponential {
        min: Duration,
        max: Duration,
    },
}

impl Backoff {
    /// No wait: the child is started again at once. The default, and what OTP does.
    pub const fn none() -> Self {
        Self { curve: Curve::None, reset_after: None }
    }

    /// The same wait each time.
    pub const fn constant(wait: Duration) -> Self {
        Self { curve: Curve::Constant(wait), reset_after: None }
    }

    /// Exponential with full jitter: the n-th wait in a row is drawn evenly from zero to
    /// `min * 2^(n-1)`, or to `max` where that is less.
    ///
    /// Full jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): many
    /// children that failed together should not come back together. The draws come from the
    /// supervisor's seeded generator.
    pub const fn exponential(min: Duration, max: Duration) -> Self {
        Self { curve: Curve::Exponential { min, max }, reset_after: None }
    }

    /// A child that was up for this long starts over with the first wait when it fails again.
    ///
    /// Without this call it is the longest wait of the curve: `max` for an exponential one.
    #[must_use]
    pub const fn reset_after(mut self, stable: Duration) -> Self {
        self.reset_after = Some(stable);
        self
    }

    /// How long a child must have been up for its failures in a row to be forgotten.
    pub fn stable_after(&self) -> Duration {
        self.reset_after.unwrap_or(match self.curve {
            Curve::None => Duration::ZERO,
            Curve::Constant(wait) => wait,
            Curve::Exponential { min, max } => max.max(min),
        })
    }

    /// The longest that the wait can be after `failures` failures in a row (at least 1).
    pub fn ceiling(&self, failures: u32) -> Duration {
        match self.curve {
            Curve::None => Duration::ZERO,
            Curve::Constant(wait) => wait,
            Curve::Exponential { min, max } => {
                // 2^31 times anything that matters is beyond any cap; the shift cannot overflow.
                let doublings = failures.saturating_sub(1).min(31);
                min.saturating_mul(1 << doublings).min(max)
            }
        }
    }

    /// Draws the wait after `failures` failures in a row (at least 1).
    pub fn wait(&self, failures: u32, chance: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(failures);
        match self.curve {
            Curve::None | Curve::Constant(_) => ceiling,
            Curve::Exponential { .. } => {
                let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
                Duration::from_nanos(chance.random_range(0..=nanos))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let backoff = Backoff::exponential(MIN, MAX);
        let ceilings: Vec<_> = (1..=9).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.ceiling(u32::MAX), MAX);
    }

    #[test]
    fn a_wait_is_drawn_from_the_whole_range_below_its_ceiling() {
        let backoff = Backoff::exponential(MIN, MAX);
        let mut chance = StdRng::seed_from_u64(7);
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(3, &mut chance)).collect();
        assert!(waits.iter().all(|wait| *wait <= MIN * 4));
        assert!(waits.iter().any(|wait| *wait < MIN / 2));
        assert!(waits.iter().any(|wait| *wait > MIN * 7 / 2));
    }

    #[test]
    fn the_same_seed_draws_the_same_waits() {
        let backoff = Backoff::exponential(MIN, MAX);
        let draw = |seed| {
            let mut chance = StdRng::seed_from_u64(seed);
            (1..20).map(|n| backoff.wait(n, &mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(draw(42), draw(42));
        assert_ne!(draw(42), draw(43));
    }

    #[test]
    fn a_cap_below_the_minimum_wins() {
        let backoff = Backoff::exponential(MAX, MIN);
        assert_eq!(backoff.ceiling(1), MIN);
    }
}
