//! Starting and restarting supervised children, beside plain ractor actors.
//!
//! Everything runs on a runtime with two workers, made anew for each round of each case. The
//! children are the same actor everywhere; ractor's are linked to a parent by plain
//! `Actor::spawn_linked`, one after the other for each caller, in tasks beside the parent, which
//! takes their events meanwhile. The caller keeps what it has started, as a supervisor does.
//!
//! A start counts as through when the child has run its `post_start`, for either peer: otherwise
//! it would hang on luck how much of a child's start is left over when the clock is stopped, as a
//! spawned task runs when a worker finds the time.
//!
//! Most of what is measured is the memory of new actors, 11 KB each. So each round of starts has a
//! process of its own: one that finds the pages of the round before is up to three times as fast.
//!
//! `start_child` is a request through the supervisor's mailbox, and its answer: what a caller
//! waits for is two switches between tasks beside the spawn, where ractor's `spawn_linked` runs in
//! the caller itself and never waits. So one supervisor starts one child at a time, however many
//! callers there are, where ractor's callers spawn side by side; children that are declared need
//! none of that (`start_static`).

#[path = "../../actors/benches/harness/mod.rs"]
mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use harness::{Case, Latencies, Options, Sample, Stopwatch};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde_json::json;
use tokio::{
    runtime::Runtime,
    sync::{Notify, mpsc},
    time::Instant,
};
use umbel_supervision::{ChildSpec, Happening, Observed, Shutdown, Strategy, Supervisor};

const CHILDREN: u64 = 100_000;
const RESTARTS: u64 = 20_000;
/// Restarts that are not counted, after which all is as it will be.
const WARM_UP: u64 = 1_000;

fn main() {
    let options = Options::from_args(
        "Measures supervision: starting children, static and dynamic, beside ractor's \
         spawn_linked; restarting one child among few and among many.",
        &[],
    );
    let mut cases = Vec::new();
    cases.extend([
        Case::new("start_static", "umbel", json!({}), CHILDREN, start_static).apart(),
        Case::new("start_static", "ractor", json!({}), CHILDREN, spawn_linked_static).apart(),
    ]);
    for callers in [1, 8] {
        let params = || json!({ "callers": callers });
        cases.extend([
            Case::new("start_child", "umbel", params(), CHILDREN, move |ops| {
                start_dynamic(ops, callers)
            })
            .apart(),
            Case::new("start_child", "ractor", params(), CHILDREN, move |ops| {
                spawn_linked(ops, callers)
            })
            .apart(),
        ]);
    }
    // The second is the first one's peer, so that they run in turn.
    cases.extend([10, 10_000].map(|among| {
        Case::new("restart", "umbel", json!({}), RESTARTS, move |ops| restart(ops, among))
            .variant(json!({ "among": among }))
    }));
    harness::run(&options, cases);
}

struct Child;

enum Order {
    Fail,
}

impl ractor::Message for Order {}

impl Actor for Child {
    type Msg = Order;
    type State = Told;
    type Arguments = Told;

    async fn pre_start(
        &self,
        myself: ActorRef<Order>,
        told: Told,
    ) -> Result<Told, ActorProcessingErr> {
        if let Told::Incarnation(incarnations) = &told {
            incarnations.send(myself)?;
        }
        Ok(told)
    }

    async fn post_start(
        &self,
        _: ActorRef<Order>,
        told: &mut Told,
    ) -> Result<(), ActorProcessingErr> {
        if let Told::Arrival(arrivals) = told {
            arrivals.one_more();
        }
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Order>,
        Order::Fail: Order,
        _: &mut Told,
    ) -> Result<(), ActorProcessingErr> {
        Err("as told".into())
    }
}

/// Who is told of a child that has started.
#[derive(Clone)]
enum Told {
    Incarnation(mpsc::UnboundedSender<ActorRef<Order>>),
    Arrival(Arc<Arrivals>),
}

/// Counts the children that are really there.
struct Arrivals {
    missing: AtomicU64,
    complete: Notify,
}

impl Arrivals {
    fn of(children: u64) -> Arc<Self> {
        Arc::new(Self { missing: AtomicU64::new(children), complete: Notify::new() })
    }

    fn one_more(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }
}

/// What ractor's children are linked to.
struct Parent;

impl Actor for Parent {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn measure<F>(work: F) -> Sample
where
    F: Future<Output = Sample> + Send + 'static,
{
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async { tokio::spawn(work).await.expect("no bench panics") })
}

fn child(name: String, told: Told) -> ChildSpec {
    ChildSpec::actor(name, move || (Child, told.clone())).shutdown(Shutdown::BrutalKill)
}

fn start_static(ops: u64) -> Sample {
    measure(async move {
        let arrivals = Arrivals::of(ops);
        let mut root = Supervisor::new("root", Strategy::OneForOne);
        for n in 0..ops {
            root = root.child(child(format!("c{n}"), Told::Arrival(arrivals.clone())));
        }
        let watch = Stopwatch::start();
        let root = root.start().await.expect("they start");
        arrivals.complete.notified().await;
        let reading = watch.stop();
        root.cell().kill();
        reading.sample(ops, Latencies::new())
    })
}

