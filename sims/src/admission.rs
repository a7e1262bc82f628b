//! Which faults can befall a world.

use std::time::Duration;

use crate::fault::{Fault, Planned};

/// A clock goes wrong by 1 % at most: the bounds that the invariants hold nodes to have room for as much.
pub(crate) const DRIFT_MILLIONTHS_MAX: u64 = 10_000;

/// A clock is set by a year at most.
const JUMP_MS_MAX: u64 = 366 * 24 * 3600 * 1000;

/// Nothing takes longer than a day.
const LONGEST_MS_MAX: u64 = 24 * 3600 * 1000;

/// Why faults cannot befall a world or a scenario. Nothing was run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The scenario takes no list.
    #[error("{scenario} takes no list of faults: they follow from its seed alone")]
    Drawn {
        /// Its name.
        scenario: &'static str,
    },
    /// There is nobody whom a fault could befall.
    #[error(
        "a world without nodes has no faults: add some by `World::nodes`, or have `Faults::none()`"
    )]
    NoNodes,
    /// There is no such machine.
    #[error("fault {number}, {fault:?}, is of a machine that is not there: they are 0 to {last}")]
    NoSuchMachine {
        /// Which fault of the list, from 1.
        number: usize,
        /// The fault.
        fault: Fault,
        /// The number of the last machine that faults befall.
        last: usize,
    },
    /// All is over by then.
    #[error("fault {number} comes at {at:?}, and faults end at {lasts:?}")]
    TooLate {
        /// Which fault of the list, from 1.
        number: usize,
        /// When it comes.
        at: Duration,
        /// When faults end.
        lasts: Duration,
    },
    /// No clock is that wrong, or the invariants would not hold for it.
    #[error(
        "fault {number}, {fault:?}, is more than a clock can do: {DRIFT_MILLIONTHS_MAX} millionths, \
         {JUMP_MS_MAX} ms"
    )]
    ClockTooWrong {
        /// Which fault of the list, from 1.
        number: usize,
        /// The fault.
        fault: Fault,
    },
    /// It is longer than a day.
    #[error("fault {number}, {fault:?}, is longer than a day, which is {LONGEST_MS_MAX} ms")]
    TooLong {
        /// Which fault of the list, from 1.
        number: usize,
        /// The fault.
        fault: Fault,
    },
}

/// Whether these faults can befall a world with so many nodes, in which things go wrong until `lasts`.
pub(crate) fn admit(faults: &[Planned], nodes: usize, lasts: Duration) -> Result<(), NotAdmitted> {
    let Some(last) = nodes.checked_sub(1) else {
        return if faults.is_empty() { Ok(()) } else { Err(NotAdmitted::NoNodes) };
    };
    faults.iter().zip(1..).try_for_each(|(planned, number)| {
        let (at, fault) = (planned.at(), planned.fault.clone());
        match &fault {
            _ if fault.highest() > last => Err(NotAdmitted::NoSuchMachine { number, fault, last }),
            _ if at >= lasts => Err(NotAdmitted::TooLate { number, at, lasts }),
            _ if longest_ms(&fault) > LONGEST_MS_MAX => Err(NotAdmitted::TooLong { number, fault }),
            Fault::ClockDrift { millionths, .. }
                if millionths.unsigned_abs() > DRIFT_MILLIONTHS_MAX =>
            {
                Err(NotAdmitted::ClockTooWrong { number, fault })
            }
            Fault::ClockJump { by_ms, .. } if by_ms.unsigned_abs() > JUMP_MS_MAX => {
                Err(NotAdmitted::ClockTooWrong { number, fault })
            }
            _ => Ok(()),
        }
    })
}

/// The longest time in it, that by which a wall clock is set aside.
fn longest_ms(fault: &Fault) -> u64 {
    match fault {
        Fault::Kill { down_ms, .. }
        | Fault::PowerLoss { down_ms, .. }
        | Fault::Leave { down_ms, .. } => *down_ms,
        Fault::Pause { ms, .. }
        | Fault::ClockDrift { ms, .. }
        | Fault::DiskFull { ms, .. }
        | Fault::DiskFails { ms, .. }
        | Fault::Cut { ms, .. }
        | Fault::Partition { ms, .. }
        | Fault::Stall { ms, .. }
        | Fault::HalfOpen { ms, .. }
        | Fault::SlowLink { ms, .. } => *ms,
        Fault::Slow { turn_ms: more, ms, .. }
        | Fault::DiskSlow { extra_ms: more, ms, .. }
        | Fault::Delay { extra_ms: more, ms, .. } => *more.max(ms),
        Fault::ClockJump { .. } | Fault::Reset { .. } | Fault::Blackhole { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(at_ms: u64, fault: Fault) -> Result<(), NotAdmitted> {
        admit(&[Planned { at_ms, fault }], 3, Duration::from_secs(10))
    }

    #[test]
    fn a_fault_of_a_machine_that_is_there_and_in_time_is_admitted_and_no_other() {
        let reset = |b| Fault::Reset { a: 0, b };
        assert_eq!(admitted(9_999, reset(2)), Ok(()));
        let late = admitted(10_000, reset(2)).expect_err("it is over");
        assert_eq!(late.to_string(), "fault 1 comes at 10s, and faults end at 10s");
        let nobody = admitted(0, reset(3)).expect_err("there are three");
        assert!(nobody.to_string().ends_with("of a machine that is not there: they are 0 to 2"));
    }

    #[test]
    fn no_time_in_a_fault_is_longer_than_a_day() {
        let day = LONGEST_MS_MAX;
        for (extra_ms, ms) in [(day, day), (0, 0)] {
            assert_eq!(admitted(1, Fault::Delay { from: 0, to: 1, extra_ms, ms }), Ok(()));
        }
        let longer = [
            Fault::Delay { from: 0, to: 1, extra_ms: day + 1, ms: 1 },
            Fault::DiskSlow { node: 0, extra_ms: u64::MAX, ms: 1 },
            Fault::Slow { node: 0, turn_ms: day + 1, ms: 1 },
            Fault::Kill { node: 0, down_ms: day + 1 },
            Fault::Partition { side: vec![0], ms: u64::MAX },
        ];
        for fault in longer {
            let refused = admitted(1, fault.clone());
            assert_eq!(refused, Err(NotAdmitted::TooLong { number: 1, fault }));
        }
    }

    #[test]
    fn a_clock_is_as_wrong_as_the_invariants_allow_for_and_no_more() {
        let drift = |millionths| admitted(1, Fault::ClockDrift { node: 0, millionths, ms: 1 });
        assert_eq!((drift(10_000), drift(-10_000)), (Ok(()), Ok(())));
        for refused in [drift(10_001), drift(i64::MIN)] {
            assert!(matches!(refused, Err(NotAdmitted::ClockTooWrong { number: 1, .. })));
        }
        let jump = admitted(1, Fault::ClockJump { node: 0, by_ms: i64::MIN });
        assert!(matches!(jump, Err(NotAdmitted::ClockTooWrong { number: 1, .. })));
    }

    #[test]
    fn a_world_without_nodes_has_no_faults() {
        let reset = Planned { at_ms: 0, fault: Fault::Reset { a: 0, b: 0 } };
        let lasts = Duration::from_secs(10);
        assert_eq!(admit(&[], 0, lasts), Ok(()));
        assert_eq!(admit(&[reset], 0, lasts), Err(NotAdmitted::NoNodes));
    }
}
