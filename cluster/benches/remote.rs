//! Telling and asking between two processes over TLS on loopback: umbel, also with an actor that
//! handles several messages in a row, ractor_cluster, and a floor of frames into a tokio channel.
//!
//! Each round of each case has a server process and a connection of its own; starting and
//! connecting them is not measured. All peers run on two workers at either end, and over TLS 1.3
//! by aws-lc-rs. CPU time is that of both processes.
//!
//! One question after the other leaves cores with nothing to do between any two, and where those are
//! halted, to wake them takes longer than all else: with `--awake` they are kept awake while questions are
//! asked ([`awake`]). Each line tells by `awake` among its parameters whether they were.

#[path = "remote/awake.rs"]
mod awake;
#[path = "remote/floor.rs"]
mod floor;
#[path = "../../actors/benches/harness/mod.rs"]
mod harness;
#[path = "remote/ractor_cluster.rs"]
mod ractor_cluster_peer;
#[path = "remote/server.rs"]
mod server;
#[path = "remote/tls.rs"]
mod tls;
#[path = "remote/umbel.rs"]
mod umbel;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use harness::{Case, Latencies, Options, Reading, Sample, Stopwatch};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use awake::Awake;
use floor::{Floor, FloorIntoRactor};
use ractor_cluster_peer::RactorCluster;
use server::{Server, Tally, now_ns};
use umbel::Umbel;

/// One operation in so many is timed: reading the clock for each would blur the differences.
const TIMED: u64 = 16;

/// How many messages the actor of `umbel_in_a_row` handles in a row, where they wait.
const IN_A_ROW: usize = 64;

/// The option that keeps the cores awake.
const AWAKE: &str = "--awake";

type UmbelInARow = Umbel<IN_A_ROW>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|flag| flag == awake::FLAG) {
        return awake::run();
    }
    if let [_, flag, peer, files] = args.as_slice()
        && flag == server::FLAG
    {
        return match peer.as_str() {
            <Umbel>::NAME => server::run::<Umbel>(Path::new(files)),
            UmbelInARow::NAME => server::run::<UmbelInARow>(Path::new(files)),
            Floor::NAME => server::run::<Floor>(Path::new(files)),
            FloorIntoRactor::NAME => server::run::<FloorIntoRactor>(Path::new(files)),
            RactorCluster::NAME => server::run::<RactorCluster>(Path::new(files)),
            _ => panic!("there is no peer {peer:?}"),
        };
    }
    let options = Options::from_args(
        "Measures actors of two processes over TLS on loopback: umbel, ractor_cluster, and \
         length-prefixed frames into a tokio channel.",
        &[(AWAKE, "keep the cores from sleeping while questions are asked")],
    );
    let directory = tempfile::tempdir().expect("there is room for certificates");
    tls::make_files(directory.path());
    umbel::make_files(directory.path());
    harness::run(&options, cases(directory.path(), options.has(AWAKE)));
}

fn cases(files: &Path, awake: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    // A second's worth: for the first tenth of one, a new process's memory costs half as much again.
    for (bytes, ops) in [(16, 4_000_000), (1024, 1_000_000)] {
        for producers in [1, 4] {
            let load = Load { bytes, tasks: producers };
            let (bench, task) = ("remote-tell", "producers");
            let case = Subject { bench, task, files, load, ops, awake: false };
            cases.extend([
                case.with::<Umbel>(tell::<Umbel>),
                case.with::<UmbelInARow>(tell::<UmbelInARow>),
                case.with::<RactorCluster>(tell::<RactorCluster>),
                case.with::<Floor>(tell::<Floor>),
                case.with::<FloorIntoRactor>(tell::<FloorIntoRactor>),
            ]);
        }
    }
    for bytes in [16, 1024] {
        for (callers, ops) in [(1, 20_000), (64, 128_000)] {
            let load = Load { bytes, tasks: callers };
            let case = Subject { bench: "remote-ask", task: "callers", files, load, ops, awake };
            cases.extend([
                case.with::<Umbel>(ask::<Umbel>),
                case.with::<UmbelInARow>(ask::<UmbelInARow>),
                case.with::<RactorCluster>(ask::<RactorCluster>),
                case.with::<Floor>(ask::<Floor>),
                case.with::<FloorIntoRactor>(ask::<FloorIntoRactor>),
            ]);
            if bytes == 16 {
                let beside = json!({ "beside": "64 MiB" });
                cases.push(case.with::<Umbel>(ask_beside_large).variant(beside));
            }
        }
    }
    cases
}

/// What the peers are compared in.
struct Subject<'a> {
    bench: &'static str,
    /// What the tasks of the load are called.
    task: &'static str,
    files: &'a Path,
    load: Load,
    ops: u64,
    awake: bool,
}

impl Subject<'_> {
    fn with<P: Peer>(&self, measure: fn(&Path, Load, u64) -> Sample) -> Case {
        let (files, load, awake) = (self.files.to_owned(), self.load, self.awake);
        let params = json!({ "bytes": load.bytes, self.task: load.tasks });
        // Fewer operations for a slower peer, so that its rounds last about as long.
        let ops = self.ops / P::SLOWNESS;
        let round = move |ops| {
            let _awake = awake.then(Awake::keep);
            measure(&files, load, ops)
        };
        Case::new(self.bench, P::NAME, params, ops, round).under(json!({ "awake": awake }))
    }
}

