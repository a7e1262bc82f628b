//! `umbel-sim`: runs scenarios with many seeds, and replays and shrinks those that fail.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(unix)]
use umbel_sims::chaos::{self, ChaosArgs, NODE_COMMAND, NodeArgs};

use crate::command::{bench, list, replay, run, shrink};

const EXAMPLES: &str = "\
Examples:
  umbel-sim run                                  500 seeds of every scenario
  umbel-sim run --scenario standard --seeds 5000 --time-budget 3m
  umbel-sim run --from 1000 --seeds 100 --json   one JSON object a line
  umbel-sim replay 4197 --trace                  all that happened with this seed
  umbel-sim shrink 4197 > faults.json            the fewest faults with which it fails
  umbel-sim replay 4197 --faults faults.json     ... and with these, edited or not

The same seed is the same run, on every machine and in every build: of a failure, the seed and the
list of faults are all that has to be written down.
Status: 0 all held, 1 something did not, 2 usage or input, 130 ended by Ctrl-C.";

/// Simulates Umbel clusters under seeded faults
#[derive(Parser)]
#[command(name = "umbel-sim", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds; those that fail are told with their faults, and how to replay them
    #[command(after_help = run::HELP)]
    Run(run::RunArguments),
    /// Run one seed again, and tell its faults and what was found
    #[command(after_help = replay::HELP)]
    Replay(replay::ReplayArguments),
    /// Find the fewest and mildest faults with which a seed fails
    #[command(after_help = shrink::HELP)]
    Shrink(shrink::ShrinkArguments),
    /// List the scenarios, and the bugs that can be planted in them
    List,
    /// Measure how many seeds a core runs in a minute
    #[command(after_help = bench::HELP)]
    Bench(bench::BenchArguments),
    /// Run real nodes, a process each, and have real things go wrong with them
    #[cfg(unix)]
    #[command(after_help = chaos::HELP)]
    Chaos(ChaosArgs),
    #[cfg(unix)]
    #[command(name = NODE_COMMAND, hide = true)]
    ChaosNode(NodeArgs),
}

fn main() -> ExitCode {
    let command = match Arguments::parse().command {
        #[cfg(unix)]
        Command::Chaos(arguments) => return arguments.run(),
        #[cfg(unix)]
        Command::ChaosNode(arguments) => return arguments.run(),
        simulated => simulated,
    };
    if let Err(why) = umbel_sims::in_force() {
        eprintln!("umbel-sim: {why}");
        return ExitCode::from(2);
    }
    let ended = match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Shrink(arguments) => shrink::shrink(&arguments),
        Command::List => list::list(),
        Command::Bench(arguments) => bench::bench(&arguments),
        #[cfg(unix)]
        Command::Chaos(_) | Command::ChaosNode(_) => unreachable!("they have returned"),
    };
    ended.map_or_else(|trouble| trouble.tell(), |ending| ending.status())
}
