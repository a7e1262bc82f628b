//! A node of the demo: what each process of the crew runs.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use umbel_actors::{Strategy, Supervisor};
use umbel_cluster::{Credentials, Node};
use umbel_protocol::NodeName;

use crate::demo::counter::{COUNTERS, Counter, PROGRESS};
use crate::failure::Failure;

/// How the demo calls itself to run a worker.
pub(crate) const COMMAND: &str = "internal-worker";

/// What the demo starts a worker with.
#[derive(Args, Debug)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    node: NodeName,
    #[arg(long)]
    credentials: PathBuf,
    #[arg(long)]
    join: String,
    #[arg(long)]
    counters: u16,
}

/// Joins, registers its counters, and counts until it is killed or the demo has ended.
pub(crate) async fn run(args: WorkerArgs) -> Result<(), Failure> {
    std::thread::spawn(end_with_the_demo);
    let WorkerArgs { node: name, credentials: directory, join, counters } = args;
    let credentials = Credentials::load(
        directory.join(format!("{name}.pem")),
        directory.join(format!("{name}-key.pem")),
        directory.join("ca.pem"),
    )?;
    // A key that is nowhere on the disk cannot be left there.
    let _ = fs::remove_dir_all(&directory);
    let node =
        Node::builder().credentials(credentials).listen("127.0.0.1:0").join([join]).start().await?;
    let topic = node.topic(PROGRESS).map_err(Failure::unexpected)?;
    let mut supervisor = Supervisor::new("counters", Strategy::OneForOne);
    let mut addresses = Vec::new();
    for number in 1..=counters {
        let (topic, name, node_name) = (topic.clone(), format!("counter-{number}"), name.clone());
        let counter = node.system().child(name.clone(), move || {
            let (topic, node, name) = (topic.clone(), node_name.to_string(), name.clone());
            (Counter { topic, node, name }, ())
        });
        addresses.push(counter.handle().clone());
        supervisor = supervisor.child(counter);
    }
    node.system().supervise(supervisor).await.map_err(Failure::unexpected)?;
    for address in addresses {
        node.register(COUNTERS, &address).await.map_err(Failure::unexpected)?;
    }
    node.system().stopped().await;
    Ok(())
}

/// The demo holds the other end of our standard input, and never writes: the input ends when the
/// demo does, however it does. A thread of its own, so that nothing that hangs here can keep the
/// process alive.
fn end_with_the_demo() {
    let mut nothing = [0];
    loop {
        match std::io::stdin().read(&mut nothing) {
            Ok(0) => std::process::exit(0),
            Err(why) if why.kind() != std::io::ErrorKind::Interrupted => std::process::exit(0),
            Ok(_) | Err(_) => {}
        }
    }
}
