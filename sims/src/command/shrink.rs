//! `umbel-sim shrink`: the fewest and mildest faults with which a seed fails.

use std::io::{self, Write};

use umbel_sims::{Options, Outcome};

use crate::command::choice::One;
use crate::command::faults::FaultsArgument;
use crate::command::pool::caught;
use crate::command::progress::Progress;
use crate::command::{Ending, Trouble};

pub(crate) const HELP: &str = "\
Prints the list as JSON to standard output, and all else to standard error. With --faults it begins
with that list instead of the seed's own faults.
Status: 1 the list is printed, 0 the seed holds and nothing is printed.

Examples:
  umbel-sim shrink 4197 > faults.json
  umbel-sim replay 4197 --faults faults.json";

#[derive(clap::Args)]
pub(crate) struct ShrinkArguments {
    /// The seed
    seed: u64,
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    faults: FaultsArgument,
}

pub(crate) fn shrink(arguments: &ShrinkArguments) -> Result<Ending, Trouble> {
    let seed = arguments.seed;
    let chosen = arguments.one.chosen()?;
    let scenario = chosen.scenario;
    scenario.admits(seed, &[]).map_err(|why| Trouble::Usage(why.to_string()))?;
    let options = Options { faults: arguments.faults.read(&scenario, seed)?, ..Options::default() };
    let progress = Progress::endless("shrinking");
    let outcome = caught(&scenario, seed, || scenario.run(seed, &options));
    drop(progress);
    if outcome.ok {
        eprintln!("{}: seed {seed} holds, so there is nothing to shrink", scenario.name);
        return Ok(Ending::Well);
    }
    let replay = chosen.replay_of(&outcome);
    let outcome = Outcome { replay: Some(replay), ..outcome };
    eprintln!("{outcome}");
    let list = serde_json::to_string_pretty(&outcome.faults).map_err(io::Error::from)?;
    writeln!(io::stdout(), "{list}")?;
    Ok(Ending::Violated)
}
