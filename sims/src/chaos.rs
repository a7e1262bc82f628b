//! The cast on real processes: SIGKILL, SIGSTOP, and connections that are cut, held, swallowed and reset.
//!
//! Each node is a process of its own, this very program again, and speaks TCP with mutual TLS on loopback.
//! Between every two of them lies a proxy for each direction of dialling, which lives in the process of the
//! run. What the nodes see and do comes over pipes and is judged by the same invariants as in a simulated
//! world. Nothing here can be replayed: a seed draws the same faults at the same times again, and the
//! machine does with them what it does.

mod bounds;
mod carrier;
mod crew;
mod doors;
mod faults;
mod machine;
mod node;
mod ordeal;
mod peace;
mod proxies;
mod screen;
mod tally;
mod told;
mod way;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use thiserror::Error;
use tokio::runtime::Builder;
use umbel_actors::{Clock, Signal, Signals, WallClock};

use self::bounds::SETTLES_WITHIN_SECONDS;
use self::crew::CrewError;
pub use self::node::{NODE_COMMAND, NodeArgs};
use self::ordeal::{Ordeal, Plan};
use self::screen::Screen;
use self::tally::Tally;

/// What the run is called where it is reported.
const NAME: &str = "chaos";

/// The threads that carry what the nodes send; the run itself has its own.
const WORKERS: usize = 2;

/// What stands below the options in `umbel-sim chaos --help`.
pub const HELP: &str = "\
What happens:
  Each node is a process of its own, linked with the others over TCP and mutual TLS on loopback, with
  certificates that are made for this run. Their connections pass through proxies. Processes are killed,
  stopped and told to leave; connections are cut, held, delayed, swallowed and reset, and new ones never
  answered. Every 20 to 30 seconds all of it pauses, and all must be well in time: all nodes agree on
  members, links, registry and topics, and each is answered by every player on every node. What they see
  and do is judged all along by the invariants of the simulation.

  The same seed draws the same faults at the same times, and the machine does with them what it does:
  this cannot be replayed.

What --json prints, as one object:
  scenario, seed, ok, nodes, seconds   as they were
  faults                               how many of each kind
  recoveries_seconds                   for each pause, how long it took until all was well
  processes, connections, records      how many there were
  sent, received, heard                messages, and publications by subscribers
  asked, answered, wrong, failed       questions, those that failed by reason
  renewed, restarted                   nodes that went on as another life; restarts by supervisors
  violations                           what did not hold; the run ends with the first

Status: 0 all held, 1 something did not, 2 usage, 128+N ended by signal N.

Examples:
  umbel-sim chaos --minutes 10
  umbel-sim chaos --seconds 30 --nodes 5 --seed 7 --json
  RUST_LOG=umbel=debug umbel-sim chaos   with the nodes' logs among the last lines of a failure";

/// What `umbel-sim chaos` is told.
#[derive(Args, Clone, Debug)]
pub struct ChaosArgs {
    /// For how many minutes things go wrong: 1 to 1440 [default: 10]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: Option<u64>,
    /// The same in seconds: 1 to 86400
    #[arg(long, value_name = "S", conflicts_with = "minutes",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// How many nodes, each a process of its own: 2 to 9
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=9))]
    nodes: u16,
    /// What the faults are drawn from [default: another one each time]
    #[arg(long, value_name = "K")]
    seed: Option<u64>,
    /// How many seconds after the faults all must be well: 0 to 3600
    #[arg(long, value_name = "S", default_value_t = SETTLES_WITHIN_SECONDS,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    settles_within: u64,
    /// Print one JSON object at the end, and nothing else
    #[arg(long)]
    json: bool,
    /// Panic after so many milliseconds, to see that nothing is left behind
    #[arg(long, hide = true)]
    panic_after: Option<u64>,
}

/// Why there was no run, or none to its end.
#[derive(Debug, Error)]
enum ChaosError {
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("ended by {0}")]
    Signal(Signal),
}

impl ChaosArgs {
    /// Runs it. The status is 0 where all held, 1 where something did not or the run was not to be had,
    /// and 128 and the signal's number where a signal has ended it. When this returns, no process and no
    /// directory is left.
    ///
    /// It must be called on a thread that ends no sooner than the process: the kernel kills the nodes when
    /// it does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
        let done =
            runtime.map_err(ChaosError::from).and_then(|runtime| runtime.block_on(self.endure()));
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(ChaosError::Signal(signal)) => ExitCode::from(signal.exit_status()),
            Err(why) => {
                // Where nobody reads that either, the status says it.
                let _ = writeln!(io::stderr(), "error: {why}");
                ExitCode::FAILURE
            }
        }
    }

    fn plan(&self) -> Plan {
        let minutes = self.minutes.unwrap_or(10);
        Plan {
            nodes: usize::from(self.nodes),
            seed: self.seed.unwrap_or_else(|| WallClock.now().as_micros() as u64),
            lasts: Duration::from_secs(self.seconds.unwrap_or(minutes * 60)),
            settles_within: Duration::from_secs(self.settles_within),
        }
    }

    async fn endure(&self) -> Result<bool, ChaosError> {
        let mut signals = Signals::new()?;
        let plan = self.plan();
        let screen = Screen { is_silent: self.json };
        screen.say(Duration::ZERO, &format!("{} nodes, seed {}", plan.nodes, plan.seed))?;
        let mut ordeal = Ordeal::new(plan, screen).await?;
        let panic = async {
            match self.panic_after {
                Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            biased;
            signal = signals.next() => Err(ChaosError::Signal(signal)),
            () = panic => panic!("as was asked for"),
            done = ordeal.run() => done.map_err(ChaosError::from),
        };
        ordeal.dismiss().await;
        done?;
        let last = ordeal.last_lines();
        let tally = ordeal.finish();
        if !tally.ok {
            write!(io::stderr(), "{}", failure(&tally, &last))?;
        }
        let told = if self.json {
            serde_json::to_string(&tally).expect("a tally has names for keys")
        } else {
            tally.to_string()
        };
        writeln!(io::stdout(), "{told}")?;
        Ok(tally.ok)
    }
}

/// What did not hold, and the last that each node has told.
fn failure(tally: &Tally, last: &[String]) -> String {
    let mut told = String::new();
    for violation in &tally.violations {
        let (invariant, at, what) = (&violation.invariant, violation.at_seconds, &violation.what);
        let seed = tally.seed;
        let _ =
            writeln!(told, "FAIL {NAME} seed={seed} invariant={invariant} at={at:.3}s\n  {what}");
    }
    for line in last {
        let _ = writeln!(told, "  {line}");
    }
    told
}
