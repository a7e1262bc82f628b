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
}

impl Path {
    pub(super) fn spoil(&mut self, condition: Condition) {
        match condition {
            Condition::Cut { until } => self.cut_until = self.cut_until.max(Some(until)),
            Condition::HalfOpen { until } => {
                self.half_open_until = self.half_open_until.max(Some(until));
            }
            Condition::Delay { extra, until } => self.delay = Some((extra, until)),
            Condition::Slow { bytes_per_second, until } => {
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

    /// Ends what is over by now; whether a cut has mended.
    pub(super) fn mend(&mut self, now: Duration) -> bool {
        self.half_open_until.take_if(|until| *until <= now);
        self.delay.take_if(|(_, until)| *until <= now);
        self.slow.take_if(|(_, until)| *until <= now);
        self.cut_until.take_if(|until| *until <= now).is_some()
    }

    /// How much longer so many bytes take.
    pub(super) fn extra(&self, bytes: usize) -> Duration {
        let delay = self.delay.map_or(Duration::ZERO, |(extra, _)| extra);
        let slow = self.slow.map_or(Duration::ZERO, |(bytes_per_second, _)| {
            Duration::from_millis(bytes as u64 * 1000 / bytes_per_second)
        });
        delay + slow
    }
}
