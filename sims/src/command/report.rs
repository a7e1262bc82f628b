//! What is told of runs.

use serde::Serialize;
use umbel_sims::{Outcome, Planned, Violation};

use crate::command::choice::Chosen;
use crate::command::pool::Done;

/// What is told of one run to a machine: one line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    scenario: &'a str,
    seed: u64,
    ok: bool,
    trace: &'a str,
    sim_seconds: f64,
    wall_ms: f64,
    events: u64,
    settled_after_seconds: Option<f64>,
    /// Whether it was run twice; `wall_ms` is of both then.
    twice: bool,
    violations: &'a [Violation],
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<&'a [Planned]>,
}

impl<'a> Line<'a> {
    pub(crate) fn of(done: &'a Done) -> Self {
        let outcome = &done.outcome;
        Self {
            scenario: &outcome.scenario,
            seed: outcome.seed,
            ok: outcome.ok,
            trace: &outcome.trace,
            sim_seconds: outcome.sim_seconds,
            wall_ms: done.wall.as_secs_f64() * 1000.0,
            events: outcome.events,
            settled_after_seconds: outcome.settled_after_seconds,
            twice: done.job.twice,
            violations: &outcome.violations,
            faults: (!outcome.ok).then_some(&outcome.faults),
        }
    }
}

/// One line of a failure, for a person.
pub(crate) fn brief(outcome: &Outcome, chosen: &Chosen) -> String {
    let Outcome { scenario, seed, violations, .. } = outcome;
    let (invariant, at) = violations
        .first()
        .map_or(("unknown", 0.0), |first| (first.invariant.as_str(), first.at_seconds));
    let replay = chosen.replay(*seed, None);
    format!("FAIL {scenario} seed={seed} invariant={invariant} at={at:.3}s replay: {replay}")
}

/// What became of the seeds of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally {
    scenario: &'static str,
    from: u64,
    wanted: u64,
    ran: u64,
    pub(crate) failed: u64,
    twice: u64,
    sim_seconds: f64,
    /// How long after the faults it was well, and with which seed.
    slowest: Option<(f64, u64)>,
}

impl Tally {
    /// Of no seed yet, of those that are to be run.
    pub(crate) fn new(scenario: &'static str, from: u64, wanted: u64) -> Self {
        let wanted = wanted.min(u64::MAX - from);
        Self {
            scenario,
            from,
            wanted,
            ran: 0,
            failed: 0,
            twice: 0,
            sim_seconds: 0.0,
            slowest: None,
        }
    }

    pub(crate) fn add(&mut self, done: &Done) {
        let outcome = &done.outcome;
        self.ran += 1;
        self.failed += u64::from(!outcome.ok);
        self.twice += u64::from(done.job.twice);
        self.sim_seconds += outcome.sim_seconds;
        let slowest = self.slowest.map_or(0.0, |(after, _)| after);
        if let Some(after) = outcome.settled_after_seconds.filter(|after| *after > slowest) {
            self.slowest = Some((after, outcome.seed));
        }
    }

    /// Whether not all were run that were to be.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.ran < self.wanted
    }

    /// For a person.
    pub(crate) fn summary(&self) -> String {
        let Self { scenario, wanted, ran, failed, twice, sim_seconds, .. } = self;
        if *ran == 0 {
            return format!("{scenario}: none of {} was run", seeds(self.from, *wanted));
        }
        let mut text = format!("{scenario}: {}", seeds(self.from, *ran));
        if self.is_cut_short() {
            text += &format!(" of {}", seeds(self.from, *wanted));
        }
        let held = match failed {
            0 => "all hold".to_owned(),
            failed => format!("{failed} of {ran} FAILED"),
        };
        text += &format!(", {held}; {twice} run twice; {sim_seconds:.0} s simulated");
        if let Some((after, seed)) = self.slowest {
            text += &format!("; the slowest to be well again took {after:.1} s (seed {seed})");
        }
        text
    }
}

fn seeds(from: u64, count: u64) -> String {
    match count {
        1 => format!("seed {from}"),
        count => format!("seeds {from} to {}", from + count.saturating_sub(1)),
    }
}
