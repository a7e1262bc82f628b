//! The command line of Umbel: `umbel demo`, `umbel node`, `umbel certs`.

mod certs;
mod demo;
mod failure;
mod logging;
mod node;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  umbel demo                                see three nodes count words, and one of them die
  umbel certs new-ca --cluster shop --dir ca
  umbel certs issue --dir ca --node a       certificates for a cluster of one's own
  umbel node --example-config > node.toml   a configuration to begin with
  umbel node --config node.toml             run a node until Ctrl-C or SIGTERM

Logs go to standard error; RUST_LOG says what is logged, as in RUST_LOG=umbel=debug.
Status: 0 done, 1 the demo's counts are wrong, 2 usage or input, 128+N ended by signal N.";

const DEMO_HELP: &str = "\
What happens:
  Each node is a process of its own, linked with the others over mutual TLS on loopback, with
  certificates that are made for this run. An intake reads the files in batches of lines, and asks
  counters on the nodes, found through the registry and chosen by key, to count each batch. In the
  middle a node is killed with SIGKILL. Whatever it had not answered is asked again of others, and
  a fresh node takes its place. In the end the counts are compared, word by word, with those of a
  plain single-threaded count of the same files.

  A word is a maximal run of Unicode alphanumeric characters, in lower case. Bytes that are not
  UTF-8 separate words. A word of more than 64 KiB is known by its beginning, length and hash.

What --json prints, as one object:
  files, lines, words, distinct   what was read and counted; a file counted twice is two files
  correct                         whether every word's count is that of the plain count
  nodes, killed                   how many nodes count; the name of the killed one, or null
  detected_in_ms                  from the kill until the registry lists its counters no more
  recovered_in_ms                 from the kill until, besides, all that it had in hands has been
                                  counted by others and a fresh node's counters are listed
  batches_resent                  how often a batch was handed out that had been handed out before
  seconds                         how long all of it took, the plain count included
Empty input has no middle: then nobody is killed, and killed is null.

Status: 0 correct, 1 not correct, 2 usage or input, 128+N ended by signal N.

Examples:
  umbel demo                                umbel's own pages, 1000 times over
  umbel demo --nodes 5 --kill node-2 book.txt
  zcat log.gz | umbel demo --json -";

const NODE_USAGE: &str = "umbel node --config <FILE> [--json]
       umbel node --example-config";

const NODE_HELP: &str = "\
Examples:
  umbel node --example-config > node.toml
  umbel node --config node.toml
  UMBEL_LISTEN=127.0.0.1:0 umbel node --config node.toml    the environment overrides the file

A cluster on one machine, without certificates of one's own, in two files:
  dev = true                     dev = true
  name = \"a\"                     name = \"b\"
  listen = \"127.0.0.1:7401\"      join = [\"127.0.0.1:7401\"]

All that can be set is in `umbel node --example-config`.";

const CERTS_HELP: &str = "\
Examples:
  umbel certs new-ca --cluster shop --dir ca
  umbel certs issue --dir ca --node a --days 365 --out certs/a
  umbel certs show certs/a/a.pem

A node is admitted if an authority of its cluster has signed its certificate, and is who the
certificate says: umbel://shop/a. Nothing is ever overwritten.";

/// Actors on many machines, over mutual TLS
#[derive(Debug, Parser)]
#[command(name = "umbel", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count words on several nodes, kill one of them in the middle, and still get it right
    #[command(after_help = DEMO_HELP)]
    Demo(demo::DemoArgs),
    /// Run one node until it is told to end
    #[command(override_usage = NODE_USAGE, after_help = NODE_HELP)]
    Node(node::NodeArgs),
    /// Make an authority and certificates for a cluster of one's own
    #[command(subcommand, after_help = CERTS_HELP)]
    Certs(certs::CertsCommand),
    /// Not named after the demo: who mistypes that is offered what is like it.
    #[command(name = demo::worker::COMMAND, hide = true)]
    DemoWorker(demo::worker::WorkerArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli.command).unwrap_or_else(|failure| ExitCode::from(failure.report()))
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        // Its configuration says what it logs.
        Command::Node(_) => {}
        // Links that break are what one came to see, and are told on the screen.
        Command::Demo(_) | Command::DemoWorker(_) => logging::start("error")?,
        Command::Certs(_) => logging::start("warn")?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::unexpected)?;
    let ended = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args).await,
            Command::DemoWorker(args) => demo::worker::run(args).await.map(done),
            Command::Node(args) => node::run(args).await.map(done),
            Command::Certs(command) => certs::run(command).map(done),
        }
    });
    // A thread that reads a slow file is not waited for.
    runtime.shutdown_background();
    ended
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
