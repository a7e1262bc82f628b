//! The actor that reads the input, hands it out, and puts the counts together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, Message, Myself, Timer,
};
use umbel_cluster::{ClusterTopic, Instance, Node};
use umbel_protocol::{NodeId, NodeName};

use crate::demo::batches::Batches;
use crate::demo::counter::{COUNTERS, CountBatch, Progress};
use crate::demo::cutter::Batch;
use crate::demo::ledger::{Attempt, BatchId, Ledger};
use crate::demo::sources::Sources;
use crate::demo::tally::{Counted, Tally};

/// How long a counter has for a batch. It has a handful of them at most, of milliseconds each.
const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// When a batch is asked again for which nobody was there, or whose counter did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How often a batch is handed out before the run is given up. Each time it goes to another counter.
const ATTEMPTS_MAX: Attempt = 50;

/// Which node is to die in the middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// None.
    None,
    /// The one that is just about to get the batch in the middle.
    Auto,
    /// This one.
    Node(NodeName),
}

/// What the intake tells whoever runs the demo.
pub(crate) enum Notice {
    /// This is the middle, and the next batch is about to go to `victim`. The intake waits.
    Middle { victim: NodeName, go_on: oneshot::Sender<()> },
    /// A counter did not answer for a batch.
    Lost { node: NodeName, why: AskError },
    /// All that a node had in hands when it died has been counted by others.
    TakenOver { node: NodeName },
    /// All is counted.
    Done(Box<Counts>),
    /// The input could not be counted.
    Failed(String),
}

/// What the intake has put together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tally: Tally,
    pub(crate) resent: u64,
    /// The batches and words that were merged from each node.
    pub(crate) by_node: BTreeMap<NodeName, (u64, u64)>,
}

/// What the intake is started with.
#[derive(Clone)]
pub(crate) struct IntakePlan {
    pub(crate) node: Node,
    pub(crate) topic: ClusterTopic<Progress>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) batch_lines_max: u64,
    pub(crate) in_flight_max: usize,
    pub(crate) victim: Victim,
    pub(crate) notices: mpsc::Sender<Notice>,
}

/// Reads the input, hands it out, and puts the counts together.
///
/// It is the only one who holds counts for longer than a moment, and its ledger makes sure that
/// those of a batch are merged once. Should it fail, its supervisor starts it again, with nothing:
/// it begins at the first line, and what is still on its way to the one that failed is dropped.
pub(crate) struct Intake;

/// What the intake is told.
#[derive(Message)]
pub(crate) enum IntakeMessage {
    /// These are the counters now.
    Counters(Vec<Instance<CountBatch>>),
    /// An ask has ended.
    Asked(BatchId, Attempt, NodeId, Result<Counted, AskError>),
    /// Hand out again what waits.
    Retry,
}

/// A batch that is open.
struct OpenBatch {
    batch: Batch,
    giants: Arc<[String]>,
    /// The bytes of the input up to its end, and those that it adds.
    read: u64,
    bytes: u64,
}

pub(crate) struct IntakeState {
    plan: IntakePlan,
    me: Address<IntakeMessage>,
    batches: Batches,
    all_read: bool,
    ledger: Ledger<OpenBatch, NodeId>,
    counters: Vec<Instance<CountBatch>>,
    /// Nodes that cannot be reached, though the registry does not know yet.
    unreachable: BTreeSet<NodeId>,
    /// Nodes that are gone, and have left batches that nobody has counted yet.
    gone: BTreeSet<NodeId>,
    struck: bool,
    counts: Counts,
    bytes_merged: u64,
    /// Batches that wait for [`IntakeMessage::Retry`].
    resting: BTreeSet<BatchId>,
    retry: Option<Timer>,
    watching: AbortHandle,
}

impl Actor for Intake {
    type Msg = IntakeMessage;
    type State = IntakeState;
    type Arguments = IntakePlan;

