//! Runs a seed twice: two runs of one seed are the same, or something in them depends on more than the
//! seed.

use crate::outcome::{Outcome, Violation};

/// What is violated where two runs of one seed differ.
pub(crate) const SAME_EVERY_TIME: &str = "same-every-time";

/// How often two runs that differ are compared line by line: one that depends on chance may be the same
/// for once.
const COMPARISONS_MAX: usize = 3;

/// Which of the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    First,
    /// Told other things by the operating system, on which no run may depend.
    Second,
}

impl Take {
    /// What its thread is called.
    pub(crate) fn thread(self) -> String {
        match self {
            Self::First => "umbel-sim".to_owned(),
            Self::Second => "umbel-sim-again".to_owned(),
        }
    }
}

/// How one of the two runs is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taking {
    pub(crate) take: Take,
    pub(crate) keep_lines: bool,
}

/// The first of two runs; where the second differs, with a violation that tells at which event they
/// part, and with the lines up to there.
pub(crate) fn twice(keep_lines: bool, run: impl Fn(Taking) -> Outcome) -> Outcome {
    let one = run(Taking { take: Take::First, keep_lines });
    let other = run(Taking { take: Take::Second, keep_lines });
    if (&one.trace, one.events) == (&other.trace, other.events) {
        return one;
    }
    let compared = (0..COMPARISONS_MAX).find_map(|_| {
        let [mut one, other] =
            [Take::First, Take::Second].map(|take| run(Taking { take, keep_lines: true }));
        let (event, first, second) = parting(&one.lines, &other.lines)?;
        let what = format!(
            "two runs part at event {event}: one has\n    {first}\n  the other\n    {second}"
        );
        let at_seconds = at_seconds(first);
        one.lines.truncate(event);
        Some(differs(one, at_seconds, what))
    });
    compared.unwrap_or_else(|| {
        let what = format!(
            "two runs differ, {} events with trace {} and {} with {}; {COMPARISONS_MAX} further pairs of \
             runs did not",
            one.events, one.trace, other.events, other.trace
        );
        let at_seconds = one.sim_seconds.min(other.sim_seconds);
        differs(one, at_seconds, what)
    })
}

fn differs(mut outcome: Outcome, at_seconds: f64, what: String) -> Outcome {
    let invariant = SAME_EVERY_TIME.to_owned();
    outcome.ok = false;
    outcome.violations.insert(0, Violation { invariant, at_seconds, what });
    outcome
}

/// The number of the first event that differs, from 1, and what it is in each run.
fn parting<'a>(one: &'a [String], other: &'a [String]) -> Option<(usize, &'a str, &'a str)> {
    let line = |lines: &'a [String], index: usize| {
        lines.get(index).map_or("(the end)", |line| line.trim())
    };
    let events = 0..one.len().max(other.len());
    let differs = events.map(|index| (index + 1, line(one, index), line(other, index)));
    differs.into_iter().find(|(_, one, other)| one != other)
}

/// When a line was noted.
fn at_seconds(line: &str) -> f64 {
    let seconds = line.split_once("s ").map(|(seconds, _)| seconds);
    seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        Outcome {
            scenario: "test".to_owned(),
            seed: 1,
            ok: true,
            trace: lines.concat(),
            events: lines.len() as u64,
            sim_seconds: 9.0,
            settled_after_seconds: None,
            violations: Vec::new(),
            faults: Vec::new(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            replay: None,
        }
    }

    #[test]
    fn where_two_runs_part_is_told_with_both_events_and_with_what_was_before() {
        let lines = ["   0.100000s m0 a", "   0.200000s m1 b", "   0.300000s m2 c"];
        let other = ["   0.100000s m0 a", "   0.250000s m1 x"];
        let told = twice(false, |taking| {
            outcome(if taking.take == Take::First { &lines } else { &other })
        });
        let first = &told.violations[0];
        assert!(!told.ok && told.has_parted());
        assert_eq!((first.at_seconds, told.lines.len()), (0.2, 2));
        for part in ["at event 2", "0.200000s m1 b", "0.250000s m1 x"] {
            assert!(first.what.contains(part), "{}", first.what);
        }
    }

    #[test]
    fn a_run_that_is_longer_than_the_other_parts_at_its_end() {
        let told = twice(false, |taking| match taking.take {
            Take::First => outcome(&["1.0s a", "2.0s b"]),
            Take::Second => outcome(&["1.0s a"]),
        });
        assert!(told.violations[0].what.contains("(the end)"));
    }

    #[test]
    fn runs_that_differ_only_once_are_told_by_their_traces() {
        let runs = Cell::new(0);
        let told = twice(false, |_| {
            runs.set(runs.get() + 1);
            outcome(if runs.get() == 2 { &["1.0s b"] } else { &["1.0s a"] })
        });
        let what = &told.violations[0].what;
        assert!(what.contains("1.0s a") && what.contains("1.0s b"), "{what}");
        assert_eq!(runs.get(), 2 + 2 * COMPARISONS_MAX);
    }

    #[test]
    fn runs_that_are_the_same_are_one() {
        let told = twice(false, |_| outcome(&["1.0s a"]));
        assert!(told.ok && told.violations.is_empty());
    }
}
