//! What lies between the nodes: a door for each to each other, and what is wrong with the ways.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bounds::{CONNECTIONS_MAX, TICK};
use super::carrier::Carrier;
use super::way::Way;
use crate::fault::Fault;

/// A door for each node to each other one, on loopback, and behind it what carries the connections. They
/// live in the process of the run, so whatever becomes of the nodes, what becomes of their connections is
/// decided here.
pub(super) struct Proxies {
    nodes: usize,
    ways: BTreeMap<(usize, usize), watch::Sender<Way>>,
    doors: BTreeMap<(usize, usize), String>,
    listening: Vec<watch::Sender<Option<SocketAddr>>>,
    connections: Arc<AtomicU64>,
    keepers: JoinSet<()>,
}

/// Keeps one door.
struct Keeper {
    listener: TcpListener,
    there: watch::Receiver<Way>,
    back: watch::Receiver<Way>,
    target: watch::Receiver<Option<SocketAddr>>,
    connections: Arc<AtomicU64>,
}

impl Proxies {
    /// Opens all doors, at ports that the system picks.
    ///
    /// # Errors
    /// Where the system has none to give.
    pub(super) async fn open(nodes: usize) -> io::Result<Self> {
        let listening: Vec<_> = (0..nodes).map(|_| watch::channel(None).0).collect();
        let mut ways = BTreeMap::new();
        for way in pairs(nodes) {
            ways.insert(way, watch::channel(Way::default()).0);
        }
        let (mut doors, mut keepers) = (BTreeMap::new(), JoinSet::new());
        let connections = Arc::new(AtomicU64::new(0));
        for (from, to) in pairs(nodes) {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            doors.insert((from, to), listener.local_addr()?.to_string());
            let keeper = Keeper {
                listener,
                there: ways[&(from, to)].subscribe(),
                back: ways[&(to, from)].subscribe(),
                target: listening[to].subscribe(),
                connections: connections.clone(),
            };
            keepers.spawn(keeper.keep());
        }
        Ok(Self { nodes, ways, doors, listening, connections, keepers })
    }

    /// What a node tells others of where it is: the door to it of one of them, which each takes for its own.
    pub(super) fn advertised(&self, node: usize) -> &str {
        &self.doors[&((node + 1) % self.nodes, node)]
    }

    /// From what each node advertises to the door that leads there from `node`.
    pub(super) fn doors(&self, node: usize) -> BTreeMap<String, String> {
        let others = (0..self.nodes).filter(|other| *other != node);
        others
            .map(|other| (self.advertised(other).to_owned(), self.doors[&(node, other)].clone()))
            .collect()
    }

    /// A node listens there from now on, or nowhere.
    pub(super) fn listens(&self, node: usize, at: Option<SocketAddr>) {
        self.listening[node].send_replace(at);
    }

    /// How many connections there were so far.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Fails where one of the tasks has, which is a bug here.
    pub(super) fn check(&mut self) {
        while let Some(ended) = self.keepers.try_join_next() {
            unpanic(ended);
        }
    }

    // --- Faults -----------------------------------------------------------------------------------

    /// Has a fault of the network befall the ways; false where it is another one.
    pub(super) fn spoil(&self, fault: &Fault) -> bool {
        let now = Instant::now();
        let until = |ms: &u64| now + Duration::from_millis(*ms);
        match fault {
            Fault::Cut { from, to, ms } => self.change(*from, *to, |way| way.cut(until(ms))),
            Fault::Partition { side, ms } => {
                for (from, to) in pairs(self.nodes) {
                    if side.contains(&from) != side.contains(&to) {
                        self.change(from, to, |way| way.cut(until(ms)));
                    }
                }
            }
            Fault::Stall { from, to, ms } => {
                let latest = self.connections();
                self.change(*from, *to, |way| way.stall(latest, until(ms)));
            }
            Fault::Reset { a, b } => {
                let latest = self.connections();
                self.change(*a, *b, |way| way.reset(latest));
                self.change(*b, *a, |way| way.reset(latest));
            }
            Fault::Blackhole { a, b } => self.swallow(*a, *b),
            Fault::HalfOpen { from, to, ms } => {
                self.change(*from, *to, |way| way.half_open(until(ms)));
            }
            Fault::Delay { from, to, extra_ms, ms } => {
                let extra = Duration::from_millis(*extra_ms);
                self.change(*from, *to, |way| way.delay(extra, until(ms)));
            }
            Fault::SlowLink { from, to, bytes_per_second, ms } => {
                self.change(*from, *to, |way| way.slow(*bytes_per_second, until(ms)));
            }
            _ => return false,
        }
        true
    }

    fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Way)) {
        if let Some(way) = self.ways.get(&(from, to)) {
            way.send_modify(change);
        }
    }

    fn swallow(&self, a: usize, b: usize) {
        let latest = self.connections();
        self.change(a, b, |way| way.swallow(latest));
        self.change(b, a, |way| way.swallow(latest));
    }

    /// A node is about to end with its power: nobody hears of it, and who dials it waits.
    pub(super) fn lose_power(&self, node: usize, time: Duration) {
        for other in (0..self.nodes).filter(|other| *other != node) {
            self.swallow(node, other);
            self.change(other, node, |way| way.half_open(Instant::now() + time));
        }
    }

    /// All ways are as good as they were.
    pub(super) fn mend(&self) {
        for way in self.ways.values() {
            way.send_modify(Way::mend);
        }
    }
}

impl Keeper {
    async fn keep(self) {
        let mut carried = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let dialler = tokio::select! {
                biased;
                Some(ended) = carried.join_next() => {
                    unpanic(ended);
                    continue;
                }
                dialler = self.listener.accept() => dialler,
            };
            // An error is that of one who has hung up already, or of a machine out of sockets, on which who
            // dials waits as well.
            let Ok((dialler, _)) = dialler else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let carrier = Carrier {
                number: self.connections.fetch_add(1, Ordering::Relaxed) + 1,
                there: self.there.clone(),
                back: self.back.clone(),
                target: self.target.clone(),
            };
            carried.spawn(async move {
                carrier.carry(dialler).await;
                drop(place);
            });
        }
    }
}

/// Goes on with the panic of a task, if that is how it ended.
fn unpanic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(why) = ended
        && why.is_panic()
    {
        std::panic::resume_unwind(why.into_panic());
    }
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes)
        .flat_map(move |from| (0..nodes).filter(move |to| *to != from).map(move |to| (from, to)))
}

#[cfg(test)]
#[path = "proxies_tests.rs"]
mod tests;
