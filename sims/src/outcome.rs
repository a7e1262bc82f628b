//! What became of a run.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::decisions::Decisions;
use crate::fault::Planned;
use crate::trace::Trace;
use crate::twice::SAME_EVERY_TIME;

/// Something that must hold and did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: String,
    /// When it was seen, in seconds from the start.
    pub at_seconds: f64,
    /// What was seen.
    pub what: String,
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Whether all held.
    pub ok: bool,
    /// The hash of everything that happened, in hexadecimal.
    pub trace: String,
    /// How many events there were.
    pub events: u64,
    /// How much time was simulated.
    pub sim_seconds: f64,
    /// How long after the end of the faults everything was well; `None` where it never was.
    pub settled_after_seconds: Option<f64>,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// The faults, in order.
    #[serde(skip)]
    pub faults: Vec<Planned>,
    /// All that happened, where that was asked for.
    #[serde(skip)]
    pub lines: Vec<String>,
    /// The command that replays it, whole.
    #[serde(skip)]
    pub replay: Option<String>,
}

/// How many of the last lines of each machine a failing run tells.
const LAST_LINES: usize = 10;

/// How much of each. All of it is told by a replay with its trace.
const LINE_CHARS_MAX: usize = 240;

impl Outcome {
    /// Whether it was run twice and the two runs differ.
    #[must_use]
    pub fn has_parted(&self) -> bool {
        self.violations.first().is_some_and(|first| first.invariant == SAME_EVERY_TIME)
    }

    /// The last that happened on each machine, in order, without what only went over the network; empty
    /// without [`Outcome::lines`].
    fn last_lines(&self) -> Vec<&str> {
        // The word after the time: `m0`, or a life such as `n0#3` where there are no machines.
        let machine = |line: &str| {
            let word = line.split_whitespace().nth(1)?;
            let name = word.split('#').next()?;
            let number = name.strip_prefix(['m', 'n'])?;
            number.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.to_owned())
        };
        let mut told = BTreeMap::<_, usize>::new();
        let mut last: Vec<_> = self
            .lines
            .iter()
            .rev()
            .filter(|line| !Trace::is_of_network(line))
            .filter(|line| {
                let told = told.entry(machine(line)).or_default();
                *told += 1;
                *told <= LAST_LINES
            })
            .map(String::as_str)
            .collect();
        last.reverse();
        last
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, trace, sim_seconds, .. } = self;
        let Some(first) = self.violations.first() else {
            return write!(f, "{scenario}: ok seed={seed} after {sim_seconds} s trace={trace}");
        };
        let Violation { invariant, at_seconds, what } = first;
        writeln!(
            f,
            "FAIL {scenario} seed={seed} invariant={invariant} at={at_seconds:.3}s trace={trace}"
        )?;
        writeln!(f, "  {what}")?;
        if self.scenario != Decisions::NAME {
            let faults = serde_json::to_string(&self.faults).map_err(|_| fmt::Error)?;
            writeln!(f, "faults: {faults}")?;
        }
        for line in self.last_lines() {
            match line.char_indices().nth(LINE_CHARS_MAX) {
                Some((end, _)) => writeln!(f, "  {}…", &line[..end])?,
                None => writeln!(f, "  {line}")?,
            }
        }
        match &self.replay {
            Some(replay) => write!(f, "replay: {replay}"),
            None => {
                let faults = serde_json::to_string(&self.faults).map_err(|_| fmt::Error)?;
                write!(
                    f,
                    "replay: the same World::new({seed}) with .faults(r#\"{faults}\"#.parse()?)"
                )
            }
        }
    }
}
