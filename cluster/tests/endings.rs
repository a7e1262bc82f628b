//! How a node ends, and what its peers see of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, AskError, Exit, Message, Reply};
use umbel_cluster::{
    Authority, Change, IssueOptions, MemoryNetwork, MemoryTransport, Node, NodeConfig,
    RegisterError, TcpTransport, Transport,
};
use umbel_protocol::{Identity, PeerState};

/// Far below the bound on silence, by which everything is noticed in the end.
const SOON: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Nothing;

struct Idle;

impl Actor for Idle {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Hold {
    /// To be answered together with all the others, by so many bytes.
    Question(usize, Reply<Vec<u8>>),
    /// Tells so many to the address.
    Tell(u64, Address<Hold>, Reply<()>),
    Told(Vec<u8>),
    Answer(Reply<()>),
    Count(Reply<u64>),
}

#[derive(Default)]
struct Held {
    questions: Vec<(usize, Reply<Vec<u8>>)>,
    told: u64,
}

/// Answers nothing until it is told to.
struct Holder;

impl Actor for Holder {
    type Msg = Hold;
    type State = Held;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Hold>, (): ()) -> Result<Held, ActorProcessingErr> {
        Ok(Held::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Hold>,
        message: Hold,
        held: &mut Held,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Hold::Question(bytes, reply) => held.questions.push((bytes, reply)),
            Hold::Tell(count, to, reply) => {
                for _ in 0..count {
                    to.tell(Hold::Told(vec![7; TOLD_BYTES])).await?;
                }
                reply.send(());
            }
            Hold::Told(_) => held.told += 1,
            Hold::Answer(done) => {
                for (bytes, reply) in held.questions.drain(..) {
                    reply.send(vec![7; bytes]);
                }
                done.send(());
            }
            Hold::Count(reply) => reply.send(held.questions.len() as u64 + held.told),
        }
        Ok(())
    }
}

/// A holder on each of two nodes, and each as the other node sees it.
struct Pair {
    a: Node,
    b: Node,
    on_a: Address<Hold>,
    on_b: Address<Hold>,
    a_from_b: Address<Hold>,
    b_from_a: Address<Hold>,
}

impl Pair {
    async fn new(a: Node, b: Node) -> Self {
        let on_a = a.spawn(Holder, ()).await.unwrap();
        let on_b = b.spawn(Holder, ()).await.unwrap();
        a.register("on a", &on_a).await.unwrap();
        b.register("on b", &on_b).await.unwrap();
        let a_from_b = b.resolve("on a").await.unwrap();
        let b_from_a = a.resolve("on b").await.unwrap();
        Self { a, b, on_a, on_b, a_from_b, b_from_a }
    }

    async fn in_memory() -> Self {
        let network = MemoryNetwork::new();
        let a = start(&network, "a", &[]).await;
        let b = start(&network, "b", &["a"]).await;
        Self::new(a, b).await
    }

    async fn over_tls() -> Self {
        let authority = Authority::create("house".parse().unwrap()).unwrap();
        let node = |name: &str| {
            let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new());
            let transport = TcpTransport::new(&credentials.unwrap());
            Node::builder().transport(transport).listen("127.0.0.1:0")
        };
        let a = node("a").start().await.unwrap();
        let b = node("b").join(a.address()).start().await.unwrap();
        Self::new(a, b).await
    }
}

async fn count(holder: &Address<Hold>) -> u64 {
    holder.ask(Hold::Count).await.unwrap()
}

fn transport(network: &MemoryNetwork, name: &str) -> MemoryTransport {
    network.transport(Identity::new("house".parse().unwrap(), name.parse().unwrap()))
}