    async fn pre_start(
        &self,
        myself: ActorRef<IntakeMessage>,
        plan: IntakePlan,
    ) -> Result<IntakeState, ActorProcessingErr> {
        let me = myself.address();
        let mut discovery = plan.node.watch::<CountBatch>(COUNTERS);
        let told = me.clone();
        let watching = tokio::spawn(async move {
            loop {
                let counters = discovery.instances().to_vec();
                if told.tell(IntakeMessage::Counters(counters)).await.is_err() {
                    return;
                }
                discovery.changed().await;
            }
        });
        Ok(IntakeState {
            me,
            batches: Batches::new(plan.sources.clone(), plan.batch_lines_max),
            all_read: false,
            ledger: Ledger::new(plan.in_flight_max),
            counters: Vec::new(),
            unreachable: BTreeSet::new(),
            gone: BTreeSet::new(),
            struck: plan.victim == Victim::None,
            counts: Counts::default(),
            bytes_merged: 0,
            resting: BTreeSet::new(),
            retry: None,
            watching: watching.abort_handle(),
            plan,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<IntakeMessage>,
        message: IntakeMessage,
        state: &mut IntakeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            IntakeMessage::Counters(counters) => state.counters_are(counters),
            IntakeMessage::Asked(batch, _, node, Ok(counted)) => {
                state.merge(batch, &node, counted).await;
            }
            IntakeMessage::Asked(batch, attempt, node, Err(why)) => {
                state.lost(batch, attempt, node, why).await;
            }
            IntakeMessage::Retry => {
                state.retry = None;
                state.unreachable.clear();
                state.resting.clear();
            }
        }
        if let Err(why) = state.hand_out().await {
            state.notify(Notice::Failed(why)).await;
            myself.stop(None);
            return Ok(());
        }
        state.tell_of_the_gone().await;
        if state.all_read && state.ledger.is_settled() && state.gone.is_empty() {
            state.counts.resent = state.ledger.resent();
            let counts = std::mem::take(&mut state.counts);
            state.notify(Notice::Done(Box::new(counts))).await;
            myself.stop(None);
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<IntakeMessage>,
        state: &mut IntakeState,
    ) -> Result<(), ActorProcessingErr> {
        state.watching.abort();
        Ok(())
    }
}

impl IntakeState {
    /// Whoever receives the notices may be gone: then the demo is ending, and so does this.
    async fn notify(&self, notice: Notice) {
        let _ = self.plan.notices.send(notice).await;
    }

    fn counters_are(&mut self, counters: Vec<Instance<CountBatch>>) {
        let is_there = |node: &NodeId| counters.iter().any(|counter| counter.node == *node);
        let left = self.counters.iter().map(|counter| &counter.node).filter(|node| !is_there(node));
        self.gone.extend(left.cloned());
        self.unreachable.retain(is_there);
        self.counters = counters;
    }

    async fn merge(&mut self, batch: BatchId, node: &NodeId, counted: Counted) {
        let Some(open) = self.ledger.acknowledge(batch) else { return };
        let (batches, words) = self.counts.by_node.entry(node.name.clone()).or_default();
        *batches += 1;
        *words += counted.words();
        self.counts.tally.lines += open.batch.lines;
        self.counts.tally.merge(counted);
        self.bytes_merged += open.bytes;
        // Without the bar, it is still counted.
        let _ = self.plan.topic.publish(Progress::Merged { bytes: self.bytes_merged }).await;
    }

    async fn lost(&mut self, batch: BatchId, attempt: Attempt, node: NodeId, why: AskError) {
        if !self.ledger.fail(batch, attempt) {
            return;
        }
        if matches!(why, AskError::Unreachable(_)) {
            self.unreachable.insert(node.clone());
        } else {
            // It may be the counter, or the batch: ask again, but not in a hurry.
            self.resting.insert(batch);
            self.retry_later();
        }
        self.notify(Notice::Lost { node: node.name, why }).await;
    }

    fn retry_later(&mut self) {
        if self.retry.is_none() {
            self.retry = Some(self.plan.node.system().send_after(
                RETRY_AFTER,
                &self.me,
                IntakeMessage::Retry,
            ));
        }
    }

    /// Reads as much as may be open, and hands out all that waits and has somebody to go to.
    async fn hand_out(&mut self) -> Result<(), String> {
        while !self.all_read && self.ledger.has_room() {
            let before = self.batches.read();
            // Disks may be slow: the other tasks of this thread are moved to another one.
            let next = tokio::task::block_in_place(|| self.batches.next());
            let Some(batch) = next.map_err(|why| why.to_string())? else {
                self.all_read = true;
                break;
            };
            let (read, giants) = (self.batches.read(), batch.giants.clone().into());
            let open = OpenBatch { batch, giants, read, bytes: read - before };
            if self.ledger.accept(open).is_err() {
                unreachable!("the ledger had room");
            }
        }
        for (batch, attempts) in self.ledger.waiting() {
            if self.resting.contains(&batch) {
                continue;
            }
            if attempts >= ATTEMPTS_MAX {
                return Err(format!("batch {batch} was handed out {attempts} times in vain"));
            }
            self.hand_out_one(batch, attempts).await;
        }
        let is_empty = self.ledger.is_settled() && self.ledger.merged() == 0;
        if self.all_read && !self.struck && !is_empty {
            // The one who was to die had no share in the second half.
            if let Victim::Node(node) = self.plan.victim.clone() {
                self.strike(node).await;
            }
        }
        Ok(())
    }

    async fn hand_out_one(&mut self, batch: BatchId, attempts: Attempt) {
        let reachable: Vec<_> = self
            .counters
            .iter()
            .filter(|counter| !self.unreachable.contains(&counter.node))
            .cloned()
            .collect();
        // By its number alone a batch would come back to a counter that cannot deal with it.
        let key = format!("{batch}/{attempts}");
        let Some(counter) = Instance::by_key(&reachable, key.as_bytes()) else {
            return self.retry_later();
        };
        let (node, address) = (counter.node.clone(), counter.address.clone());
        let Some((attempt, open)) = self.ledger.hand_out(batch, node.clone()) else { return };
        let (text, giants) = (open.batch.text.clone(), open.giants.clone());
        let read = open.read;
        let is_middle = !self.struck && 2 * read >= self.plan.sources.bytes();
        let is_victim = match &self.plan.victim {
            Victim::None => false,
            Victim::Auto => true,
            Victim::Node(name) => node.name == *name,
        };
        if is_middle && is_victim {
            // Whoever is chosen by now gets the batch, dead or alive: nobody can know of a death
            // that has just happened.
            self.strike(node.name.clone()).await;
        }
        let me = self.me.clone();
        tokio::spawn(async move {
            let question = |reply| CountBatch { text, giants, reply };
            let answer = address.ask_within(ASK_DEADLINE, question).await;
            // Where the intake is gone, so is the run.
            let _ = me.tell(IntakeMessage::Asked(batch, attempt, node, answer)).await;
        });
    }

    async fn strike(&mut self, victim: NodeName) {
        self.struck = true;
        let (go_on, done) = oneshot::channel();
        self.notify(Notice::Middle { victim, go_on }).await;
        // Dropped where the demo is ending.
        let _ = done.await;
    }

    async fn tell_of_the_gone(&mut self) {
        for node in self.gone.clone() {
            if self.ledger.left_by(|holder| *holder == node) == 0 {
                self.gone.remove(&node);
                self.notify(Notice::TakenOver { node: node.name }).await;
            }
        }
    }
}
