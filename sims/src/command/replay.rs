//! `umbel-sim replay`: one seed again.

use std::io::{self, BufWriter, Write};

use umbel_sims::{Options, Outcome};

use crate::command::choice::One;
use crate::command::faults::FaultsArgument;
use crate::command::pool::caught;
use crate::command::{Ending, Trouble};

pub(crate) const HELP: &str = "\
It is run twice: where the two runs differ, that is told, and at which event they part.

Examples:
  umbel-sim replay 4197 --trace | less
  umbel-sim replay 4197 --faults faults.json
  umbel-sim replay 4197 --faults '[{\"at_ms\":1500,\"fault\":{\"kill\":{\"node\":1,\"down_ms\":300}}}]'";

#[derive(clap::Args)]
pub(crate) struct ReplayArguments {
    /// The seed
    seed: u64,
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    faults: FaultsArgument,
    /// Tell everything that happened
    #[arg(long)]
    trace: bool,
}

pub(crate) fn replay(arguments: &ReplayArguments) -> Result<Ending, Trouble> {
    let ReplayArguments { seed, trace, .. } = *arguments;
    let scenario = arguments.one.chosen()?.scenario;
    let options = Options { faults: arguments.faults.read(&scenario, seed)?, keep_lines: trace };
    let outcome = caught(&scenario, seed, || scenario.run_twice(seed, &options));
    tell(&outcome, trace)?;
    Ok(Ending::of(outcome.ok))
}

fn tell(outcome: &Outcome, trace: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let Outcome { scenario, seed, events, sim_seconds, .. } = outcome;
    writeln!(
        out,
        "{scenario} seed {seed}: {events} events, {sim_seconds} s, trace {}",
        outcome.trace
    )?;
    for planned in &outcome.faults {
        writeln!(out, "{:>11.6}s {:?}", planned.at().as_secs_f64(), planned.fault)?;
    }
    if trace {
        for line in &outcome.lines {
            writeln!(out, "{line}")?;
        }
    }
    for violation in &outcome.violations {
        let (invariant, at) = (&violation.invariant, violation.at_seconds);
        writeln!(out, "{at:>11.6}s VIOLATED {invariant}: {}", violation.what)?;
    }
    if let Some(after) = outcome.settled_after_seconds {
        writeln!(out, "well {after:.2} s after the faults had ended")?;
    }
    out.flush()
}
