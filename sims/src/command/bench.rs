//! `umbel-sim bench`: how fast a core runs seeds.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use umbel_sims::Options;

use crate::command::choice::{Choice, Chosen};
use crate::command::pool::caught;
use crate::command::progress::Progress;
use crate::command::report::brief;
use crate::command::time::{self, now};
use crate::command::{Ending, Trouble};

pub(crate) const HELP: &str = "\
Seeds are run one after the other, on one thread, from seed 0 on.

What --json prints, an object a line for each scenario:
  scenario
  seeds_per_minute_per_core
  sim_seconds_per_second
  seeds, seconds          how many were run, in what time

Examples:
  cargo run --release -p umbel-sims --bin umbel-sim -- bench --scenario standard --json";

#[derive(clap::Args)]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    choice: Choice,
    /// How long to measure each scenario
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time::parse)]
    time_budget: Duration,
    /// One JSON object a line, instead of a sentence
    #[arg(long)]
    json: bool,
}

/// How fast one scenario was.
#[derive(Debug, Serialize)]
struct Speed {
    scenario: &'static str,
    seeds_per_minute_per_core: f64,
    sim_seconds_per_second: f64,
    seeds: u64,
    seconds: f64,
}

pub(crate) fn bench(arguments: &BenchArguments) -> Result<Ending, Trouble> {
    if cfg!(debug_assertions) {
        eprintln!(
            "umbel-sim: this is a debug build; `cargo run --release` is several times faster"
        );
    }
    let mut all_held = true;
    for chosen in arguments.choice.chosen()? {
        let speed = measure(&chosen, arguments.time_budget, &mut all_held);
        let mut out = io::stdout().lock();
        if arguments.json {
            let line = serde_json::to_string(&speed).map_err(io::Error::from)?;
            writeln!(out, "{line}")?;
        } else {
            let Speed { scenario, seeds, seconds, .. } = speed;
            writeln!(
                out,
                "{scenario}: {:.0} seeds a minute a core, {:.0} simulated seconds a second ({seeds} \
                 seeds in {seconds:.1} s)",
                speed.seeds_per_minute_per_core, speed.sim_seconds_per_second
            )?;
        }
    }
    Ok(Ending::of(all_held))
}

fn measure(chosen: &Chosen, time: Duration, all_held: &mut bool) -> Speed {
    let (scenario, options) = (chosen.scenario, Options::default());
    let progress = Progress::endless(scenario.name);
    let (mut seeds, mut simulated) = (0, 0.0);
    let began = now();
    // At least one, or there is nothing to tell.
    let took = loop {
        let outcome = caught(&scenario, seeds, || scenario.run_once(seeds, &options));
        if !outcome.ok {
            *all_held = false;
            progress.aside(|| eprintln!("{}", brief(&outcome, chosen)));
        }
        seeds += 1;
        simulated += outcome.sim_seconds;
        let took = now() - began;
        if took >= time {
            break took.as_secs_f64();
        }
    };
    Speed {
        scenario: scenario.name,
        seeds_per_minute_per_core: seeds as f64 / took * 60.0,
        sim_seconds_per_second: simulated / took,
        seeds,
        seconds: took,
    }
}