/// How much is sent at once.
#[derive(Clone, Copy)]
struct Load {
    bytes: usize,
    /// The tasks that send, each one after the other.
    tasks: u64,
}

/// An actor of another process that takes tells and asks, in one of the ways that are compared.
trait Peer: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    /// About how many times slower than the others it is.
    const SLOWNESS: u64 = 1;

    /// Starts the actor in the server's process. Returns the address to connect to.
    fn serve(files: &Path, tally: Tally) -> impl Future<Output = String> + Send;

    /// Finds the actor. What was started for it ends with the runtime at the latest.
    fn connect(files: &Path, address: String) -> impl Future<Output = Self> + Send;

    fn tell(&self, payload: Payload) -> impl Future<Output = ()> + Send;

    /// Is answered with what it sent.
    fn ask(&self, payload: Payload) -> impl Future<Output = Payload> + Send;

    /// Ends when the actor has taken so many tells.
    fn counted(&self, tells: u64) -> impl Future<Output = ()> + Send;

    /// Hangs up in order.
    fn end(self) -> impl Future<Output = ()> + Send;
}

/// What is sent. Its first eight bytes may say when.
///
/// serde takes a `Vec<u8>` for a sequence of numbers; this says that they are bytes, as a user who
/// sends many of them would.
#[derive(Debug, PartialEq, Eq)]
struct Payload(Vec<u8>);

impl Payload {
    fn new(bytes: usize, timed: bool) -> Self {
        let mut payload = vec![0; bytes];
        if timed {
            payload[..8].copy_from_slice(&now_ns().to_le_bytes());
        }
        Self(payload)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Payload, E> {
                Ok(Payload(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be had")
}

/// What the work on one peer came to.
struct Worked {
    ops: u64,
    latencies: Latencies,
    reading: Reading,
}

impl Worked {
    fn new(ops: u64, latencies: Latencies, watch: Stopwatch) -> Self {
        Self { ops, latencies, reading: watch.stop() }
    }
}

/// Runs `work` against a server that was started for it; as a task, so on a worker.
fn measure<P: Peer, F>(files: &Path, work: impl FnOnce(P) -> F) -> Sample
where
    F: Future<Output = Worked> + Send + 'static,
{
    let mut server = Server::start(P::NAME, files);
    let runtime = runtime();
    let peer = runtime.block_on(async {
        let connecting = P::connect(files, server.address().to_owned());
        let peer =
            tokio::time::timeout(Duration::from_secs(30), connecting).await.expect("it connects");
        // The way there and back is known to both ends before anything counts.
        peer.ask(Payload::new(16, false)).await;
        peer
    });
    let work = work(peer.clone());
    let before = server.cpu();
    let mut worked = runtime.block_on(async { tokio::spawn(work).await.expect("no bench panics") });
    let cpu = server.cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
    for took in server.took() {
        worked.latencies.record(took);
    }
    runtime.block_on(peer.end());
    let mut sample = worked.reading.sample(worked.ops, worked.latencies);
    sample.add_cpu(cpu);
    sample
}

fn tell<P: Peer>(files: &Path, load: Load, ops: u64) -> Sample {
    measure(files, |peer: P| async move {
        let watch = Stopwatch::start();
        let share = ops / load.tasks;
        let tasks: Vec<_> = (0..load.tasks)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move {
                    for number in 0..share {
                        peer.tell(Payload::new(load.bytes, number.is_multiple_of(TIMED))).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no producer panics");
        }
        peer.counted(share * load.tasks).await;
        // How long tells were under way, their receiver knows.
        Worked::new(share * load.tasks, Latencies::new(), watch)
    })
}

fn ask<P: Peer>(files: &Path, load: Load, ops: u64) -> Sample {
    measure(files, |peer: P| asking(peer, load, ops))
}

/// As `ask`, while another actor of the server is sent one large message after the other.
fn ask_beside_large(files: &Path, load: Load, ops: u64) -> Sample {
    measure(files, |peer: Umbel| async move {
        peer.tell_large().await;
        let large = {
            let peer = peer.clone();
            tokio::spawn(async move {
                loop {
                    peer.tell_large().await;
                }
            })
        };
        let worked = asking(peer, load, ops).await;
        large.abort();
        // It is done with the peer before that hangs up.
        let _ = large.await;
        worked
    })
}

async fn asking<P: Peer>(peer: P, load: Load, ops: u64) -> Worked {
    let watch = Stopwatch::start();
    let share = ops / load.tasks;
    let latencies = Latencies::of_tasks(load.tasks, || {
        let peer = peer.clone();
        async move {
            let mut latencies = Latencies::new();
            for number in 0..share {
                let asked = number.is_multiple_of(TIMED).then(Instant::now);
                let answer = peer.ask(Payload::new(load.bytes, false)).await;
                assert_eq!(answer.0.len(), load.bytes);
                if let Some(asked) = asked {
                    latencies.record(asked.elapsed());
                }
            }
            latencies
        }
    });
    let latencies = latencies.await;
    Worked::new(share * load.tasks, latencies, watch)
}
