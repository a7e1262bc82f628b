//! `umbel-sim shrink`: the fewest and mildest faults with which a seed fails.

use std::io::{self, Write};

use umbel_sims::{Options, Outcome, Planned};

use crate::command::choice::One;
use crate::command::faults::FaultsArgument;
use crate::command::pool::{caught, has_panicked};
use crate::command::progress::Progress;
use crate::command::{Ending, Trouble};

pub(crate) const HELP: &str = "\
Prints the list as JSON to standard output, and all else to standard error. With --faults it begins
with that list instead of the seed's own faults.
Status: 1 the list is printed, 0 the seed holds and nothing is printed. A run that panics is not shrunk.

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
    if has_panicked(&outcome) {
        return Ok(Ending::Violated);
    }
    writeln!(io::stdout(), "{}", list(&outcome.faults)?)?;
    Ok(Ending::Violated)
}

/// A list that one can edit: a fault a line.
fn list(faults: &[Planned]) -> io::Result<String> {
    let lines: Vec<_> = faults.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(if lines.is_empty() { "[]".to_owned() } else { format!("[\n  {}\n]", lines.join(",\n  ")) })
}

#[cfg(test)]
mod tests {
    use umbel_sims::Fault;

    use super::*;

    #[test]
    fn a_list_has_a_line_for_each_fault_and_is_read_as_it_was_written() {
        let reset = |at_ms| Planned { at_ms, fault: Fault::Reset { a: 0, b: 1 } };
        for faults in [vec![], vec![reset(1)], vec![reset(1), reset(2)]] {
            let text = list(&faults).expect("faults are plain data");
            let read: Vec<Planned> = serde_json::from_str(&text).expect("it is JSON");
            assert_eq!((&read, text.matches("reset").count()), (&faults, faults.len()));
        }
    }
}
