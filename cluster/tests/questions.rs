//! Deadlines over links, and what is left of a question that nobody waits for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, Message, Reply, System,
};
use umbel_cluster::{MemoryNetwork, Node};
use umbel_protocol::Identity;

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Work {
    /// Goes on when the door is opened.
    Wait,
    Begin(Reply<u64>),
    Both(Reply<u64>, Reply<u64>),
    /// Is answered never, and its reply is never dropped.
    Hold(Reply<u64>),
    /// Hands the question on, to be held there.
    HandOn(Address<Work>, Reply<u64>),
    TimeLeft(Reply<Option<Duration>>),
}

#[derive(Clone)]
struct Worker {
    door: Arc<Semaphore>,
    begun: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
}

impl Worker {
    fn new() -> Self {
        Self { door: Arc::new(Semaphore::new(0)), begun: Arc::default(), held: Arc::default() }
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Actor for Worker {
    type Msg = Work;
    type State = Vec<Reply<u64>>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Work>,
        (): (),
    ) -> Result<Vec<Reply<u64>>, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        _: ActorRef<Work>,
        work: Work,
        held: &mut Vec<Reply<u64>>,
    ) -> Result<(), ActorProcessingErr> {
        match work {
            Work::Wait => self.door.acquire().await?.forget(),
            Work::Begin(reply) => reply.send(self.begun.fetch_add(1, Ordering::SeqCst) + 1),
            Work::Both(one, other) => {
                one.send(1);
                other.send(2);
            }
            Work::Hold(reply) => {
                held.push(reply);
                self.held.fetch_add(1, Ordering::SeqCst);
            }
            Work::HandOn(to, reply) => to.tell(Work::Hold(reply)).await?,
            Work::TimeLeft(reply) => {
                let left = reply.remaining();
                reply.send(left);
            }
        }
        Ok(())
    }
}

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(2);

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Nodes, each with a worker and linked with the first.
struct House {
    network: MemoryNetwork,
    nodes: Vec<(Node, Worker)>,
}

impl House {
    async fn new(names: &[&str]) -> Self {
        let network = MemoryNetwork::new();
        let mut nodes = Vec::new();
        for name in names {
            let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
            let builder = Node::builder().transport(network.transport(identity)).listen(*name);
            let seed = names.first().filter(|first| *first != name).copied();
            let node = builder.join(seed).start().await.unwrap();
            let worker = Worker::new();
            let address = node.spawn(worker.clone(), ()).await.unwrap();
            node.register(name, &address).await.unwrap();
            nodes.push((node, worker));
        }
        Self { network, nodes }
    }

    fn worker(&self, on: usize) -> &Worker {
        &self.nodes[on].1
    }

    /// The worker `on` a node as node `from` sees it.
    async fn address(&self, from: usize, on: &str) -> Address<Work> {
        self.nodes[from].0.resolve(on).await.unwrap()
    }

    /// What waits over all links of a node: asked there, and asked of it.
    fn open(&self, node: usize) -> (usize, usize) {
        let open = self.nodes[node].0.open_asks();
        open.values().fold((0, 0), |(ours, theirs), open| (ours + open.ours, theirs + open.theirs))
    }

    async fn until_open(&self, open: &[(usize, usize)]) {
        until(&format!("{open:?}"), || (0..open.len()).all(|node| self.open(node) == open[node]))
            .await;
    }
}

fn ask(
    address: &Address<Work>,
    within: Duration,
    question: impl FnOnce(Reply<u64>) -> Work + Send + 'static,
) -> JoinHandle<Result<u64, AskError>> {
    let address = address.clone();
    tokio::spawn(async move { address.ask_within(within, question).await })
}

