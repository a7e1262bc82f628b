//! One run: faults by a seed, then peace, then everything must be well.

use std::time::Duration;

use crate::chance::Chance;
use crate::decisions::fault;
use crate::decisions::invariants::has_converged;
use crate::decisions::mutant::Mutant;
use crate::decisions::world::World;
use crate::outcome::Outcome;
use crate::twice::{self, Taking};

/// When faults end.
const FAULTS_END: Duration = Duration::from_secs(20);

/// How long everything may take to be well again: several dials that fail with the longest back-off
/// (5 s), and a silence that has to be noticed first (5 s).
const SETTLED_WITHIN: Duration = Duration::from_secs(40);

/// For how long it must stay so.
const STAYS: Duration = Duration::from_secs(3);

/// How often the invariants look.
const LOOK: Duration = Duration::from_millis(250);

/// Peers and registries of three to five nodes under faults.
///
/// ```
/// use umbel_sims::decisions::Decisions;
///
/// let run = Decisions::new().run(42);
/// assert!(run.ok, "{:?}", run.violations);
/// assert_eq!(run.trace, Decisions::new().run(42).trace);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Decisions {
    mutant: Option<Mutant>,
    keep_lines: bool,
}

impl Decisions {
    /// The scenario's name.
    pub const NAME: &'static str = "decisions";

    /// The scenario as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a bug planted in it.
    #[must_use]
    pub fn mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// With [`Outcome::lines`].
    #[must_use]
    pub fn keep_lines(mut self) -> Self {
        self.keep_lines = true;
        self
    }

    /// Runs one seed.
    #[must_use]
    pub fn run(&self, seed: u64) -> Outcome {
        let mut chance = Chance::new(seed);
        let nodes = 3 + chance.below(3);
        let faults = fault::plan(&mut chance, nodes, FAULTS_END);
        let mut world = World::new(chance, nodes, self.mutant, self.keep_lines);
        world.plan(&faults);
        while world.now < FAULTS_END {
            world.run_until(world.now + LOOK);
            world.check(false);
        }
        world.heal();
        let deadline = FAULTS_END + SETTLED_WITHIN;
        let mut converged = None;
        while world.violations.is_empty() && world.now < deadline {
            world.run_until(world.now + LOOK);
            world.check(false);
            let well = has_converged(&world.snapshot());
            converged = if well { converged.or(Some(world.now)) } else { None };
            if converged.is_some_and(|since| world.now >= since + STAYS) {
                break;
            }
        }
        world.check(true);
        let violations = std::mem::take(&mut world.violations);
        Outcome {
            scenario: Self::NAME.to_owned(),
            seed,
            ok: violations.is_empty(),
            trace: format!("{:016x}", world.trace.hash()),
            events: world.trace.events(),
            sim_seconds: world.now.as_secs_f64(),
            settled_after_seconds: converged.map(|at| (at - FAULTS_END).as_secs_f64()),
            violations,
            faults: Vec::new(),
            replay: None,
            lines: world.trace.take_lines(),
        }
    }

    /// Runs one seed twice. Where the runs differ, the violation `same-every-time` tells at which event
    /// they part.
    #[must_use]
    pub fn run_twice(&self, seed: u64) -> Outcome {
        twice::twice(self.keep_lines, |Taking { keep_lines, .. }| {
            Self { keep_lines, ..*self }.run(seed)
        })
    }
}
