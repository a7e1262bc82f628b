//! Which scenarios, with which bug planted in them.

use umbel_sims::{Outcome, Planned, Scenario, scenarios};

use crate::command::Trouble;
use crate::command::pool::has_panicked;

/// Those that the user names, or all.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// Which scenario, as `umbel-sim list` tells them; may be given several times [default: all]
    #[arg(long = "scenario", value_name = "SCENARIO", value_parser = named)]
    scenarios: Vec<Scenario>,
    /// Plant a bug, to see it caught; `umbel-sim list` tells which there are
    #[arg(long)]
    mutant: Option<String>,
}

/// The one that the user names, or the standard one.
#[derive(clap::Args)]
pub(crate) struct One {
    /// Which scenario, as `umbel-sim list` tells them
    #[arg(long, default_value = "standard", value_parser = named)]
    scenario: Scenario,
    /// Plant a bug, to see it caught; `umbel-sim list` tells which there are
    #[arg(long)]
    mutant: Option<String>,
}

/// A scenario, and what was planted in it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) scenario: Scenario,
    mutant: Option<String>,
}

impl Choice {
    /// What is to be run. With a bug to plant and no scenario named, those that have this bug.
    pub(crate) fn chosen(&self) -> Result<Vec<Chosen>, Trouble> {
        let mut named: Vec<Scenario> = Vec::new();
        for scenario in &self.scenarios {
            if named.iter().all(|other| other.name != scenario.name) {
                named.push(*scenario);
            }
        }
        match &self.mutant {
            Some(mutant) if named.is_empty() => {
                let having = |scenario| planted(scenario, Some(mutant)).ok();
                let chosen: Vec<_> = scenarios().into_iter().filter_map(having).collect();
                if chosen.is_empty() { Err(no_mutant(mutant, &scenarios())) } else { Ok(chosen) }
            }
            mutant => {
                let named = if named.is_empty() { scenarios() } else { named };
                named.into_iter().map(|scenario| planted(scenario, mutant.as_ref())).collect()
            }
        }
    }
}

impl One {
    pub(crate) fn chosen(&self) -> Result<Chosen, Trouble> {
        planted(self.scenario, self.mutant.as_ref())
    }
}

impl Chosen {
    /// The line that replays one of its seeds, with these faults where they are not the seed's own.
    pub(crate) fn replay(&self, seed: u64, faults: Option<&[Planned]>) -> String {
        let mut line = format!(
            "cargo run -p umbel-sims --bin umbel-sim -- replay {seed} --scenario {}",
            self.scenario.name
        );
        if let Some(mutant) = &self.mutant {
            line += &format!(" --mutant {mutant}");
        }
        if let Some(faults) = faults {
            let faults = serde_json::to_string(faults).expect("faults are plain data");
            line += &format!(" --faults '{faults}'");
        }
        line
    }

    /// The line that replays an outcome which may have been shrunk.
    pub(crate) fn replay_of(&self, outcome: &Outcome) -> String {
        let has_list =
            !has_panicked(outcome) && self.scenario.admits(outcome.seed, &outcome.faults).is_ok();
        self.replay(outcome.seed, has_list.then_some(&outcome.faults))
    }
}

fn named(name: &str) -> Result<Scenario, String> {
    Scenario::named(name).ok_or_else(|| {
        let names: Vec<_> = scenarios().iter().map(|scenario| scenario.name).collect();
        format!("the scenarios are {}", names.join(", "))
    })
}

fn planted(scenario: Scenario, mutant: Option<&String>) -> Result<Chosen, Trouble> {
    let planted = match mutant {
        Some(mutant) => scenario.mutant(mutant).ok_or_else(|| no_mutant(mutant, &[scenario]))?,
        None => scenario,
    };
    Ok(Chosen { scenario: planted, mutant: mutant.cloned() })
}

fn no_mutant(mutant: &str, scenarios: &[Scenario]) -> Trouble {
    let having = |scenario: &Scenario| match scenario.mutants() {
        none if none.is_empty() => format!("{} has none", scenario.name),
        some => format!("{} has {}", scenario.name, some.join(", ")),
    };
    let having: Vec<_> = scenarios.iter().map(having).collect();
    Trouble::Usage(format!("there is no bug `{mutant}` to plant: {}", having.join("; ")))
}