#[tokio::test(start_paused = true)]
async fn a_handler_on_another_node_knows_how_long_its_asker_waits() {
    let house = House::new(&["a", "b"]).await;
    let on_b = house.address(0, "b").await;
    let left = on_b.ask_within(LONG, Work::TimeLeft).await.unwrap().expect("it is told");
    assert!(left <= LONG && left > LONG - SOON, "{left:?}");
    // Further off than any clock can say.
    assert!(on_b.ask_within(Duration::MAX, Work::TimeLeft).await.unwrap() > Some(LONG));
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_what_waits_in_mailboxes_and_for_its_peers() {
    let house = House::new(&["a", "b"]).await;
    let (a, b) = (&house.nodes[0].0, &house.nodes[1].0);
    let on_b = house.address(0, "b").await;
    on_b.tell(Work::Wait).await.unwrap();
    let unread = || b.unread().into_iter().map(|(_, messages)| messages).collect::<Vec<_>>();
    until("it waits", || unread() == [0]).await;
    for _ in 0..10 {
        on_b.try_tell(Work::Wait).unwrap();
    }
    // The lane's task has not had a turn yet.
    assert!(a.unsent()[&b.id()].data_bytes > 10, "{:?}", a.unsent());
    until("all is there", || unread() == [10]).await;
    assert_eq!(a.unsent()[&b.id()].data_bytes, 0);
    assert_eq!(b.unread()[0].0.as_str(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_timed_out_is_not_begun_elsewhere_and_holds_nothing_at_either_end() {
    let house = House::new(&["a", "b"]).await;
    for (from, on, name) in [(0, 1, "b"), (1, 0, "a")] {
        let address = house.address(from, name).await;
        address.tell(Work::Wait).await.unwrap();
        let late: Vec<_> = (0..10).map(|_| ask(&address, SHORT, Work::Begin)).collect();
        let stays = ask(&address, LONG, Work::Begin);
        for late in late {
            assert_eq!(late.await.unwrap(), Err(AskError::TimedOut(SHORT)));
        }
        // While they still lie in the mailbox.
        let mut open = [(0, 0), (0, 0)];
        (open[from].0, open[on].1) = (1, 1);
        house.until_open(&open).await;
        house.worker(on).door.add_permits(1);
        assert_eq!(stays.await.unwrap(), Ok(1));
        assert_eq!(house.worker(on).begun(), 1);
        house.until_open(&[(0, 0), (0, 0)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_cancelled_holds_nothing_though_its_reply_is_kept() {
    let house = House::new(&["a", "b"]).await;
    for (from, on, name) in [(0, 1, "b"), (1, 0, "a")] {
        let address = house.address(from, name).await;
        let asking: Vec<_> = (0..10).map(|_| ask(&address, LONG, Work::Hold)).collect();
        until("all are held", || house.worker(on).held.load(Ordering::SeqCst) == 10).await;
        assert_eq!((house.open(from).0, house.open(on).1), (10, 10));
        asking.iter().for_each(JoinHandle::abort);
        house.until_open(&[(0, 0), (0, 0)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_leaves_no_question_at_either_end() {
    let house = House::new(&["a", "b"]).await;
    let (on_a, on_b) = (house.address(1, "a").await, house.address(0, "b").await);
    let asking: Vec<_> =
        [&on_a, &on_b].into_iter().map(|address| ask(address, LONG, Work::Hold)).collect();
    house.until_open(&[(1, 1), (1, 1)]).await;
    assert!(house.network.sever("a") > 0);
    for asked in asking {
        assert!(matches!(asked.await.unwrap(), Err(AskError::LinkLost(_))));
    }
    house.until_open(&[(0, 0), (0, 0)]).await;
    // The link that is dialled anew begins with nothing.
    until("linked again", || !house.nodes[0].0.linked().is_empty()).await;
    assert_eq!((house.open(0), house.open(1)), ((0, 0), (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_handed_on_is_given_up_on_every_node() {
    let house = House::new(&["a", "b", "c"]).await;
    until("all are linked", || house.nodes[1].0.linked().len() == 2).await;
    let (on_b, on_c) = (house.address(0, "b").await, house.address(0, "c").await);
    let hand_on = |within| {
        let on_c = on_c.clone();
        ask(&on_b, within, move |reply| Work::HandOn(on_c, reply))
    };
    let (cancelled, late) = (hand_on(LONG), hand_on(SOON / 2));
    house.until_open(&[(2, 0), (2, 2), (0, 2)]).await;
    cancelled.abort();
    house.until_open(&[(1, 0), (1, 1), (0, 1)]).await;
    assert!(matches!(late.await.unwrap(), Err(AskError::TimedOut(_))));
    house.until_open(&[(0, 0), (0, 0), (0, 0)]).await;
    let lost = hand_on(LONG);
    house.until_open(&[(1, 0), (1, 1), (0, 1)]).await;
    house.network.sever("a");
    assert!(matches!(lost.await.unwrap(), Err(AskError::LinkLost(_))));
    house.until_open(&[(0, 0), (0, 0), (0, 0)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_asks_for_several_is_begun_while_one_of_them_waits() {
    let house = House::new(&["a", "b"]).await;
    let on_b = house.address(0, "b").await;
    let system = System::new("elsewhere");
    let elsewhere = system.spawn(Worker::new(), ()).await.unwrap();
    for (waits, begun) in [(LONG, true), (SHORT, false)] {
        on_b.tell(Work::Wait).await.unwrap();
        let taken = Arc::new(Mutex::new(None));
        let first = ask(&elsewhere, waits, {
            let taken = taken.clone();
            move |reply| {
                *taken.lock() = Some(reply);
                Work::Wait
            }
        });
        until("it is made", || taken.lock().is_some()).await;
        let one = taken.lock().take().unwrap();
        let second = ask(&on_b, SHORT, |other| Work::Both(one, other));
        assert_eq!(second.await.unwrap(), Err(AskError::TimedOut(SHORT)));
        house.worker(1).door.add_permits(1);
        let outcome = first.await.unwrap();
        assert_eq!(outcome, if begun { Ok(1) } else { Err(AskError::TimedOut(SHORT)) });
    }
}
