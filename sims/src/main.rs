//! `umbel-sim`: runs seeds, and replays one.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use umbel_sims::Outcome;
#[cfg(unix)]
use umbel_sims::chaos::{self, ChaosArgs, NODE_COMMAND, NodeArgs};
use umbel_sims::decisions::{Decisions, Mutant};

/// One seed in so many is run twice, and both runs must be the same.
const TWICE: u64 = 50;

/// Simulates Umbel clusters under seeded faults.
#[derive(Parser)]
#[command(name = "umbel-sim", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds one after the other; exit status 1 if one fails
    Run {
        /// How many seeds
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// One JSON object a line for each run, instead of a summary
        #[arg(long)]
        json: bool,
        /// Plant a bug, to see it caught
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
    },
    /// Run one seed again, and tell its faults and what was found
    Replay {
        /// The seed
        seed: u64,
        /// Tell everything that happened
        #[arg(long)]
        trace: bool,
        /// Plant a bug, to see it caught
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
    },
    /// Run real nodes, a process each, and have real things go wrong with them
    #[cfg(unix)]
    #[command(after_help = chaos::HELP)]
    Chaos(ChaosArgs),
    #[cfg(unix)]
    #[command(name = NODE_COMMAND, hide = true)]
    ChaosNode(NodeArgs),
}

fn main() -> ExitCode {
    let planted = |mutant| match mutant {
        Some(bug) => Decisions::new().mutant(bug),
        None => Decisions::new(),
    };
    let well = match Arguments::parse().command {
        Command::Run { seeds, from, json, mutant } => {
            run(planted(mutant), &Seeds { from, count: seeds, replay: replay_line(mutant) }, json)
        }
        Command::Replay { seed, trace, mutant } => {
            let scenario = planted(mutant);
            replay(if trace { scenario.keep_lines() } else { scenario }, seed)
        }
        #[cfg(unix)]
        Command::Chaos(args) => return args.run(),
        #[cfg(unix)]
        Command::ChaosNode(args) => return args.run(),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Which seeds are run, and how one is replayed.
struct Seeds {
    from: u64,
    count: u64,
    replay: String,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| format!("the bugs that can be planted are {:?}", Mutant::ALL))
}

fn replay_line(mutant: Option<Mutant>) -> String {
    let planted = mutant.map_or(String::new(), |mutant| format!(" --mutant {mutant:?}"));
    format!("cargo run -p umbel-sims --bin umbel-sim -- replay{planted}")
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long it took is told to a person; no run sees it"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn run(scenario: Decisions, seeds: &Seeds, json: bool) -> bool {
    let Seeds { from, count: seeds, replay } = seeds;
    let (from, seeds) = (*from, *seeds);
    let (mut failed, mut twice, mut simulated) = (0_u64, 0_u64, 0.0);
    let mut slowest: Option<(f64, u64)> = None;
    let ((), took) = timed(|| {
        for seed in from..from.saturating_add(seeds) {
            let (outcome, took) = timed(|| scenario.run(seed));
            let mut well = outcome.ok;
            if seed % TWICE == 0 {
                twice += 1;
                if scenario.run(seed).trace != outcome.trace {
                    well = false;
                    tell_parting(&scenario, seed, replay);
                }
            }
            simulated += outcome.sim_seconds;
            if let Some(after) = outcome.settled_after_seconds
                && slowest.is_none_or(|(slowest, _)| after > slowest)
            {
                slowest = Some((after, seed));
            }
            failed += u64::from(!well);
            if json {
                print_json(&outcome, well, took);
            }
            if !outcome.ok {
                tell_violations(&outcome, replay);
            }
        }
    });
    if !json {
        let last = from.saturating_add(seeds).saturating_sub(1);
        println!(
            "{}: seeds {from} to {last}, {} of {seeds} ok, {twice} run twice, {simulated:.0} s \
             simulated in {:.1} s",
            Decisions::NAME,
            seeds - failed,
            took.as_secs_f64()
        );
        if let Some((after, seed)) = slowest {
            println!("the slowest was well {after:.2} s after the faults had ended (seed {seed})");
        }
    }
    failed == 0
}

fn print_json(outcome: &Outcome, well: bool, took: Duration) {
    let mut line = serde_json::to_value(outcome).expect("an outcome is plain data");
    line["ok"] = well.into();
    line["wall_ms"] = (took.as_secs_f64() * 1000.0).into();
    println!("{line}");
}

fn tell_violations(outcome: &Outcome, replay: &str) {
    let Outcome { seed, trace, .. } = outcome;
    if let Some(first) = outcome.violations.first() {
        let (invariant, at) = (&first.invariant, first.at_seconds);
        eprintln!("FAIL seed={seed} invariant={invariant} at={at:.3}s trace={trace}");
        eprintln!("  {}", first.what);
    }
    eprintln!("replay: {replay} {seed}");
}

fn tell_parting(scenario: &Decisions, seed: u64, replay: &str) {
    eprintln!("FAIL seed={seed} two runs of it differ");
    if let Some((one, other)) = scenario.part(seed) {
        eprintln!("  first at {one}\n       not {other}");
    }
    eprintln!("replay: {replay} {seed}");
}

fn replay(scenario: Decisions, seed: u64) -> bool {
    let outcome = scenario.run(seed);
    let Outcome { events, sim_seconds, .. } = &outcome;
    println!("seed {seed}: {events} events, {sim_seconds} s, trace {}", outcome.trace);
    for planned in &outcome.faults {
        println!("{:>9.3}s {:?}", planned.at().as_secs_f64(), planned.fault);
    }
    for line in &outcome.lines {
        println!("{line}");
    }
    for violation in &outcome.violations {
        let (invariant, at) = (&violation.invariant, violation.at_seconds);
        println!("{at:>9.3}s VIOLATED {invariant}: {}", violation.what);
    }
    match outcome.settled_after_seconds {
        Some(after) => println!("well {after:.2} s after the faults had ended"),
        None => println!("never well after the faults had ended"),
    }
    outcome.ok
}
