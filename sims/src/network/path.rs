//! One way between two machines.

use std::time::Duration;

/// What is wrong with a path, until when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition {
    /// Nothing gets through. What is sent arrives afterwards, as TCP would have it; who dials waits.
    Cut { until: Duration },
    /// Who dials is never answered.
    HalfOpen { until: Duration },
    /// All takes longer.
    Delay { extra: Duration, until: Duration },
    /// So many bytes a second get through.
    Slow { bytes_per_second: u64, until: Duration },
}

/// One way between two machines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    cut_until: Option<Duration>,
    half_open_until: Option<Duration>,
    delay: Option<(Duration, Duration)>,
    slow: Option<(u64, Duration)>,
    /// When all that a slow path carries is through.
    busy_until: Duration,
}

/// What of a path has mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// It is not cut any more: what was held goes on its way.
    pub(super) cut: bool,
    /// It is fast again: what is under way arrives soon.
    pub(super) pace: bool,
}

impl Path {
    pub(super) fn spoil(&mut self, condition: Condition) {
        match condition {
            Condition::Cut { until } => self.cut_until = self.cut_until.max(Some(until)),
            Condition::HalfOpen { until } => {
                self.half_open_until = self.half_open_until.max(Some(until));
            }
            Condition::Delay { extra, until } => {
                let until = self.delay.map_or(until, |(_, before)| before.max(until));
                self.delay = Some((extra, until));
            }
            Condition::Slow { bytes_per_second, until } => {
                let until = self.slow.map_or(until, |(_, before)| before.max(until));
                self.slow = Some((bytes_per_second.max(1), until));
            }
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut_until.is_some()
    }

    pub(super) fn is_half_open(&self) -> bool {
        self.half_open_until.is_some()
    }

    pub(super) fn is_clear(&self) -> bool {
        let answers = self.half_open_until.is_none();
        answers && self.cut_until.is_none() && self.delay.is_none() && self.slow.is_none()
    }

    /// Ends what is over by now.
    pub(super) fn mend(&mut self, now: Duration) -> Mended {
        self.half_open_until.take_if(|until| *until <= now);
        let delay = self.delay.take_if(|(_, until)| *until <= now).is_some();
        let slow = self.slow.take_if(|(_, until)| *until <= now).is_some();
        if slow {
            self.busy_until = Duration::ZERO;
        }
        Mended { cut: self.cut_until.take_if(|until| *until <= now).is_some(), pace: delay || slow }
    }

    /// When so many bytes are there that are sent now and take as long as `latency` on a good path. A delay
    /// is the same for all; of a slow path's rate all that it carries has a share.
    pub(super) fn arrival(&mut self, now: Duration, latency: Duration, bytes: usize) -> Duration {
        let latency = latency + self.delay.map_or(Duration::ZERO, |(extra, _)| extra);
        let Some((bytes_per_second, _)) = self.slow else { return now + latency };
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(bytes_per_second);
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.busy_until = self.busy_until.max(now).saturating_add(Duration::from_nanos(nanos));
        self.busy_until.saturating_add(latency)
    }
}
