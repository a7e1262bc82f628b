//! What `umbel-sim` runs.

mod churn;
#[cfg(feature = "command")]
mod reload;
#[cfg(feature = "command")]
mod services;
mod standard;

use std::fmt;

#[cfg(all(unix, feature = "command"))]
pub(crate) use self::standard::all_answer;
use crate::admission::{NotAdmitted, admit};
use crate::decisions::{self, Decisions};
use crate::fault::{Faults, Planned};
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
    World { world: fn(u64) -> World, mutants: &'static [Mutant], planted: Option<Mutant> },
}

/// How a seed is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// These faults, instead of those that the seed draws.
    pub faults: Option<Vec<Planned>>,
    /// Whether [`Outcome::lines`] are kept.
    pub keep_lines: bool,
}

/// All scenarios, the standard one first.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: standard::NAME,
            about: "three whole nodes for ten seconds, supervised players, asks, tells, topics; four faults",
            kind: Kind::of(standard::world, &Mutant::ALL),
        },
        Scenario {
            name: churn::NAME,
            about: "five whole nodes for twenty seconds, the same application; twelve faults",
            kind: Kind::of(churn::world, &Mutant::ALL),
        },
        #[cfg(feature = "command")]
        Scenario {
            name: services::NAME,
            about: "three whole nodes for ten seconds, services that are killed, calls of them; four faults",
            kind: Kind::of(services::world, &Mutant::OF_SERVICES),
        },
        #[cfg(feature = "command")]
        Scenario {
            name: reload::NAME,
            about: "three whole nodes for ten seconds, modules that are replaced, calls of them; four faults",
            kind: Kind::of(reload::world, &Mutant::OF_MODULES),
        },
        Scenario {
            name: Decisions::NAME,
            about: "the cluster's state machines alone: three to five nodes, 20 seconds, up to twelve faults",
            kind: Kind::Decisions(None),
        },
    ]
}

impl Kind {
    fn of(world: fn(u64) -> World, mutants: &'static [Mutant]) -> Self {
        Self::World { world, mutants, planted: None }
    }
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
            Kind::World { mutants, .. } => named(mutants),
        }
    }

    /// The scenario with a bug planted in it; `None` where it has none of that name.
    #[must_use]
    pub fn mutant(mut self, name: &str) -> Option<Self> {
        let at = self.mutants().iter().position(|mutant| mutant == name)?;
        match &mut self.kind {
            Kind::Decisions(planted) => *planted = Some(decisions::Mutant::ALL[at]),
            Kind::World { mutants, planted, .. } => *planted = Some(mutants[at]),
        }
        Some(self)
    }

    /// Whether these faults can befall it, before it is run.
    ///
    /// # Errors
    /// Says which cannot, and why.
    pub fn admits(&self, seed: u64, faults: &[Planned]) -> Result<(), NotAdmitted> {
        let Kind::World { world, .. } = self.kind else {
            return Err(NotAdmitted::Drawn { scenario: self.name });
        };
        let world = world(seed);
        admit(faults, world.programs.len(), world.lasts)
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
        let Kind::World { world, planted, .. } = self.kind else { return None };
        let mut world = world(seed);
        if let Some(mutant) = planted {
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
