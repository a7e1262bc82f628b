//! What the command line of a benchmark asks for.

use std::process::exit;

/// The rounds of a full run; a quick one has [`QUICK_ROUNDS`].
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 3;
/// A quick round does this fraction of a full round's operations.
const QUICK_FRACTION: u64 = 20;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(super) json: bool,
    quick: bool,
    rounds: Option<usize>,
    pub(super) only: Option<String>,
    /// Only one round of the case of this line, with so many operations, for another process.
    pub(super) alone: Option<(String, u64)>,
    /// Which of the benchmark's own options are given.
    own: Vec<&'static str>,
}

/// An option of one benchmark: how it is given, and what it does, for the help.
pub(crate) type OwnOption = (&'static str, &'static str);

impl Options {
    /// Reads the command line. Prints the help, or what is wrong with it, and exits where need be.
    pub(crate) fn from_args(about: &str, own: &[OwnOption]) -> Self {
        match Self::parse(std::env::args().skip(1), own) {
            Ok(Some(options)) => options,
            Ok(None) => {
                print!("{about}\n\n{HELP}");
                own.iter().for_each(|(option, does)| println!("  {option:<13}{does}"));
                exit(0)
            }
            Err(why) => {
                eprintln!("error: {why}; see --help");
                exit(2)
            }
        }
    }

    /// Whether an option of the benchmark's own is given.
    #[allow(dead_code, reason = "only some benchmarks have options of their own")]
    pub(crate) fn has(&self, own: &str) -> bool {
        self.own.contains(&own)
    }

    fn parse(
        mut args: impl Iterator<Item = String>,
        own: &[OwnOption],
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            json: false,
            quick: false,
            rounds: None,
            only: None,
            alone: None,
            own: Vec::new(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                // cargo bench adds it.
                "--bench" => {}
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--rounds" => {
                    let rounds = value()?;
                    let number = rounds.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds =
                        Some(number.ok_or(format!("--rounds needs a number, not {rounds:?}"))?);
                }
                "--only" => options.only = Some(value()?),
                ALONE => {
                    let (line, ops) = (value()?, value()?);
                    let ops = ops.parse().map_err(|_| format!("{ops:?} is no number"))?;
                    options.alone = Some((line, ops));
                }
                "-h" | "--help" => return Ok(None),
                _ => match own.iter().find(|(option, _)| *option == arg) {
                    Some((option, _)) => options.own.push(option),
                    None => return Err(format!("unknown argument {arg:?}")),
                },
            }
        }
        Ok(Some(options))
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { QUICK_ROUNDS } else { ROUNDS })
    }

    pub(super) fn ops(&self, full: u64) -> u64 {
        if self.quick { (full / QUICK_FRACTION).max(1) } else { full }
    }
}

/// What a process is given that measures one round for another: the line, the operations.
pub(super) const ALONE: &str = "--alone";

const HELP: &str = "\
usage: cargo bench ... -- [OPTIONS]

  --json         one JSON object a line: bench, peer, params, ops, per_s, p50_us, p99_us, cpu_ns,
                 ratio (umbel's rate by this peer's: the median of the rounds' ratios)
  --quick        a short run, to see that everything works; its figures mean little
  --rounds N     so many rounds instead of 5 (3 when quick); the median round is reported
  --only TEXT    only cases in whose line (`ask callers=64 umbel`) TEXT occurs
  --help         this text
";
