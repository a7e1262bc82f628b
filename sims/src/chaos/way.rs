//! One way between two nodes, and what becomes of what is sent over it.

use std::time::Duration;

use tokio::time::Instant;

/// One way between two nodes. Connections are numbered in the order in which they were made, so that
/// what befalls those that there are can be told from what befalls all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// Nothing gets through until then.
    cut_until: Option<Instant>,
    /// Nothing gets through until then on connections up to this number.
    stall: Option<(u64, Instant)>,
    /// Who dials is never answered.
    half_open_until: Option<Instant>,
    delay: Option<(Duration, Instant)>,
    slow: Option<(u64, Instant)>,
    /// Connections up to this number swallow what is sent, for ever.
    swallowed: u64,
    /// Connections up to this number are reset.
    reset: u64,
}

/// What becomes of what is sent over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It gets through.
    Passes,
    /// Not before then.
    Waits(Instant),
    /// Never, and nobody is told.
    Vanishes,
}

impl Way {
    pub(super) fn cut(&mut self, until: Instant) {
        self.cut_until = self.cut_until.max(Some(until));
    }

    pub(super) fn stall(&mut self, latest: u64, until: Instant) {
        self.stall = Some((latest, until));
    }

    pub(super) fn half_open(&mut self, until: Instant) {
        self.half_open_until = self.half_open_until.max(Some(until));
    }

    pub(super) fn delay(&mut self, extra: Duration, until: Instant) {
        self.delay = Some((extra, until));
    }

    pub(super) fn slow(&mut self, bytes_per_second: u64, until: Instant) {
        self.slow = Some((bytes_per_second.max(1), until));
    }

    pub(super) fn swallow(&mut self, latest: u64) {
        self.swallowed = self.swallowed.max(latest);
    }

    pub(super) fn reset(&mut self, latest: u64) {
        self.reset = self.reset.max(latest);
    }

    /// Ends what ends by itself, now.
    pub(super) fn mend(&mut self) {
        let Self { swallowed, reset, .. } = *self;
        *self = Self { swallowed, reset, ..Self::default() };
    }

    /// What becomes of what is sent over the connection of this number.
    pub(super) fn fate(&self, number: u64, now: Instant) -> Fate {
        if number <= self.swallowed {
            return Fate::Vanishes;
        }
        let stalled = self.stall.filter(|(latest, _)| number <= *latest).map(|(_, until)| until);
        match self.cut_until.max(stalled) {
            Some(until) if until > now => Fate::Waits(until),
            _ => Fate::Passes,
        }
    }

    pub(super) fn is_reset(&self, number: u64) -> bool {
        number <= self.reset
    }

    pub(super) fn is_half_open(&self, now: Instant) -> bool {
        self.half_open_until.is_some_and(|until| until > now)
    }

    /// How much longer so many bytes take.
    pub(super) fn extra(&self, bytes: usize, now: Instant) -> Duration {
        let delay = self.delay.filter(|(_, until)| *until > now).map(|(extra, _)| extra);
        let slow = self.slow.filter(|(_, until)| *until > now).map(|(bytes_per_second, _)| {
            Duration::from_micros(bytes as u64 * 1_000_000 / bytes_per_second)
        });
        delay.unwrap_or_default() + slow.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_cut_holds_all_connections_a_stall_those_that_there_are_and_both_end() {
        let (now, mut way) = (Instant::now(), Way::default());
        way.stall(7, now + SECOND);
        assert_eq!(way.fate(7, now), Fate::Waits(now + SECOND));
        assert_eq!(way.fate(8, now), Fate::Passes);
        way.cut(now + 2 * SECOND);
        assert_eq!(way.fate(8, now), Fate::Waits(now + 2 * SECOND));
        assert_eq!(way.fate(8, now + 2 * SECOND), Fate::Passes);
        way.mend();
        assert_eq!(way.fate(7, now), Fate::Passes);
    }

    #[test]
    fn what_is_swallowed_or_reset_stays_so_when_all_else_is_mended() {
        let (now, mut way) = (Instant::now(), Way::default());
        way.swallow(3);
        way.reset(2);
        way.half_open(now + SECOND);
        way.mend();
        assert_eq!((way.fate(3, now), way.fate(4, now)), (Fate::Vanishes, Fate::Passes));
        assert_eq!((way.is_reset(2), way.is_reset(3)), (true, false));
        assert!(!way.is_half_open(now));
    }

    #[test]
    fn delay_and_slowness_add_up_and_end_each_in_its_time() {
        let (now, mut way) = (Instant::now(), Way::default());
        way.delay(SECOND, now + SECOND);
        way.slow(1000, now + 2 * SECOND);
        assert_eq!(way.extra(500, now), SECOND + SECOND / 2);
        assert_eq!(way.extra(500, now + SECOND), SECOND / 2);
        assert_eq!(way.extra(500, now + 2 * SECOND), Duration::ZERO);
    }
}
