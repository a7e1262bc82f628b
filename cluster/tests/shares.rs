//! An actor that takes nothing keeps nobody waiting but those who send to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Reply, TellError};
use umbel_cluster::{MemoryNetwork, Node};
use umbel_protocol::Identity;

const SOON: Duration = Duration::from_secs(60);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Job {
    Work(Vec<u8>),
    Done(Reply<u64>),
    Fail,
}

/// Takes a job for each permit.
struct Worker(std::sync::Arc<Semaphore>);

impl Actor for Worker {
    type Msg = Job;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Job>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Job>,
        job: Job,
        done: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        self.0.acquire().await?.forget();
        match job {
            Job::Work(_) => *done += 1,
            Job::Done(reply) => reply.send(*done),
            Job::Fail => return Err("as told".into()),
        }
        Ok(())
    }
}

struct Works {
    node: Node,
    sender: Node,
}

impl Works {
    async fn new() -> Self {
        let network = MemoryNetwork::new();
        let start = async |name: &str, seeds: &[&str]| {
            let identity = Identity::new("works".parse().unwrap(), name.parse().unwrap());
            let builder = Node::builder().transport(network.transport(identity)).listen(name);
            builder.join(seeds.iter().copied()).start().await.unwrap()
        };
        let node = start("b", &[]).await;
        let sender = start("a", &["b"]).await;
        assert!(sender.wait_for_peers(1, SOON).await);
        Self { node, sender }
    }

    /// A worker on one node, as the other sees it.
    async fn worker(
        &self,
        name: &str,
        permits: usize,
    ) -> (std::sync::Arc<Semaphore>, Address<Job>) {
        let gate = std::sync::Arc::new(Semaphore::new(permits));
        let worker = self.node.spawn(Worker(gate.clone()), ()).await.unwrap();
        self.node.register(name, &worker).await.unwrap();
        (gate, self.sender.resolve_within(SOON, name).await.unwrap())
    }
}

fn work() -> Job {
    Job::Work(vec![7; 1000])
}

/// Sends until there is no room, and none comes; how many.
async fn fill(worker: &Address<Job>) -> u64 {
    let mut sent = 0;
    // What is under way when it is paused arrives still.
    while tokio::time::timeout(Duration::from_millis(200), worker.tell(work())).await.is_ok() {
        sent += 1;
        assert!(sent < 100_000, "nothing bounds what lies in its mailbox");
    }
    sent
}

#[tokio::test]
async fn stalled_actors_keep_only_their_own_senders_waiting() {
    let works = Works::new().await;
    let (_busy_gate, busy) = works.worker("busy", Semaphore::MAX_PERMITS).await;
    let mut stalled = Vec::new();
    for name in ["first", "second", "third"] {
        let (gate, worker) = works.worker(name, 0).await;
        let sent = fill(&worker).await;
        assert!(sent > 100, "{sent}");
        assert!(matches!(worker.try_tell(work()), Err(TellError::Full(_))));
        stalled.push((gate, worker, sent));
    }
    // More than five windows for the other one.
    for _ in 0..10_000 {
        busy.tell(work()).await.unwrap();
    }
    assert_eq!(busy.ask(Job::Done).await, Ok(10_000));
    // And those who waited go on when their receiver does.
    for (gate, worker, sent) in stalled {
        let waiting = {
            let worker = worker.clone();
            tokio::spawn(async move { worker.tell(work()).await })
        };
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
        waiting.await.unwrap().unwrap();
        assert_eq!(worker.ask_within(SOON, Job::Done).await, Ok(sent + 1));
    }
}

#[tokio::test]
async fn who_stops_waiting_for_a_paused_actor_loses_and_sends_nothing() {
    let works = Works::new().await;
    let (gate, worker) = works.worker("stalled", 0).await;
    let sent = fill(&worker).await;
    for _ in 0..100 {
        let waiting = {
            let worker = worker.clone();
            tokio::spawn(async move { worker.tell(work()).await })
        };
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err_and(|why| why.is_cancelled()));
    }
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    assert_eq!(worker.ask_within(SOON, Job::Done).await, Ok(sent));
    for _ in 0..10_000 {
        worker.tell(work()).await.unwrap();
    }
    assert_eq!(worker.ask_within(SOON, Job::Done).await, Ok(sent + 10_000));
}

#[tokio::test]
async fn an_actor_that_dies_with_a_full_mailbox_gives_all_its_credit_back() {
    let works = Works::new().await;
    let (_busy_gate, busy) = works.worker("busy", Semaphore::MAX_PERMITS).await;
    for round in 0..12 {
        let (gate, worker) = works.worker(&format!("doomed {round}"), 0).await;
        worker.tell(Job::Fail).await.unwrap();
        let sent = fill(&worker).await;
        assert!(sent > 100, "round {round}: {sent}");
        let end = worker.watch();
        gate.add_permits(1);
        end.await;
    }
    for _ in 0..10_000 {
        busy.tell(work()).await.unwrap();
    }
    assert_eq!(busy.ask(Job::Done).await, Ok(10_000));
}