fn spawn_linked_static(ops: u64) -> Sample {
    measure(async move {
        let arrivals = Arrivals::of(ops);
        let (parent, _) = Actor::spawn(None, Parent, ()).await.expect("it starts");
        let mut kept = Vec::with_capacity(ops as usize);
        let watch = Stopwatch::start();
        for _ in 0..ops {
            kept.push(spawn_one(Told::Arrival(arrivals.clone()), parent.get_cell()).await);
        }
        arrivals.complete.notified().await;
        let reading = watch.stop();
        parent.kill();
        reading.sample(ops, Latencies::new())
    })
}

async fn spawn_one(told: Told, parent: ActorCell) -> ActorCell {
    let (actor, _) = Actor::spawn_linked(None, Child, told, parent).await.expect("it starts");
    actor.get_cell()
}

fn start_dynamic(ops: u64, callers: u64) -> Sample {
    measure(async move {
        let arrivals = Arrivals::of(ops);
        let pool = Supervisor::dynamic("pool").start().await.expect("it starts");
        let (cell, told) = (pool.cell(), Told::Arrival(arrivals.clone()));
        let watch = Stopwatch::start();
        let latencies = from_callers(callers, ops, move |caller, n| {
            let (pool, told) = (pool.clone(), told.clone());
            async move {
                let child = child(format!("c{caller}/{n}"), told);
                pool.start_child(child).await.expect("it starts")
            }
        });
        let latencies = latencies.await;
        arrivals.complete.notified().await;
        let reading = watch.stop();
        cell.kill();
        reading.sample(ops, latencies)
    })
}

fn spawn_linked(ops: u64, callers: u64) -> Sample {
    measure(async move {
        let arrivals = Arrivals::of(ops);
        let (parent, _) = Actor::spawn(None, Parent, ()).await.expect("it starts");
        let (cell, told) = (parent.get_cell(), Told::Arrival(arrivals.clone()));
        let watch = Stopwatch::start();
        let latencies =
            from_callers(callers, ops, move |_, _| spawn_one(told.clone(), cell.clone()));
        let latencies = latencies.await;
        arrivals.complete.notified().await;
        let reading = watch.stop();
        parent.kill();
        reading.sample(ops, latencies)
    })
}

/// Has that many tasks do their share of the operations, one after the other each.
async fn from_callers<F>(
    callers: u64,
    ops: u64,
    operation: impl Fn(u64, u64) -> F + Clone + Send + 'static,
) -> Latencies
where
    F: Future<Output = ActorCell> + Send,
{
    let (told, mut all) = mpsc::unbounded_channel();
    for caller in 0..callers {
        let (told, operation) = (told.clone(), operation.clone());
        tokio::spawn(async move {
            let share = ops / callers;
            let (mut latencies, mut kept) = (Latencies::new(), Vec::with_capacity(share as usize));
            for n in 0..share {
                let begun = Instant::now();
                kept.push(operation(caller, n).await);
                latencies.record(begun.elapsed());
            }
            let _ = told.send((latencies, kept));
        });
    }
    drop(told);
    let (mut latencies, mut kept) = (Latencies::new(), Vec::new());
    while let Some((others, theirs)) = all.recv().await {
        latencies.add(&others);
        kept.push(theirs);
    }
    latencies
}

/// From the message that makes a child fail to the event that it is up again.
fn restart(ops: u64, among: u64) -> Sample {
    measure(async move {
        let mut root = Supervisor::new("root", Strategy::OneForOne);
        root = root.intensity(u32::MAX, Duration::from_secs(3600));
        let (told, mut incarnations) = mpsc::unbounded_channel();
        let arrivals = Arrivals::of(among - 1);
        for n in 0..among {
            root = root.child(match n == among / 2 {
                false => child(format!("c{n}"), Told::Arrival(arrivals.clone())),
                true => {
                    let told = Told::Incarnation(told.clone());
                    ChildSpec::actor("victim", move || (Child, told.clone()))
                }
            });
        }
        let root = root.start().await.expect("they start");
        // What is left of ten thousand starts takes longer than all the restarts.
        arrivals.complete.notified().await;
        root.count_children().await.expect("the tree lives");
        let mut events = root.events();
        let mut latencies = Latencies::new();
        let mut watch = Stopwatch::start();
        for round in 0..WARM_UP + ops {
            if round == WARM_UP {
                (watch, latencies) = (Stopwatch::start(), Latencies::new());
            }
            let victim = incarnations.recv().await.expect("it was started");
            let begun = Instant::now();
            victim.send_message(Order::Fail).expect("it lives");
            loop {
                match events.next().await.expect("the tree lives") {
                    Observed::Event(event) if matches!(event.what, Happening::Restarted { .. }) => {
                        break;
                    }
                    _ => {}
                }
            }
            latencies.record(begun.elapsed());
        }
        let reading = watch.stop();
        root.cell().kill();
        reading.sample(ops, latencies)
    })
}
