//! A shop of four modules: catalog, payment, ordering, notification. The same code runs as one process, as
//! four, or as two:
//!
//! ```sh
//! cargo run -p shop -- --layout monolith
//! cargo run -p shop -- --layout microservices
//! cargo run -p shop -- --layout mixed
//! ```
//!
//! Each process has an HTTP server on loopback with the routes of its modules, and a database. Where there are
//! several, they are nodes of a cluster over mutual TLS; modules call each other's services and hear each
//! other's events just as they do in one process. A process that dies is started again.

mod every;
mod launcher;
mod layout;
mod log;
mod modules;
mod process;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::launcher::{Launcher, LauncherOptions};
use crate::layout::Layout;
use crate::process::ProcessArgs;

/// A shop of four modules, in one process, in two, or in four.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How the modules are spread over processes.
    #[arg(long, value_enum, default_value = "monolith")]
    layout: Layout,
    /// Where the databases are kept [default: a temporary directory].
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// One database for all processes, instead of a file for each: postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, value_name = "URL", env = "SHOP_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// Serves the admin API of each process, for whoever shows this token.
    #[arg(long, value_name = "TOKEN", env = "SHOP_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// How long a process that has died stays down, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    restart_after: u64,
    /// Places an order over HTTP, shows what becomes of it, and ends.
    #[arg(long)]
    tour: bool,
    /// Tells what happens as a JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one process of a layout; the launcher starts it so.
    #[command(hide = true)]
    InternalProcess(ProcessArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::InternalProcess(process)) => process::run(process).await,
        None => {
            log::to_standard_error(None);
            let options = LauncherOptions {
                data: arguments.data,
                database: arguments.database,
                admin_token: arguments.admin_token,
                restart_after: std::time::Duration::from_millis(arguments.restart_after),
                tour: arguments.tour,
                json: arguments.json,
            };
            match Launcher::new(arguments.layout, options) {
                Ok(launcher) => launcher.run().await,
                Err(why) => Err(why),
            }
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("shop: {why}");
            ExitCode::FAILURE
        }
    }
}
