use std::{collections::VecDeque, time::Duration};

use crate::Intensity;

/// Counts restarts in a sliding window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    intensity: Intensity,
    /// At most `intensity.restarts` of them.
    restarts: VecDeque<Duration>,
}

impl Window {
    pub(super) fn new(intensity: Intensity) -> Self {
        Self { intensity, restarts: VecDeque::new() }
    }

    /// Counts a restart, unless it is one too many.
    ///
    /// OTP, "Supervisor Behaviour", Maximum Restart Intensity: "If more than MaxR number of
    /// restarts occur in the last MaxT seconds", the supervisor gives up. A restart exactly one
    /// period ago is still within the last period.
    pub(super) fn admits(&mut self, now: Duration) -> bool {
        while let Some(oldest) = self.restarts.front() {
            if now.saturating_sub(*oldest) <= self.intensity.period {
                break;
            }
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.intensity.restarts as usize {
            return false;
        }
        self.restarts.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(restarts: u32) -> Window {
        Window::new(Intensity { restarts, period: Duration::from_secs(5) })
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn as_many_as_the_intensity_are_borne_and_one_more_is_not() {
        let mut window = window(2);
        assert!(window.admits(at(0)));
        assert!(window.admits(at(1)));
        assert!(!window.admits(at(2)));
    }

    #[test]
    fn an_intensity_of_zero_bears_nothing() {
        assert!(!window(0).admits(at(0)));
    }

    #[test]
    fn a_restart_counts_until_more_than_a_period_has_passed() {
        let mut window = window(1);
        assert!(window.admits(at(0)));
        assert!(!window.clone().admits(at(5000)));
        assert!(window.admits(at(5001)));
    }
}
