//! `umbel node`: runs one node until it is told to end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use umbel_actors::{Signal, Signals};
use umbel_cluster::Node;
use umbel_protocol::NodeId;

use crate::failure::Failure;
use crate::logging;
use crate::node::certificates::Certificates;
use crate::node::config::Config;

mod certificates;
mod config;
mod span;

/// A configuration to begin with.
pub(crate) const EXAMPLE: &str = include_str!("node/example.toml");

/// How long a node has to leave unless it is told otherwise.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// What `umbel node` is told.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE", required_unless_present = "example_config")]
    config: Option<PathBuf>,
    /// Print what happens as one JSON object a line
    #[arg(long)]
    json: bool,
    /// Print a configuration to begin with, with all that can be set, and end
    #[arg(long, exclusive = true)]
    example_config: bool,
}

/// Runs the node. It leaves when it is told to end; told a second time, it does not wait. A hangup has a
/// node with certificates read them again; one for development, which has none, it ends.
pub(crate) async fn run(args: NodeArgs) -> Result<(), Failure> {
    let Some(file) = args.config.filter(|_| !args.example_config) else {
        return Ok(io::stdout().write_all(EXAMPLE.as_bytes())?);
    };
    let config = Config::read(&file)?;
    logging::start(config.log()?)?;
    let mut signals = Signals::new()?;
    let node = config.builder(&file)?.start().await?;
    let leave_deadline = config.bounds.leave_deadline.map_or(LEAVE_DEADLINE, |span| span.0);
    let mut certificates = Certificates::of(&node, &config, &file, args.json);
    let outcome = tokio::select! {
        told = until_told(&mut signals, certificates.as_mut()) => told,
        failure = follow(&node, args.json) => Err(failure),
    };
    let left = tokio::select! {
        report = node.leave(leave_deadline) => {
            if report.is_clean() { Ok(()) } else {
                let message = format!("not all actors stopped within {leave_deadline:?}: {report}");
                Err(Failure::new(message, "give them longer with `bounds.leave_deadline`"))
            }
        }
        signal = signals.next() => Err(Failure::Ended(signal.exit_status())),
    };
    outcome.and(left)
}

/// Waits for a signal that ends the node, and looks after its certificates meanwhile.
async fn until_told(
    signals: &mut Signals,
    mut certificates: Option<&mut Certificates<'_>>,
) -> Result<(), Failure> {
    loop {
        let look = async {
            match &mut certificates {
                Some(certificates) => certificates.due().await,
                None => std::future::pending().await,
            }
        };
        let signal = tokio::select! {
            signal = signals.next() => Some(signal),
            () = look => None,
        };
        match (signal, &mut certificates) {
            (None, None) => {}
            (None, Some(certificates)) => certificates.reread(false).await?,
            (Some(Signal::Hangup), Some(certificates)) => certificates.reread(true).await?,
            (Some(_), _) => return Ok(()),
        }
    }
}

/// Tells where the node listens and whom it is linked with, until that cannot be told or the node's
/// system has ended.
async fn follow(node: &Node, json: bool) -> Failure {
    let told = async {
        started(node, json)?;
        let mut known: Vec<NodeId> = Vec::new();
        loop {
            let linked = node.links_changed(&known).await;
            for peer in linked.iter().filter(|peer| !known.contains(peer)) {
                link(peer, true, json)?;
            }
            for peer in known.iter().filter(|peer| !linked.contains(peer)) {
                link(peer, false, json)?;
            }
            known = linked;
        }
    };
    tokio::select! {
        told = told => match told {
            Err(why) => why,
            Ok(never) => never,
        },
        () = node.system().stopped() => Failure::new(
            "the node has stopped by itself",
            "see why with RUST_LOG=debug",
        ),
    }
}

fn started(node: &Node, json: bool) -> Result<(), Failure> {
    let (id, address) = (node.id(), node.address());
    let line = if json {
        let (name, incarnation) = (id.name.as_str(), id.incarnation.0);
        let event = json!({"event": "started", "node": name, "incarnation": incarnation, "address": address});
        event.to_string()
    } else {
        match address {
            Some(address) => format!("{id} listens on {address}"),
            None => format!("{id} dials, and does not listen"),
        }
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn link(peer: &NodeId, is_up: bool, json: bool) -> Result<(), Failure> {
    let line = if json {
        let (name, incarnation) = (peer.name.as_str(), peer.incarnation.0);
        let event = if is_up { "linked" } else { "unlinked" };
        json!({"event": event, "node": name, "incarnation": incarnation}).to_string()
    } else if is_up {
        format!("linked with {peer}")
    } else {
        format!("no longer linked with {peer}")
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}