async fn start(network: &MemoryNetwork, name: &str, seeds: &[&str]) -> Node {
    Node::builder()
        .transport(transport(network, name))
        .listen(name)
        .join(seeds.iter().copied())
        .start()
        .await
        .unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Leaves the node's actors, its coordinator among them, no time to end by themselves.
async fn kill(node: &Node) {
    let report = node.system().shutdown(Duration::ZERO).await;
    assert!(!report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_killed_is_noticed_when_its_connections_end() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    assert!(a.wait_for_peers(1, NodeConfig::default().peers.silence_max).await);
    assert!(b.wait_for_peers(1, SOON).await);
    let linked = b.linked();
    let since = Instant::now();
    kill(&a).await;
    assert!(b.links_changed(&linked).await.is_empty());
    let took = since.elapsed();
    assert!(took < SOON, "noticed after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_killed_sees_nobody_and_keeps_none_of_its_watchers_waiting() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    let idle = b.spawn(Idle, ()).await.unwrap();
    b.register("idle", &idle).await.unwrap();
    let remote = a.resolve::<Nothing>("idle").await.unwrap();
    let end = remote.watch();
    kill(&a).await;
    assert_eq!(tokio::time::timeout(SOON, end).await, Ok(Exit::NodeDown));
    assert!(a.linked().is_empty());
}

/// Far more than a socket holds, so that most of it is not written when the goodbye is said. Not large
/// enough for the bulk lane, whose thread a busy machine lets wait for longer than a goodbye.
const ANSWERS: usize = 60;
const ANSWER_BYTES: usize = 100 * 1024;
const TOLD_BYTES: usize = 8 * 1024;

async fn answers_arrive(pair: Pair) {
    let Pair { a, b, on_a, a_from_b, .. } = pair;
    let asking: Vec<_> = (0..ANSWERS)
        .map(|_| {
            let holder = a_from_b.clone();
            tokio::spawn(async move {
                holder.ask_within(LONG, |reply| Hold::Question(ANSWER_BYTES, reply)).await
            })
        })
        .collect();
    while count(&on_a).await < ANSWERS as u64 {}
    on_a.ask(Hold::Answer).await.unwrap();
    a.leave(LONG).await;
    for asked in asking {
        assert_eq!(asked.await.unwrap().map(|answer| answer.len()), Ok(ANSWER_BYTES));
    }
    let peers = b.peers().await.unwrap().peers;
    assert!(matches!(peers[0].state, PeerState::Left { .. }), "{peers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_the_node_left_arrives() {
    answers_arrive(Pair::in_memory().await).await;
}

#[tokio::test]
async fn what_was_answered_before_the_node_left_arrives_over_tls() {
    answers_arrive(Pair::over_tls().await).await;
}

async fn tells_arrive(pair: Pair) {
    let Pair { a, b: _b, on_a, on_b, b_from_a, .. } = pair;
    let told = 500;
    on_a.ask(|reply| Hold::Tell(told, b_from_a, reply)).await.unwrap();
    a.leave(LONG).await;
    let arrived = async {
        while count(&on_b).await < told {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, arrived).await.expect("all that was told arrives");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_the_node_left_arrives() {
    tells_arrive(Pair::in_memory().await).await;
}

#[tokio::test]
async fn what_was_told_before_the_node_left_arrives_over_tls() {
    tells_arrive(Pair::over_tls().await).await;
}

/// And what the node that stays had sent before it heard the goodbye.
#[tokio::test(start_paused = true)]
async fn what_a_leaving_node_is_answered_arrives_there() {
    let Pair { a, on_b, b_from_a, .. } = Pair::in_memory().await;
    let asking: Vec<_> = (0..ANSWERS)
        .map(|_| {
            let holder = b_from_a.clone();
            tokio::spawn(async move {
                holder.ask_within(LONG, |reply| Hold::Question(ANSWER_BYTES, reply)).await
            })
        })
        .collect();
    while count(&on_b).await < ANSWERS as u64 {}
    on_b.ask(Hold::Answer).await.unwrap();
    a.leave(LONG).await;
    for asked in asking {
        assert_eq!(asked.await.unwrap().map(|answer| answer.len()), Ok(ANSWER_BYTES));
    }
}

/// Asks the holder a question that it answers when it is told to.
async fn ask(pair: &Pair) -> tokio::task::JoinHandle<Result<Vec<u8>, AskError>> {
    let asking = pair.a_from_b.clone();
    let asking =
        tokio::spawn(
            async move { asking.ask_within(LONG, |reply| Hold::Question(1, reply)).await },
        );
    while count(&pair.on_a).await < 1 {}
    asking
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_answers_holds_a_leaving_node_for_half_its_time_and_is_lost() {
    let pair = Pair::in_memory().await;
    let asking = ask(&pair).await;
    let since = Instant::now();
    let deadline = Duration::from_secs(4);
    pair.a.leave(deadline).await;
    assert_eq!(asking.await.unwrap(), Err(AskError::LinkLost("a".into())));
    assert!((deadline / 2..deadline / 2 + SOON).contains(&since.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_is_found_no_more_and_then_answers_what_it_was_asked_and_then_is_gone() {
    let pair = Pair::in_memory().await;
    let asking = ask(&pair).await;
    let mut discovery = pair.b.watch::<Hold>("on a");
    assert_eq!(discovery.instances().len(), 1);
    let leaving = tokio::spawn({
        let a = pair.a.clone();
        async move { a.leave(LONG).await }
    });
    assert!(matches!(discovery.changed().await, Change::Removed(_)));
    let refused = pair.a.register("late", &pair.on_a).await;
    assert!(matches!(refused, Err(RegisterError::Leaving)), "{refused:?}");
    assert_eq!(pair.b.linked().len(), 1);
    assert!(!asking.is_finished() && !leaving.is_finished());
    let since = Instant::now();
    pair.on_a.ask(Hold::Answer).await.unwrap();
    assert_eq!(asking.await.unwrap().map(|answer| answer.len()), Ok(1));
    leaving.await.unwrap();
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_leave_at_once_do_not_wait_for_one_another() {
    let Pair { a, b, .. } = Pair::in_memory().await;
    let since = Instant::now();
    tokio::join!(a.leave(LONG), b.leave(LONG));
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_task_outlives_its_node() {
    let network = MemoryNetwork::new();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    // One who is dialled and never accepts, and one who dials and says nothing.
    let _deaf = transport(&network, "deaf").listen("deaf").await.unwrap();
    let a = start(&network, "a", &["deaf"]).await;
    let _mute = transport(&network, "mute").dial("a").await.unwrap();
    let b = start(&network, "b", &["a"]).await;
    assert!(b.wait_for_peers(1, NodeConfig::default().peers.silence_max).await);
    kill(&a).await;
    kill(&b).await;
    until("every task has ended", || tasks() <= before).await;

    let a = start(&network, "a", &["deaf"]).await;
    let b = start(&network, "b", &["a"]).await;
    assert!(b.wait_for_peers(1, NodeConfig::default().peers.silence_max).await);
    b.leave(SOON).await;
    a.leave(SOON).await;
    until("every task has ended", || tasks() <= before).await;
}
