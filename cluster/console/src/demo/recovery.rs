//! How a death is got over, step by step.

use std::time::Duration;

use umbel_protocol::NodeName;

/// What has happened since a node was killed. All times are since the demo began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub(crate) killed: NodeName,
    killed_at: Duration,
    detected_at: Option<Duration>,
    taken_over_at: Option<Duration>,
    replaced_at: Option<Duration>,
}

impl Recovery {
    pub(crate) fn new(killed: NodeName, at: Duration) -> Self {
        Self { killed, killed_at: at, detected_at: None, taken_over_at: None, replaced_at: None }
    }

    /// The registry lists a counter of the dead node no more. True the first time.
    pub(crate) fn detected(&mut self, at: Duration) -> bool {
        first(&mut self.detected_at, at)
    }

    /// All that the dead node had in hands was counted by others. True the first time.
    pub(crate) fn taken_over(&mut self, at: Duration) -> bool {
        first(&mut self.taken_over_at, at)
    }

    /// The counters of the fresh node are in the registry. True the first time.
    pub(crate) fn replaced(&mut self, at: Duration) -> bool {
        first(&mut self.replaced_at, at)
    }

    /// From the kill until it was detected.
    pub(crate) fn detected_in(&self) -> Option<Duration> {
        Some(self.detected_at?.saturating_sub(self.killed_at))
    }

    /// From the kill until all three steps were done.
    pub(crate) fn recovered_in(&self) -> Option<Duration> {
        let last = self.detected_at?.max(self.taken_over_at?).max(self.replaced_at?);
        Some(last.saturating_sub(self.killed_at))
    }
}

fn first(step: &mut Option<Duration>, at: Duration) -> bool {
    let is_first = step.is_none();
    step.get_or_insert(at);
    is_first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_lasts_until_the_last_of_its_steps_in_whatever_order_they_come() {
        let at = Duration::from_millis;
        let mut recovery = Recovery::new("node-1".parse().unwrap(), at(100));
        assert!(recovery.taken_over(at(130)));
        assert_eq!((recovery.detected_in(), recovery.recovered_in()), (None, None));
        assert!(recovery.detected(at(120)));
        assert_eq!((recovery.detected_in(), recovery.recovered_in()), (Some(at(20)), None));
        assert!(recovery.replaced(at(190)));
        assert!(!recovery.replaced(at(500)), "a second counter of the same node changes nothing");
        assert_eq!(recovery.recovered_in(), Some(at(90)));
    }
}
