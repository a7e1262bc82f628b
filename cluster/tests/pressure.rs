//! Whoever sends to one that does not read waits, and neither process grows: with real processes, a
//! stopped one and one whose actor is stalled, and senders that send as fast as they can.
//!
//! The child is this test binary again, told by its environment to be a node.

#![cfg(target_os = "linux")]

use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Notify;
use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, TellError};
use umbel_cluster::{Authority, Credentials, IssueOptions, Node, NodeConfig, Overwrite};

/// How long each sender sends; `UMBEL_PRESSURE_SECONDS` says otherwise.
const SECONDS: u64 = 2;
/// Enough for more large messages than may be under way.
const SENDERS: u64 = 18;
const SOON: Duration = Duration::from_secs(60);
const CHILD: &str = "UMBEL_PRESSURE_CHILD";
/// What is promised.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Load {
    Take(Bytes),
    Taken(Reply<u64>),
    /// Takes nothing more until the other one says so.
    Stall,
}

/// Bytes that serde takes for such: as numbers, one by one, they would keep the senders busy.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visit)
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct GoOn;

struct Taker(Arc<Notify>);

impl Actor for Taker {
    type Msg = Load;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Load>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Load>,
        load: Load,
        taken: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match load {
            Load::Take(_) => *taken += 1,
            Load::Taken(reply) => reply.send(std::mem::take(taken)),
            Load::Stall => self.0.notified().await,
        }
        Ok(())
    }
}

struct Waker(Arc<Notify>);

impl Actor for Waker {
    type Msg = GoOn;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<GoOn>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<GoOn>,
        GoOn: GoOn,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.0.notify_one();
        Ok(())
    }
}

/// A stopped process is to stay linked for as long as this takes.
fn patient() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.peers.silence_max = Duration::from_secs(600);
    config
}

async fn start(directory: &Path, name: &str, seeds: &[&str]) -> Node {
    let file = |name: String| directory.join(name);
    let credentials = Credentials::load(
        file(format!("{name}.pem")),
        file(format!("{name}-key.pem")),
        file("ca.pem".to_owned()),
    );
    let builder = Node::builder().credentials(credentials.unwrap()).listen("127.0.0.1:0");
    builder.join(seeds.iter().copied()).config(patient()).start().await.unwrap()
}

/// The child's side; a test that does nothing unless the environment says which node to be.
#[test]
fn child() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let (directory, seed) = child.split_once('|').unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = start(Path::new(directory), "receiver", &[seed]).await;
        let go_on = Arc::new(Notify::new());
        let taker = node.spawn(Taker(go_on.clone()), ()).await.unwrap();
        let waker = node.spawn(Waker(go_on), ()).await.unwrap();
        node.register("taker", &taker).await.unwrap();
        node.register("waker", &waker).await.unwrap();
        // Ends with its parent: the pipe's other end is gone then.
        let closed = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)
        });
        let _ = closed.await;
    });
}

/// A child that does not outlive its test.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The memory that a process has in use, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

struct Bench {
    _directory: tempfile::TempDir,
    _node: Node,
    process: Process,
    taker: Address<Load>,
    waker: Address<GoOn>,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create("pressure".parse().unwrap()).unwrap();
        for name in ["sender", "receiver"] {
            let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new());
            credentials.unwrap().save(directory.path(), Overwrite::Replace).unwrap();
        }
        let node = start(directory.path(), "sender", &[]).await;
        let (path, seed) = (directory.path().display(), node.address().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, format!("{path}|{seed}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        let taker = node.resolve_within(SOON, "taker").await.unwrap();
        let waker = node.resolve_within(SOON, "waker").await.unwrap();
        Self { _directory: directory, _node: node, process, taker, waker }
    }

    /// Sends as fast as can be for a while, by some who wait and one who does not, and says how much
    /// both processes grew at most. `stop` and `go_on` are done to the receiver around it.
    async fn press(&self, bytes: usize, what: &str, stop: impl AsyncFn(), go_on: impl AsyncFn()) {
        let message = move || Load::Take(Bytes(vec![7; bytes]));
        // What is needed once is no growth: connections, buffers, the heap's own room.
        for _ in 0..4 {
            self.taker.tell(message()).await.unwrap();
        }
        let mut taken = 0;
        while taken < 4 {
            taken += self.taker.ask_within(SOON, Load::Taken).await.unwrap();
        }
        stop().await;
        let processes = [std::process::id(), self.process.0.id()];
        let before = processes.map(resident);
        let mut most = before;
        let (sent, full) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let waiting: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (taker, sent) = (self.taker.clone(), sent.clone());
                tokio::spawn(async move {
                    loop {
                        taker.tell(message()).await.unwrap();
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let trying = {
            let (taker, sent, full) = (self.taker.clone(), sent.clone(), full.clone());
            tokio::spawn(async move {
                loop {
                    match taker.try_tell(message()) {
                        Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                        Err(TellError::Full(_)) => full.fetch_add(1, Ordering::Relaxed),
                        Err(why) => panic!("{why:?}"),
                    };
                    tokio::task::yield_now().await;
                }
            })
        };
        let (since, mut half_way) = (Instant::now(), None);
        let length = std::env::var("UMBEL_PRESSURE_SECONDS").ok();
        let length = length.map_or(SECONDS, |seconds| seconds.parse().unwrap());
        let length = Duration::from_secs(length);
        while since.elapsed() < length {
            for (most, process) in most.iter_mut().zip(processes) {
                *most = resident(process).max(*most);
            }
            if since.elapsed() > length / 2 {
                half_way.get_or_insert(sent.load(Ordering::Relaxed));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for task in waiting {
            assert!(!task.is_finished(), "it waits");
            task.abort();
            let _ = task.await;
        }
        assert!(!trying.is_finished());
        trying.abort();
        let _ = trying.await;
        let (sent, full) = (sent.load(Ordering::Relaxed), full.load(Ordering::Relaxed));
        let growth = [most[0] - before[0], most[1] - before[1]];
        eprintln!(
            "{what}, {bytes} bytes, {length:?}: {sent} sent, {full} refused as full; growth of the \
             sender {} KiB, of the receiver {} KiB",
            growth[0] >> 10,
            growth[1] >> 10,
        );
        assert_eq!(half_way, Some(sent), "nothing was sent in the second half");
        assert!(full > 100, "{full}");
        assert!(growth.iter().all(|bytes| *bytes < GROWTH_BYTES_MAX), "{growth:?}");
        go_on().await;
        // What was accepted arrives. One that waited may have been let in as it was given up.
        let (mut taken, since) = (0, Instant::now());
        while taken < sent {
            taken += self.taker.ask_within(SOON, Load::Taken).await.unwrap();
            assert!(since.elapsed() < SOON, "{taken} of {sent}");
        }
        assert!(taken <= sent + SENDERS, "{taken} of {sent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_to_one_that_does_not_read_waits_and_nobody_grows() {
    let bench = Bench::new().await;
    for bytes in [16, 1 << 10, 1 << 20] {
        let stop = async || bench.process.signal(Signal::STOP);
        let go_on = async || bench.process.signal(Signal::CONT);
        bench.press(bytes, "a stopped process", stop, go_on).await;
        let stop = async || bench.taker.tell(Load::Stall).await.unwrap();
        let go_on = async || bench.waker.tell(GoOn).await.unwrap();
        bench.press(bytes, "a stalled actor", stop, go_on).await;
    }
}
