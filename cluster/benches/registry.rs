//! What an entry of the registry takes of memory, and how fast many are known elsewhere.
//!
//! `cargo bench -p umbel-cluster --bench registry`; memory on Linux only. The nodes share a process and
//! an in-memory network: no TLS, and what one registers and what others copy can be told apart by
//! when it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message};
use umbel_cluster::{MemoryNetwork, Node, Offer, Query};
use umbel_protocol::Identity;

/// Half of what a node may register.
const ENTRIES: usize = 32_768;
const NAMES: usize = 512;

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Order;

struct Clerk;

impl Actor for Clerk {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

async fn start(network: &MemoryNetwork, name: &str, seeds: &[&str]) -> Node {
    let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
    let transport = network.transport(identity);
    let builder = Node::builder().transport(transport).listen(name).join(seeds.iter().copied());
    builder.start().await.unwrap()
}

/// Bytes of this process in memory.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

fn per_entry(before: Option<usize>) -> String {
    match (before, resident()) {
        (Some(before), Some(now)) => {
            format!("{} bytes an entry", now.saturating_sub(before) / ENTRIES)
        }
        _ => "memory is not told here".to_owned(),
    }
}

async fn until_known(node: &Node) {
    let last = Query::name(format!("orders-{}", NAMES - 1));
    while node.discover::<Order>(&last).len() < ENTRIES / NAMES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What is told of each actor besides its name: so many tags and pieces of metadata.
const LAYOUTS: [usize; 3] = [0, 2, 16];

/// Each layout has a process of its own: memory that one gave back would be another's for nothing.
fn main() {
    let layout = std::env::args().find_map(|it| it.strip_prefix("tags=")?.parse::<usize>().ok());
    let Some(tags) = layout else {
        for tags in LAYOUTS {
            let this = std::env::current_exe().expect("a running program has a file");
            let ended = Command::new(this).arg(format!("tags={tags}")).status();
            assert!(ended.is_ok_and(|status| status.success()), "the run with {tags} tags failed");
        }
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(measure(tags));
}

async fn measure(tags: usize) {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let mut clerks = Vec::new();
    for _ in 0..ENTRIES / NAMES {
        clerks.push(a.spawn(Clerk, ()).await.unwrap());
    }
    let offer = Offer {
        tags: (0..tags).map(|tag| format!("tag-{tag}")).collect::<BTreeSet<_>>(),
        metadata: (0..tags)
            .map(|it| (format!("key-{it}"), "value".into()))
            .collect::<BTreeMap<_, _>>(),
        ..Offer::default()
    };
    println!("{ENTRIES} entries, each with {tags} tags and {tags} pieces of metadata:");
    let (before, begun) = (resident(), Instant::now());
    for name in 0..NAMES {
        for clerk in &clerks {
            a.register_with(&format!("orders-{name}"), clerk, offer.clone()).await.unwrap();
        }
    }
    let took = begun.elapsed();
    println!("  registered in {took:?}, {}", per_entry(before));
    let (before, begun) = (resident(), Instant::now());
    let b = start(&network, "b", &["a"]).await;
    until_known(&b).await;
    let took = begun.elapsed();
    println!("  copied by a joining node in {took:?}, {}", per_entry(before));
    let begun = Instant::now();
    for clerk in &clerks {
        for name in 0..NAMES {
            a.unregister(&format!("orders-{name}"), clerk).await;
        }
    }
    let last = format!("orders-{}", NAMES - 1);
    while !b.discover::<Order>(last.as_str()).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("  taken back, and known elsewhere, in {:?}", begun.elapsed());
    b.leave(Duration::from_secs(5)).await;
    a.leave(Duration::from_secs(5)).await;
}
