//! `umbel-sim run`: many seeds.

use std::io::{self, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use umbel_sims::{Options, Outcome};

use crate::command::choice::{Choice, Chosen};
use crate::command::interrupt::{Interrupt, Received};
use crate::command::pool::{Done, Jobs, Pool, caught};
use crate::command::progress::Progress;
use crate::command::report::{Line, Tally, brief};
use crate::command::time::{self, now};
use crate::command::{Ending, Trouble};

pub(crate) const HELP: &str = "\
Of each scenario the first seed of fifty is run twice, and the two runs must be the same.
The first three seeds that fail are told with the fewest faults that it takes, what happened last, and
the line that replays them; of the others one line each. Failures go to standard error.

What --json prints, an object a line, in the order of the seeds:
  scenario, seed, ok      what was run, and whether all held
  trace                   the hash of all that happened: the same seed gives the same one
  sim_seconds, wall_ms    how much time was simulated, and how long it took
  events, violations, ... and more

Examples:
  umbel-sim run --seeds 2000 --time-budget 3m
  umbel-sim run --scenario decisions --from 500 --json | jq .trace
  umbel-sim run --scenario decisions --mutant LosesMessages --seeds 20   sees a planted bug caught";

/// How many failures are told in full.
const TOLD_IN_FULL: u64 = 3;

/// How many threads there may be; each run has one more.
const THREADS_MAX: u64 = 1024;

#[derive(clap::Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    choice: Choice,
    /// How many seeds of each scenario
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    from: u64,
    /// How many at a time [default: as many as there are processors]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    jobs: Option<u64>,
    /// Begin no further seed after this time, such as 90s or 3m
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    time_budget: Option<Duration>,
    /// One JSON object a line for each run, instead of a summary
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &RunArguments) -> Result<Ending, Trouble> {
    let RunArguments { from, seeds, json, .. } = *arguments;
    let chosen = arguments.choice.chosen()?;
    let threads = arguments.jobs.map_or_else(processors, |jobs| jobs as usize);
    let began = now();
    let jobs = Jobs::new(chosen.iter().map(|chosen| chosen.scenario).collect(), from, seeds);
    let tally = |chosen: &Chosen| Tally::new(chosen.scenario.name, from, seeds);
    let mut report = Report {
        json,
        progress: Progress::of(jobs.how_many()),
        tallies: chosen.iter().map(tally).collect(),
        chosen,
        interrupt: Interrupt::listen().map_err(no_thread)?,
    };
    let until = arguments.time_budget.map(|budget| began + budget);
    let mut pool = Pool::start(jobs, threads, until).map_err(no_thread)?;
    let ended = loop {
        match pool.next(&report.interrupt) {
            Received::This(done) => report.add(done)?,
            ended => break ended,
        }
    };
    let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let took = format!("{:.1} s on {threads}", (now() - began).as_secs_f64());
    let interrupted = matches!(ended, Received::Interrupted);
    report.conclude(interrupted, &took)?;
    let failed = report.failed();
    Ok(if interrupted { Ending::Interrupted } else { Ending::of(failed == 0) })
}

/// What is told while seeds are run.
struct Report {
    json: bool,
    progress: Progress,
    chosen: Vec<Chosen>,
    tallies: Vec<Tally>,
    interrupt: Interrupt,
}

impl Report {
    fn failed(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.failed).sum()
    }

    fn add(&mut self, done: Done) -> io::Result<()> {
        self.tallies[done.job.index].add(&done);
        self.progress.step(self.failed());
        if self.json {
            let line = serde_json::to_string(&Line::of(&done)).map_err(io::Error::from)?;
            self.progress.aside(|| writeln!(io::stdout(), "{line}"))?;
        }
        if !done.outcome.ok {
            let chosen = &self.chosen[done.job.index];
            let told = match self.failed() {
                ..=TOLD_IN_FULL => self.in_full(&done, chosen),
                _ => brief(&done.outcome, chosen),
            };
            self.progress.aside(|| eprintln!("{told}"));
        }
        Ok(())
    }

    /// All that helps to understand a failure; a line where Ctrl-C is pressed meanwhile.
    fn in_full(&self, done: &Done, chosen: &Chosen) -> String {
        let told = |mut outcome: Outcome, replay: String| {
            outcome.replay = Some(replay);
            format!("{outcome}\n")
        };
        let (seed, scenario) = (done.job.seed, done.job.scenario);
        if done.outcome.has_parted() {
            return told(done.outcome.clone(), chosen.replay(seed, None));
        }
        // On a thread of its own: it takes some dozens of runs.
        let (shrunk, coming) = channel();
        let shrinks = std::thread::Builder::new().name("shrink".to_owned()).stack_size(16 << 20);
        let shrinks = shrinks.spawn(move || {
            let smallest = caught(&scenario, seed, || scenario.run(seed, &Options::default()));
            // After Ctrl-C nobody waits for it.
            let _ = shrunk.send(smallest);
        });
        match self.interrupt.wait_for(&coming) {
            Received::This(smallest) if !smallest.ok && shrinks.is_ok() => {
                let replay = chosen.replay_of(&smallest);
                told(smallest, replay)
            }
            Received::This(_) => {
                let well = "  run once more, it holds: something depends on more than the seed\n";
                told(done.outcome.clone(), chosen.replay(seed, None)) + well
            }
            Received::End | Received::Interrupted => brief(&done.outcome, chosen),
        }
    }

    fn conclude(&self, interrupted: bool, took: &str) -> io::Result<()> {
        let mut text = String::new();
        for tally in &self.tallies {
            text += &format!("{}\n", tally.summary());
        }
        let cut_short = self.tallies.iter().any(Tally::is_cut_short);
        text += match (interrupted, cut_short) {
            (true, _) => "ended by Ctrl-C after ",
            (false, true) => "the time was over after ",
            (false, false) => "in ",
        };
        self.progress.aside(|| {
            if self.json {
                eprintln!("{text}{took}");
                Ok(())
            } else {
                writeln!(io::stdout(), "{text}{took}")
            }
        })
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn no_thread(why: io::Error) -> Trouble {
    Trouble::Usage(format!("could not start a thread: {why}; run fewer --jobs at a time"))
}
