//! What `umbel-sim` runs.

mod churn;
mod standard;

use std::fmt;
use std::time::Duration;

#[cfg(all(unix, feature = "command"))]
pub(crate) use self::standard::all_answer;
use crate::decisions::{self, Decisions};
use crate::fault::{Fault, Faults, Planned};
use crate::mutant::Mutant;
use crate::outcome::Outcome;
use crate::world::World;

/// Something that is run with many seeds.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Decisions(Option<decisions::Mutant>),
    World(fn(u64) -> World, Option<Mutant>),
}

/// How a seed is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// These faults, instead of those that the seed draws.
    pub faults: Option<Vec<Planned>>,
    /// Whether [`Outcome::lines`] are kept.
    pub keep_lines: bool,
}

/// Why faults cannot befall a scenario. Nothing was run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The scenario takes no list.
    #[error("{scenario} takes no list of faults: they follow from its seed alone")]
    Drawn {
        /// Its name.
        scenario: &'static str,
    },
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
    /// No clock is that wrong, and the run would not end.
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
}

/// A clock runs half as fast again, or half as fast, at most.
const DRIFT_MILLIONTHS_MAX: u64 = 500_000;

/// A clock is set by a year at most.
const JUMP_MS_MAX: u64 = 366 * 24 * 3600 * 1000;

/// All scenarios, the standard one first.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: standard::NAME,
            about: "three whole nodes for ten seconds, supervised players, asks, tells, topics; four faults",
            kind: Kind::World(standard::world, None),
        },
        Scenario {
            name: churn::NAME,
            about: "five whole nodes for twenty seconds, the same application; twelve faults",
            kind: Kind::World(churn::world, None),
        },
        Scenario {
            name: Decisions::NAME,
            about: "the cluster's state machines alone: three to five nodes, 20 seconds, up to twelve faults",
            kind: Kind::Decisions(None),
        },
    ]
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        scenarios().into_iter().find(|scenario| scenario.name == name)
    }

    /// The names of the bugs that can be planted in it, to see them caught.
    #[must_use]
    pub fn mutants(&self) -> Vec<String> {
        match self.kind {
            Kind::Decisions(_) => named(&decisions::Mutant::ALL),
            Kind::World(..) => named(&Mutant::ALL),
        }
    }

    /// The scenario with a bug planted in it; `None` where it has none of that name.
    #[must_use]
    pub fn mutant(mut self, name: &str) -> Option<Self> {
        let at = self.mutants().iter().position(|mutant| mutant == name)?;
        match &mut self.kind {
            Kind::Decisions(planted) => *planted = Some(decisions::Mutant::ALL[at]),
            Kind::World(_, planted) => *planted = Some(Mutant::ALL[at]),
        }
        Some(self)
    }

    /// Whether these faults can befall it, before it is run.
    ///
    /// # Errors
    /// Says which cannot, and why.
    pub fn admits(&self, seed: u64, faults: &[Planned]) -> Result<(), NotAdmitted> {
        let Kind::World(world, _) = self.kind else {
            return Err(NotAdmitted::Drawn { scenario: self.name });
        };
        let world = world(seed);
        faults.iter().enumerate().try_for_each(|(index, planned)| {
            let (number, machines) = (index + 1, world.programs.len());
            let fault = planned.fault.clone();
            match &fault {
                _ if fault.highest() >= machines => Err(NotAdmitted::NoSuchMachine {
                    number,
                    fault,
                    last: machines.saturating_sub(1),
                }),
                _ if planned.at() >= world.lasts => {
                    Err(NotAdmitted::TooLate { number, at: planned.at(), lasts: world.lasts })
                }
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

    /// Runs one seed; where something does not hold, with the faults as few and as mild as it takes.
    #[must_use]
    pub fn run(&self, seed: u64, options: &Options) -> Outcome {
        match self.world(seed, options) {
            Some(world) => world.run(),
            None => {
                let outcome = self.decisions(options.keep_lines).run(seed);
                if outcome.ok { outcome } else { self.decisions(true).run(seed) }
            }
        }
    }

    /// Runs one seed, and does not shrink.
    #[must_use]
    pub fn run_once(&self, seed: u64, options: &Options) -> Outcome {
        match self.world(seed, options) {
            Some(world) => world.run_once(),
            None => self.decisions(options.keep_lines).run(seed),
        }
    }

    /// Runs one seed twice, and does not shrink: see [`World::run_twice`].
    #[must_use]
    pub fn run_twice(&self, seed: u64, options: &Options) -> Outcome {
        match self.world(seed, options) {
            Some(world) => world.run_twice(),
            None => self.decisions(options.keep_lines).run_twice(seed),
        }
    }

    fn world(&self, seed: u64, options: &Options) -> Option<World> {
        let Kind::World(world, mutant) = self.kind else { return None };
        let mut world = world(seed);
        if let Some(mutant) = mutant {
            world = world.mutant(mutant);
        }
        if let Some(faults) = &options.faults {
            world = world.faults(Faults::Planned(faults.clone()));
        }
        Some(if options.keep_lines { world.keep_lines() } else { world })
    }

    fn decisions(&self, keep_lines: bool) -> Decisions {
        let mut decisions = Decisions::new();
        if let Kind::Decisions(Some(mutant)) = self.kind {
            decisions = decisions.mutant(mutant);
        }
        if keep_lines { decisions.keep_lines() } else { decisions }
    }
}

fn named(mutants: &[impl fmt::Debug]) -> Vec<String> {
    mutants.iter().map(|mutant| format!("{mutant:?}")).collect()
}
