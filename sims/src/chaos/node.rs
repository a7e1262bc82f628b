//! One node, in a process of its own: what the run starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use umbel_actors::System;
use umbel_cluster::{CertsError, Credentials, Node};
use umbel_protocol::NodeName;

use super::bounds::{GOODBYE, TASKS_GONE_WITHIN, TELLS_EVERY, TICK};
use super::doors::Doors;
use super::told::{Order, Told, line};
use crate::cast::{self, Calm, CastError, Recorder, Staging};
use crate::record::Record;
use crate::scenarios::all_answer;
use crate::standing::Standing;
use crate::tap::tap;

/// What the run calls its own program with, and then [`NodeArgs`].
pub const NODE_COMMAND: &str = "internal-chaos-node";

/// How many orders wait to be carried out; the run gives few, and waits for what comes of them.
const ORDERS_WAITING_MAX: usize = 16;

/// How often a node that always has something else to tell looks at itself before it waits for the next
/// time.
const LOOKS_MAX: usize = 16;

/// As few threads as it takes for things to happen at the same time.
const WORKERS: usize = 2;

/// What a node of `umbel-sim chaos` is started with, by that command.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    #[arg(value_parser = plan)]
    plan: NodePlan,
}

/// What a node is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NodePlan {
    /// The number of its machine.
    pub(super) machine: usize,
    /// The process that starts it, with which it ends.
    pub(super) parent: u32,
    /// The seed of its system.
    pub(super) seed: u64,
    /// Where its credentials are. It removes them when it has read them.
    pub(super) credentials: PathBuf,
    /// Where others reach it.
    pub(super) advertise: String,
    /// From what others advertise to the doors that lead there from here.
    pub(super) doors: BTreeMap<String, String>,
    /// Whom it joins through.
    pub(super) join: Vec<String>,
    /// Whether its talker is to leave things as they are at first.
    pub(super) calm: bool,
}

fn plan(text: &str) -> Result<NodePlan, String> {
    serde_json::from_str(text).map_err(|why| format!("only `umbel-sim chaos` calls this: {why}"))
}

/// What a node is called on this machine.
pub(super) fn name(machine: usize) -> NodeName {
    format!("n{machine}").parse().expect("a letter and a number are a name")
}

