//! `tell`, `ask` and `spawn` on one machine, beside plain ractor actors and plain tokio channels.
//!
//! Everything runs on a runtime with two workers, made anew for each round of each case. Each case
//! uses its peer as its documentation would, so the peers do not do the same work: umbel's mailbox
//! is bounded and its ask has a deadline, ractor's and tokio's unbounded channel are not and have
//! none, unless a parameter says so.

mod harness;

use std::num::NonZeroUsize;
use std::time::Duration;

use harness::{Case, Latencies, Options, Sample, Stopwatch};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// One message in so many is timed: reading the clock for each would blur the differences.
const TIMED: u64 = 16;

/// How many messages one of umbel's actors handles in a row, where they wait.
const IN_A_ROW: usize = 64;

fn main() {
    let options = Options::from_args(
        "Measures actors on one machine: umbel, ractor without umbel, and plain tokio channels.",
        &[],
    );
    let mut cases = Vec::new();
    for producers in [1, 4] {
        let params = || json!({ "producers": producers });
        let ops = 1_000_000;
        cases.extend([
            Case::new("tell", "umbel", params(), ops, move |ops| tell::<InARow>(producers, ops))
                .variant(json!({ "throughput": IN_A_ROW })),
            Case::new("tell", "umbel", params(), ops, move |ops| tell::<Umbel>(producers, ops)),
            Case::new("tell", "ractor", params(), ops, move |ops| tell::<Ractor>(producers, ops)),
            Case::new("tell", "tokio", params(), ops, move |ops| tell::<Tokio>(producers, ops)),
            Case::new("tell", "tokio", params(), ops, move |ops| tell::<Bounded>(producers, ops))
                .variant(json!({ "capacity": umbel_actors::MAILBOX_CAPACITY })),
        ]);
    }
    for callers in [1, 64] {
        let params = || json!({ "callers": callers });
        let ops = 320_000;
        cases.extend([
            Case::new("ask", "umbel", params(), ops, move |ops| ask::<InARow>(callers, ops))
                .variant(json!({ "throughput": IN_A_ROW })),
            Case::new("ask", "umbel", params(), ops, move |ops| ask::<Umbel>(callers, ops)),
            Case::new("ask", "ractor", params(), ops, move |ops| ask::<Ractor>(callers, ops)),
            Case::new("ask", "ractor", params(), ops, move |ops| ask::<Patient>(callers, ops))
                .variant(json!({ "timeout_s": umbel_actors::ASK_DEADLINE.as_secs() })),
            Case::new("ask", "tokio", params(), ops, move |ops| ask::<Tokio>(callers, ops)),
        ]);
    }
    let ops = 10_000;
    cases.extend([
        Case::new("spawn", "umbel", json!({}), ops, spawn::<Umbel>),
        Case::new("spawn", "ractor", json!({}), ops, spawn::<Ractor>),
        Case::new("spawn", "tokio", json!({}), ops, spawn::<Tokio>),
    ]);
    harness::run(&options, cases);
}

/// An actor that takes tells and asks, in one of the ways that are compared.
trait Peer: Clone + Send + Sync + 'static {
    /// What must be there before an actor can start.
    type House: Send + Sync + 'static;

    fn house() -> Self::House;
    fn start(house: &Self::House) -> impl Future<Output = Self> + Send;
    fn tell(&self, timed: Option<Instant>) -> impl Future<Output = ()> + Send;
    fn ask(&self, number: u64) -> impl Future<Output = u64> + Send;
    /// How long tells were under way. Answered after all that was told before.
    fn report(&self) -> impl Future<Output = Latencies> + Send;
    /// Ends all actors.
    fn end(house: Self::House, all: Vec<Self>) -> impl Future<Output = ()> + Send;
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime can be had")
}

/// Runs as a task, so on a worker, and not on the thread that blocks.
fn measure<F>(work: F) -> Sample
where
    F: Future<Output = Sample> + Send + 'static,
{
    let runtime = runtime();
    runtime.block_on(async { tokio::spawn(work).await.expect("no bench panics") })
}

