//! When to dial again, and the chance in it.

use std::time::Duration;

use crate::PeersConfig;

/// When a peer or a seed is dialled next.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    pub(crate) attempts: u32,
    pub(crate) since: Duration,
    pub(crate) until: Duration,
}

impl Backoff {
    pub(crate) fn at_once(now: Duration) -> Self {
        Self { attempts: 0, since: now, until: now }
    }

    /// Waits before the next dial: somewhere between nothing and the step that `attempts` has come
    /// to ("full jitter"), after a whole step if this side `yields` to the other.
    pub(crate) fn wait(&mut self, config: &PeersConfig, now: Duration, yields: bool, draw: u64) {
        let step = step(config, self.attempts);
        let yielded = if yields { step } else { Duration::ZERO };
        self.since = now;
        self.until = now.saturating_add(yielded).saturating_add(part_of(step, draw));
    }

    pub(crate) fn failed(&mut self, config: &PeersConfig, now: Duration, draw: u64) {
        self.attempts = self.attempts.saturating_add(1);
        self.wait(config, now, false, draw);
    }

    /// There is news of the peer, so its next dial need not wait for the full step; but no news
    /// makes dials come faster than one a `backoff_min`, since whoever tells may be lying.
    pub(crate) fn hasten(&mut self, config: &PeersConfig) {
        self.until = self.until.min(self.since.saturating_add(config.backoff_min));
    }
}

fn step(config: &PeersConfig, attempts: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
    config.backoff_min.saturating_mul(factor).min(config.backoff_max)
}

fn part_of(step: Duration, draw: u64) -> Duration {
    let nanos = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(draw)) >> 64;
    // The product of two 64-bit numbers, shifted by 64, fits 64 bits.
    Duration::from_nanos(part as u64)
}

/// Draws as many numbers as one step needs from the one that was handed in, by SplitMix64 (Steele,
/// Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014).
#[derive(Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn from(entropy: u64) -> Self {
        Self(entropy)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`; `n` must be above zero.
    #[cfg(test)]
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Below `n`, so it fits.
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_up_to_their_bound_and_never_overflow() {
        let config = PeersConfig::default();
        let millis = [0, 1, 2, 5, 6, 31, 32, u32::MAX].map(|n| step(&config, n).as_millis());
        assert_eq!(millis, [100, 200, 400, 3200, 5000, 5000, 5000, 5000]);
    }

    #[test]
    fn a_wait_lies_between_nothing_and_a_step_and_yielding_adds_one() {
        let config = PeersConfig::default();
        let now = Duration::from_secs(9);
        let wait = |yields, draw| {
            let mut backoff = Backoff::at_once(now);
            backoff.wait(&config, now, yields, draw);
            (backoff.until - now).as_millis()
        };
        assert_eq!((wait(false, 0), wait(false, u64::MAX)), (0, 99));
        assert_eq!((wait(true, 0), wait(true, u64::MAX)), (100, 199));
    }

    #[test]
    fn draws_are_those_of_splitmix64() {
        // The reference implementation's first output for the seed 1234567.
        assert_eq!(Draws::from(1_234_567).next(), 6_457_827_717_110_365_317);
    }
}
