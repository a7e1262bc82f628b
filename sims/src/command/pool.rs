//! Threads that run seeds, and what came of them in the order of the seeds.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use umbel_sims::{Options, Outcome, Scenario, Violation};

use crate::command::interrupt::{Interrupt, Received};
use crate::command::time::now;

/// One of so many seeds of each scenario is run twice, the first one always.
const TWICE: u64 = 50;

/// By how many seeds a thread the threads may be ahead of the slowest one: what is done and waits for
/// its turn is kept.
const AHEAD_MAX: u64 = 64;

/// One seed of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Which of the scenarios.
    pub(crate) index: usize,
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    /// Whether it is run twice, and the runs are compared.
    pub(crate) twice: bool,
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) job: Job,
    pub(crate) outcome: Outcome,
    pub(crate) wall: Duration,
}

/// All seeds of all scenarios, seed by seed, so that who runs out of time has run as many of each.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    scenarios: Vec<Scenario>,
    from: u64,
    /// How many seeds are left, with the one whose turn it is.
    left: u64,
    begun: u64,
    index: usize,
}

impl Jobs {
    /// `count` seeds, or as many as there are.
    pub(crate) fn new(scenarios: Vec<Scenario>, from: u64, count: u64) -> Self {
        let left = if scenarios.is_empty() { 0 } else { count.min(u64::MAX - from) };
        Self { scenarios, from, left, begun: 0, index: 0 }
    }

    /// How many jobs there are.
    pub(crate) fn how_many(&self) -> u64 {
        self.left.saturating_mul(self.scenarios.len() as u64)
    }
}

impl Iterator for Jobs {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        if self.left == 0 {
            return None;
        }
        let (index, seed) = (self.index, self.from + self.begun);
        let twice = self.begun.is_multiple_of(TWICE);
        self.index += 1;
        if self.index == self.scenarios.len() {
            (self.index, self.begun, self.left) = (0, self.begun + 1, self.left - 1);
        }
        Some(Job { index, scenario: self.scenarios[index], seed, twice })
    }
}

/// Threads that run jobs.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    coming: Receiver<(u64, Done)>,
    /// Done before its turn.
    early: BTreeMap<u64, Done>,
}

struct Shared {
    state: Mutex<State>,
    caught_up: Condvar,
    until: Option<Instant>,
    ahead_max: u64,
}

struct State {
    jobs: Jobs,
    taken: u64,
    given: u64,
    is_over: bool,
}

impl Pool {
    /// Starts so many threads; none of them begins a job after `until`.
    pub(crate) fn start(
        jobs: Jobs,
        threads: usize,
        until: Option<Instant>,
    ) -> std::io::Result<Self> {
        let ahead_max = AHEAD_MAX * threads as u64;
        let state = Mutex::new(State { jobs, taken: 0, given: 0, is_over: false });
        let shared = Arc::new(Shared { state, caught_up: Condvar::new(), until, ahead_max });
        let (done, coming) = channel();
        for number in 0..threads {
            let (shared, done) = (shared.clone(), done.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            // Futures of debug builds are deep, and a scenario may run on this very thread.
            thread.stack_size(16 << 20).spawn(move || shared.work(&done))?;
        }
        Ok(Self { shared, coming, early: BTreeMap::new() })
    }

    /// The next job that is done, in order.
    pub(crate) fn next(&mut self, interrupt: &Interrupt) -> Received<Done> {
        loop {
            let given = self.shared.state.lock().given;
            if let Some(done) = self.early.remove(&given) {
                self.shared.state.lock().given += 1;
                self.shared.caught_up.notify_all();
                return Received::This(done);
            }
            match interrupt.wait_for(&self.coming) {
                Received::This((number, done)) => drop(self.early.insert(number, done)),
                Received::End => return Received::End,
                Received::Interrupted => return Received::Interrupted,
            }
        }
    }
}

/// No job is begun any more; those that run end by themselves.
impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.caught_up.notify_all();
    }
}

impl Shared {
    fn work(&self, done: &Sender<(u64, Done)>) {
        while let Some((number, job)) = self.take() {
            let began = now();
            let outcome = run(&job);
            let wall = now() - began;
            if done.send((number, Done { job, outcome, wall })).is_err() {
                return;
            }
        }
    }

    fn take(&self) -> Option<(u64, Job)> {
        let mut state = self.state.lock();
        while !state.is_over && state.taken - state.given >= self.ahead_max {
            self.caught_up.wait(&mut state);
        }
        if state.is_over || self.until.is_some_and(|until| now() >= until) {
            return None;
        }
        let job = state.jobs.next()?;
        let number = state.taken;
        state.taken += 1;
        Some((number, job))
    }
}

fn run(job: &Job) -> Outcome {
    let Job { scenario, seed, .. } = *job;
    caught(&scenario, seed, || {
        let options = Options::default();
        if job.twice {
            scenario.run_twice(seed, &options)
        } else {
            scenario.run_once(seed, &options)
        }
    })
}

/// What is violated where a run panics.
const DOES_NOT_PANIC: &str = "does-not-panic";

/// Whether a run has panicked: then it has told neither its faults nor what happened.
pub(crate) fn has_panicked(outcome: &Outcome) -> bool {
    outcome.violations.first().is_some_and(|first| first.invariant == DOES_NOT_PANIC)
}

/// What became of a run, which may have panicked: then that is what does not hold.
pub(crate) fn caught(scenario: &Scenario, seed: u64, run: impl FnOnce() -> Outcome) -> Outcome {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "it has not said why".to_owned());
        Outcome {
            scenario: scenario.name.to_owned(),
            seed,
            ok: false,
            trace: String::new(),
            events: 0,
            sim_seconds: 0.0,
            settled_after_seconds: None,
            violations: vec![Violation {
                invariant: DOES_NOT_PANIC.to_owned(),
                at_seconds: 0.0,
                what,
            }],
            faults: Vec::new(),
            lines: Vec::new(),
            replay: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use umbel_sims::scenarios;

    use super::*;

    fn drawn(jobs: Jobs) -> Vec<(usize, u64, bool)> {
        jobs.map(|job| (job.index, job.seed, job.twice)).collect()
    }

    #[test]
    fn scenarios_take_turns_and_the_first_seed_of_fifty_is_run_twice() {
        let two: Vec<_> = scenarios().into_iter().take(2).collect();
        let jobs = Jobs::new(two, 7, 51);
        assert_eq!(jobs.how_many(), 102);
        let jobs = drawn(jobs);
        assert_eq!(jobs[..3], [(0, 7, true), (1, 7, true), (0, 8, false)]);
        assert_eq!((jobs[100], jobs.len()), ((0, 57, true), 102));
    }

    #[test]
    fn there_are_no_seeds_beyond_the_last() {
        let one: Vec<_> = scenarios().into_iter().take(1).collect();
        assert_eq!(drawn(Jobs::new(one, u64::MAX - 2, u64::MAX)).len(), 2);
        assert_eq!(Jobs::new(scenarios(), 0, u64::MAX).how_many(), u64::MAX);
    }

    #[test]
    fn a_run_that_panics_is_one_that_does_not_hold() {
        let scenario = scenarios()[0];
        let outcome = caught(&scenario, 3, || panic!("on {}", "purpose"));
        assert!(
            !outcome.ok && has_panicked(&outcome) && outcome.violations[0].what == "on purpose"
        );
    }
}