fn tell<P: Peer>(producers: u64, ops: u64) -> Sample {
    measure(async move {
        let house = P::house();
        let actor = P::start(&house).await;
        let watch = Stopwatch::start();
        let share = ops / producers;
        let tasks: Vec<_> = (0..producers)
            .map(|_| {
                let actor = actor.clone();
                tokio::spawn(async move {
                    for number in 0..share {
                        let timed = number.is_multiple_of(TIMED).then(Instant::now);
                        actor.tell(timed).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no producer panics");
        }
        let latencies = actor.report().await;
        let reading = watch.stop();
        P::end(house, vec![actor]).await;
        reading.sample(share * producers, latencies)
    })
}

fn ask<P: Peer>(callers: u64, ops: u64) -> Sample {
    measure(async move {
        let house = P::house();
        let actor = P::start(&house).await;
        let watch = Stopwatch::start();
        let share = ops / callers;
        let latencies = Latencies::of_tasks(callers, || {
            let actor = actor.clone();
            async move {
                let mut latencies = Latencies::new();
                for number in 0..share {
                    let asked = number.is_multiple_of(TIMED).then(Instant::now);
                    assert_eq!(actor.ask(number).await, number + 1);
                    if let Some(asked) = asked {
                        latencies.record(asked.elapsed());
                    }
                }
                latencies
            }
        });
        let latencies = latencies.await;
        let reading = watch.stop();
        P::end(house, vec![actor]).await;
        reading.sample(share * callers, latencies)
    })
}

fn spawn<P: Peer>(ops: u64) -> Sample {
    measure(async move {
        let house = P::house();
        let mut latencies = Latencies::new();
        let mut actors = Vec::with_capacity(ops as usize);
        let watch = Stopwatch::start();
        for _ in 0..ops {
            let begun = Instant::now();
            actors.push(P::start(&house).await);
            latencies.record(begun.elapsed());
        }
        let reading = watch.stop();
        P::end(house, actors).await;
        reading.sample(ops, latencies)
    })
}

/// What every actor here does with a tell.
#[derive(Default)]
struct Tally(Option<Latencies>);

impl Tally {
    fn count(&mut self, timed: Option<Instant>) {
        if let Some(told) = timed {
            // Made when it is first needed: a histogram is large, and `spawn` shall not measure it.
            self.0.get_or_insert_with(Latencies::new).record(told.elapsed());
        }
    }

    fn report(&mut self) -> Latencies {
        self.0.take().unwrap_or_else(Latencies::new)
    }
}

#[derive(Clone)]
struct Umbel<const THROUGHPUT: usize = 1>(umbel_actors::Address<umbel_peer::Note>);

type InARow = Umbel<IN_A_ROW>;

mod umbel_peer {
    use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply, SpawnOptions, System};

    use super::*;

    #[derive(Message)]
    pub(super) enum Note {
        Tell(Option<Instant>),
        Ask(u64, Reply<u64>),
        Report(Reply<Latencies>),
    }

    struct Counter;

    impl Actor for Counter {
        type Msg = Note;
        type State = Tally;
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<Tally, ActorProcessingErr> {
            Ok(Tally::default())
        }

        async fn handle(
            &self,
            _: ActorRef<Note>,
            note: Note,
            tally: &mut Tally,
        ) -> Result<(), ActorProcessingErr> {
            match note {
                Note::Tell(timed) => tally.count(timed),
                Note::Ask(number, reply) => reply.send(number + 1),
                Note::Report(reply) => reply.send(tally.report()),
            }
            Ok(())
        }
    }

    impl<const THROUGHPUT: usize> Peer for Umbel<THROUGHPUT> {
        type House = System;

        fn house() -> System {
            System::builder("bench").seed(1).start()
        }

        async fn start(system: &System) -> Self {
            let throughput = NonZeroUsize::new(THROUGHPUT);
            let options = SpawnOptions { throughput, ..SpawnOptions::default() };
            Self(system.spawn_with(options, Counter, ()).await.expect("it starts"))
        }

        async fn tell(&self, timed: Option<Instant>) {
            self.0.tell(Note::Tell(timed)).await.expect("it lives");
        }

        async fn ask(&self, number: u64) -> u64 {
            self.0.ask(|reply| Note::Ask(number, reply)).await.expect("it answers")
        }

        async fn report(&self) -> Latencies {
            self.0.ask_within(Duration::MAX, Note::Report).await.expect("it answers")
        }

        async fn end(system: System, _: Vec<Self>) {
            system.shutdown(Duration::from_secs(60)).await;
        }
    }
}

#[derive(Clone)]
struct Ractor(ractor::ActorRef<ractor_peer::Note>);

/// ractor's call with a timeout.
#[derive(Clone)]
struct Patient(Ractor);

mod ractor_peer {
    use ractor::rpc::CallResult;
    use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

    use super::*;

    pub(super) enum Note {
        Tell(Option<Instant>),
        Ask(u64, RpcReplyPort<u64>),
        Report(RpcReplyPort<Latencies>),
    }

    impl ractor::Message for Note {}

    struct Counter;

    impl Actor for Counter {
        type Msg = Note;
        type State = Tally;
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<Note>, (): ()) -> Result<Tally, ActorProcessingErr> {
            Ok(Tally::default())
        }

        async fn handle(
            &self,
            _: ActorRef<Note>,
            note: Note,
            tally: &mut Tally,
        ) -> Result<(), ActorProcessingErr> {
            match note {
                Note::Tell(timed) => tally.count(timed),
                Note::Ask(number, reply) => reply.send(number + 1)?,
                Note::Report(reply) => {
                    let _ = reply.send(tally.report());
                }
            }
            Ok(())
        }
    }

    impl Ractor {
        async fn call(&self, number: u64, timeout: Option<Duration>) -> u64 {
            match self.0.call(|reply| Note::Ask(number, reply), timeout).await.expect("it lives") {
                CallResult::Success(answer) => answer,
                CallResult::Timeout | CallResult::SenderError => panic!("it answers"),
            }
        }
    }

    impl Peer for Ractor {
        type House = ();

        fn house() {}

        async fn start((): &()) -> Self {
            Self(Actor::spawn(None, Counter, ()).await.expect("it starts").0)
        }

        async fn tell(&self, timed: Option<Instant>) {
            self.0.cast(Note::Tell(timed)).expect("it lives");
        }

        async fn ask(&self, number: u64) -> u64 {
            self.call(number, None).await
        }

        async fn report(&self) -> Latencies {
            self.0.call(Note::Report, None).await.expect("it lives").expect("it answers")
        }

        async fn end((): (), all: Vec<Self>) {
            for actor in all {
                actor.0.stop_and_wait(None, None).await.expect("it stops");
            }
        }
    }

    impl Peer for Patient {
        type House = ();

        fn house() {}

        async fn start((): &()) -> Self {
            Self(Ractor::start(&()).await)
        }

        async fn tell(&self, timed: Option<Instant>) {
            self.0.tell(timed).await;
        }

        async fn ask(&self, number: u64) -> u64 {
            self.0.call(number, Some(umbel_actors::ASK_DEADLINE)).await
        }

        async fn report(&self) -> Latencies {
            self.0.report().await
        }

        async fn end((): (), all: Vec<Self>) {
            Ractor::end((), all.into_iter().map(|patient| patient.0).collect()).await;
        }
    }
}

#[derive(Clone)]
struct Tokio(tokio::sync::mpsc::UnboundedSender<tokio_peer::Note>);

/// A tokio channel that holds as much as umbel's mailbox.
#[derive(Clone)]
struct Bounded(tokio::sync::mpsc::Sender<tokio_peer::Note>);

mod tokio_peer {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    pub(super) enum Note {
        Tell(Option<Instant>),
        Ask(u64, oneshot::Sender<u64>),
        Report(oneshot::Sender<Latencies>),
    }

    fn take(note: Note, tally: &mut Tally) {
        match note {
            Note::Tell(timed) => tally.count(timed),
            Note::Ask(number, reply) => reply.send(number + 1).expect("the asker waits"),
            Note::Report(reply) => {
                let _ = reply.send(tally.report());
            }
        }
    }

    impl Peer for Tokio {
        type House = ();

        fn house() {}

        /// Ends when the task runs, as the starts of the other peers do.
        async fn start((): &()) -> Self {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let (started, runs) = oneshot::channel();
            tokio::spawn(async move {
                let mut tally = Tally::default();
                started.send(()).expect("the starter waits");
                while let Some(note) = receiver.recv().await {
                    take(note, &mut tally);
                }
            });
            runs.await.expect("it starts");
            Self(sender)
        }

        async fn tell(&self, timed: Option<Instant>) {
            self.0.send(Note::Tell(timed)).expect("it lives");
        }

        async fn ask(&self, number: u64) -> u64 {
            let (reply, answer) = oneshot::channel();
            self.0.send(Note::Ask(number, reply)).expect("it lives");
            answer.await.expect("it answers")
        }

        async fn report(&self) -> Latencies {
            let (reply, report) = oneshot::channel();
            self.0.send(Note::Report(reply)).expect("it lives");
            report.await.expect("it answers")
        }

        async fn end((): (), _: Vec<Self>) {}
    }

    impl Peer for Bounded {
        type House = ();

        fn house() {}

        async fn start((): &()) -> Self {
            let (sender, mut receiver) = mpsc::channel(umbel_actors::MAILBOX_CAPACITY);
            tokio::spawn(async move {
                let mut tally = Tally::default();
                while let Some(note) = receiver.recv().await {
                    take(note, &mut tally);
                }
            });
            Self(sender)
        }

        async fn tell(&self, timed: Option<Instant>) {
            self.0.send(Note::Tell(timed)).await.expect("it lives");
        }

        async fn ask(&self, number: u64) -> u64 {
            let (reply, answer) = oneshot::channel();
            self.0.send(Note::Ask(number, reply)).await.expect("it lives");
            answer.await.expect("it answers")
        }

        async fn report(&self) -> Latencies {
            let (reply, report) = oneshot::channel();
            self.0.send(Note::Report(reply)).await.expect("it lives");
            report.await.expect("it answers")
        }

        async fn end((): (), _: Vec<Self>) {}
    }
}
