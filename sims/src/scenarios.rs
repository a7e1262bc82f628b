//! What `umbel-sim` runs.

mod standard;

pub(crate) use self::standard::all_answer;

use crate::decisions::Decisions;
use crate::fault::{Faults, Planned};
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
    Decisions,
    World(fn(u64) -> World),
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
            kind: Kind::World(standard::world),
        },
        Scenario {
            name: Decisions::NAME,
            about: "the cluster's state machines alone: three to five nodes, 20 seconds, up to twelve faults",
            kind: Kind::Decisions,
        },
    ]
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        scenarios().into_iter().find(|scenario| scenario.name == name)
    }

    /// Runs one seed.
    #[must_use]
    pub fn run(&self, seed: u64, options: &Options) -> Outcome {
        match self.kind {
            Kind::Decisions if options.keep_lines => Decisions::new().keep_lines().run(seed),
            Kind::Decisions => Decisions::new().run(seed),
            Kind::World(world) => {
                let mut world = world(seed);
                if let Some(faults) = &options.faults {
                    world = world.faults(Faults::Planned(faults.clone()));
                }
                if options.keep_lines {
                    world = world.keep_lines();
                }
                world.run()
            }
        }
    }
}
