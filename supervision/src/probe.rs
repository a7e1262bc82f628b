use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a supervisor asks a child whether it still answers, and how long it waits.
///
/// For [`ChildSpec::probe`](crate::ChildSpec::probe), which says what becomes of a child that does
/// not answer. OTP has no such thing: a process that hangs is nobody's failure there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// How long after a start, and after each answer, the child is asked again. More than zero.
    pub every: Duration,
    /// How long it may take to answer. More than zero; more than the longest time that the child
    /// may rightly need for all that waits in its mailbox, for the question waits its turn.
    pub within: Duration,
}

impl Probe {
    /// The interval unless [`every`](Self::every) says otherwise: 5 s.
    pub const INTERVAL: Duration = Duration::from_secs(5);

    /// A child that does not answer within this time has failed.
    pub const fn within(within: Duration) -> Self {
        Self { every: Self::INTERVAL, within }
    }

    /// How long after each answer the child is asked again. So one that hangs is found after
    /// `every` and `within` at the latest.
    #[must_use]
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    pub(crate) const fn has_time(&self) -> bool {
        !self.every.is_zero() && !self.within.is_zero()
    }
}