/// Why a node did not start or not go on.
#[derive(Debug, Error)]
enum NodeError {
    #[error(transparent)]
    Certs(#[from] CertsError),
    #[error(transparent)]
    Cast(#[from] CastError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the node's system has ended by itself")]
    Ended,
}

impl NodeArgs {
    /// Is a node until told to leave, or until the run's process is no more.
    #[must_use]
    pub fn run(self) -> ExitCode {
        end_with(self.plan.parent);
        // The run keeps the last lines of each node.
        if std::env::var_os("RUST_LOG").is_some() {
            tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr).init();
        }
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
        match runtime.map_err(NodeError::from).and_then(|runtime| runtime.block_on(be(self.plan))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Has the kernel kill this process when the one that started it ends, even while this one is stopped.
#[cfg(target_os = "linux")]
fn end_with(parent: u32) {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let set = set_parent_process_death_signal(Some(Signal::KILL));
    let is_there =
        getppid().is_some_and(|now| now.as_raw_nonzero().get().cast_unsigned() == parent);
    if set.is_err() || !is_there {
        std::process::exit(1);
    }
}

/// Elsewhere, the end of the standard input has to do.
#[cfg(not(target_os = "linux"))]
fn end_with(_: u32) {}

/// Tells the run, on the standard output.
#[derive(Clone)]
struct Teller(Arc<Mutex<Output>>);

struct Output {
    file: File,
    /// How many lines were written.
    lines: u64,
}

impl Teller {
    /// # Errors
    /// Where there is no standard output.
    fn new() -> io::Result<Self> {
        // Not by `stdout`, which divides long lines into several writes.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self(Arc::new(Mutex::new(Output { file, lines: 0 }))))
    }

    /// Returns when it is written: the run reads all the time, and what it did not hear would not be
    /// judged.
    fn tell(&self, told: &Told) {
        self.0.lock().write(told);
    }

    /// Tells what `look` sees, if nothing else is told from the beginning of the look on: what is told
    /// after a record must not be older than it. False where something was.
    fn tell_at_once(&self, look: impl FnOnce() -> Told) -> bool {
        let before = self.0.lock().lines;
        let told = look();
        let mut output = self.0.lock();
        let at_once = output.lines == before;
        if at_once {
            output.write(&told);
        }
        at_once
    }
}

impl Output {
    fn write(&mut self, told: &Told) {
        if self.file.write_all(&line(told)).is_err() {
            // Nobody listens any more.
            std::process::exit(1);
        }
        self.lines += 1;
    }
}

async fn be(plan: NodePlan) -> Result<(), NodeError> {
    let (orders, mut ordered) = mpsc::channel(ORDERS_WAITING_MAX);
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || hear(&orders))?;
    let teller = Teller::new()?;
    let me = name(plan.machine);
    let credentials = Credentials::load(
        plan.credentials.join(format!("{me}.pem")),
        plan.credentials.join(format!("{me}-key.pem")),
        plan.credentials.join("ca.pem"),
    )?;
    // A key that is nowhere on the disk cannot be left there.
    std::fs::remove_dir_all(&plan.credentials)?;

    let telling = teller.clone();
    let recorder = Recorder::new(move |record| telling.tell(&Told::Record(record)));
    let telling = teller.clone();
    let listens = move |address| telling.tell(&Told::Listens(address));
    let builder = Node::builder()
        .transport(Doors::new(&credentials, plan.doors, listens))
        .system(System::builder(me.as_str()).seed(plan.seed).start())
        .listen("127.0.0.1:0")
        .advertise(plan.advertise)
        .join(plan.join);
    let calm = Calm::default();
    calm.set(plan.calm);
    let staging = Staging { calm: calm.clone(), ..Staging::default() };
    let node = cast::start(builder, recorder.clone(), staging).await?;
    recorder.record(Record::Started { node: node.id() });
    let mut tasks = JoinSet::new();
    tasks.spawn(tap(node.clone(), recorder.clone(), None));
    tasks.spawn(stand(node.clone(), plan.machine, teller.clone()));
    let stopped = node.system().stopped();
    tokio::pin!(stopped);
    loop {
        let order = tokio::select! {
            biased;
            () = &mut stopped => return Err(NodeError::Ended),
            order = ordered.recv() => order,
        };
        match order {
            Some(Order::Ask { number, players }) => {
                let (node, teller) = (node.clone(), teller.clone());
                tasks.spawn(async move {
                    let trouble = all_answer(&node, players).await.err();
                    teller.tell(&Told::Asked { number, trouble });
                });
            }
            Some(Order::Calm(on)) => calm.set(on),
            Some(Order::Leave) => break,
            // The thread that hears has ended this process, or is about to.
            None => std::future::pending().await,
        }
    }
    node.leave(GOODBYE).await;
    tasks.shutdown().await;
    let left = remaining(TASKS_GONE_WITHIN).await;
    recorder.record(Record::Left { node: node.id(), tasks: left });
    Ok(())
}

/// Hears orders. A thread of its own, so that nothing that hangs here keeps this process alive when the
/// run's is gone.
fn hear(orders: &mpsc::Sender<Order>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if let Ok(order) = serde_json::from_str(&line) {
            // Where nobody takes it, this process is at its end.
            let _ = orders.blocking_send(order);
        }
    }
    std::process::exit(1);
}

async fn stand(node: Node, machine: usize, teller: Teller) {
    let mut tick = tokio::time::interval(TELLS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for _ in 0..LOOKS_MAX {
            let look = || Told::Standing(Box::new(Standing::of(&node, machine)));
            if teller.tell_at_once(look) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until all tasks are gone, or for as long; how many are left.
async fn remaining(within: Duration) -> usize {
    let since = Instant::now();
    loop {
        let left = Handle::current().metrics().num_alive_tasks();
        if left == 0 || since.elapsed() >= within {
            return left;
        }
        tokio::time::sleep(TICK).await;
    }
}
