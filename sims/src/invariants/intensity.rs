use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};

pub(crate) const NAME: &str = "intensity";

/// No supervisor starts children again more often than it said that it would, in any stretch of its period;
/// and none does so before it has begun or after it has ended.
#[derive(Default)]
pub(super) struct Intensity {
    supervisors: BTreeMap<String, Window>,
}

/// What a supervisor may do, and what it has decided within its last period.
struct Window {
    restarts_max: u32,
    period: Duration,
    decided: VecDeque<Duration>,
}

impl Intensity {
    fn restarts(&mut self, supervisor: &str, child: &str, at: Duration) -> Option<String> {
        let Some(window) = self.supervisors.get_mut(supervisor) else {
            return Some(format!("{supervisor} starts {child} again, and is no supervisor"));
        };
        let Window { restarts_max, period, decided } = window;
        // Decisions of several children are told in the order in which the children came up.
        let place = decided.partition_point(|one| *one <= at);
        decided.insert(place, at);
        let latest = *decided.back()?;
        // What is a whole period apart is on the edge, and rounding may put it to either side.
        while decided.front().is_some_and(|one| latest.saturating_sub(*one) >= 2 * *period) {
            decided.pop_front();
        }
        let most = decided
            .iter()
            .enumerate()
            .map(|(index, first)| {
                let end = decided.partition_point(|one| *one < *first + *period);
                end - index
            })
            .max()
            .unwrap_or(0);
        (most > *restarts_max as usize).then(|| {
            format!("{supervisor} starts {child} again: {most} restarts within {period:?}")
        })
    }
}

impl Invariant for Intensity {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Supervises { supervisor, restarts_max, period } => {
                let decided = VecDeque::new();
                let window = Window { restarts_max: *restarts_max, period: *period, decided };
                self.supervisors.insert(supervisor.clone(), window);
            }
            Record::Restarted { supervisor, child, decided_at } => {
                if let Some(what) = self.restarts(supervisor, child, *decided_at) {
                    findings.report(NAME, what);
                }
            }
            Record::Ended { supervisor } => {
                self.supervisors.remove(supervisor);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use super::*;

    fn supervises() -> Record {
        let period = Duration::from_secs(5);
        Record::Supervises { supervisor: "s".into(), restarts_max: 2, period }
    }

    fn restarted(millis: u64) -> Record {
        let decided_at = Duration::from_millis(millis);
        Record::Restarted { supervisor: "s".into(), child: "c".into(), decided_at }
    }

    #[test]
    fn one_restart_too_many_within_a_period_is_found_in_whatever_order_they_are_told() {
        let well = [supervises(), restarted(0), restarted(4_999), restarted(5_001)];
        assert_eq!(found::<Intensity>(&well), 0);
        assert_eq!(found::<Intensity>(&[&well[..], &[restarted(9_000)]].concat()), 1);
        let late = [supervises(), restarted(1_000), restarted(3_000), restarted(2_000)];
        assert_eq!(found::<Intensity>(&late), 1);
    }

    #[test]
    fn one_who_starts_children_after_its_end_is_found() {
        let ended = Record::Ended { supervisor: "s".into() };
        assert_eq!(found::<Intensity>(&[supervises(), ended, restarted(1)]), 1);
    }
}
