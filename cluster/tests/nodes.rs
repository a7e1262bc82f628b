//! Nodes over real mutual TLS on loopback, in one process.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, Backoff, Exit, Message, Reply,
    Strategy, Supervisor, TellError,
};
use umbel_cluster::{
    Authority, Change, IssueOptions, MemoryNetwork, Node, NodeConfig, ResolveError,
};
use umbel_protocol::Identity;

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Greet {
    Hello(String, Reply<String>),
    Count(Reply<u64>),
    /// Asks `of` on behalf of the asker: address and reply travel on.
    Forward {
        of: Address<Greet>,
        name: String,
        reply: Reply<String>,
    },
    /// Gives back the address that it was sent.
    Echo(Address<Greet>, Reply<Address<Greet>>),
    DropIt(Reply<()>),
    Hang(Reply<()>),
    Large(Vec<u8>, Reply<usize>),
    Fail,
    Quiet,
}

struct Greeter(&'static str);

impl Actor for Greeter {
    type Msg = Greet;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Greet>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Greet>,
        message: Greet,
        seen: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *seen += 1;
        match message {
            Greet::Hello(name, reply) => reply.send(format!("hello {name}, from {}", self.0)),
            Greet::Count(reply) => reply.send(*seen),
            Greet::Forward { of, name, reply } => of.tell(Greet::Hello(name, reply)).await?,
            Greet::Echo(address, reply) => reply.send(address),
            Greet::DropIt(_) | Greet::Quiet => {}
            Greet::Hang(_reply) => std::future::pending().await,
            Greet::Large(bytes, reply) => reply.send(bytes.len()),
            Greet::Fail => return Err("told to".into()),
        }
        Ok(())
    }
}

/// A cluster's authority, and nodes of it.
struct House(Authority);

impl House {
    fn new() -> Self {
        Self(Authority::create("house".parse().unwrap()).unwrap())
    }

    async fn node(&self, name: &str, seeds: &[&Node]) -> Node {
        let credentials = self.0.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
        Node::builder()
            .credentials(credentials)
            .listen("127.0.0.1:0")
            .join(seeds.iter().map(|seed| seed.address().unwrap()))
            .start()
            .await
            .unwrap()
    }
}

/// A greeter on node `a`, and how node `b` sees it.
struct Pair {
    a: Node,
    b: Node,
    greeter: Address<Greet>,
    remote: Address<Greet>,
}

impl Pair {
    async fn new() -> Self {
        let house = House::new();
        let a = house.node("a", &[]).await;
        let b = house.node("b", &[&a]).await;
        let greeter = a.spawn(Greeter("a"), ()).await.unwrap();
        a.register("greeter", &greeter).await.unwrap();
        let remote = b.resolve::<Greet>("greeter").await.unwrap();
        Self { a, b, greeter, remote }
    }
}

const SOON: Duration = Duration::from_secs(20);

async fn linked(nodes: &[&Node]) {
    for node in nodes {
        assert!(
            node.wait_for_peers(nodes.len() - 1, SOON).await,
            "{node:?} {:?}",
            node.peers().await
        );
    }
}

#[tokio::test]
async fn an_actor_of_another_node_answers() {
    let house = House::new();
    let a = house.node("a", &[]).await;
    let b = house.node("b", &[&a]).await;
    let greeter = a.spawn(Greeter("a"), ()).await.unwrap();
    a.register("greeter", &greeter).await.unwrap();
    let greeter = b.resolve::<Greet>("greeter").await.unwrap();
    assert_eq!(greeter.node(), Some("a"));
    let answer = greeter.ask(|reply| Greet::Hello("Ada".into(), reply)).await;
    assert_eq!(answer.as_deref(), Ok("hello Ada, from a"));
}

#[tokio::test]
async fn whoever_joins_through_one_node_learns_of_all() {
    let house = House::new();
    let a = house.node("a", &[]).await;
    let b = house.node("b", &[&a]).await;
    let c = house.node("c", &[&b]).await;
    let d = house.node("d", &[&a]).await;
    linked(&[&a, &b, &c, &d]).await;
}

#[tokio::test]
async fn addresses_and_replies_travel_through_three_nodes_and_mean_the_same() {
    let house = House::new();
    let a = house.node("a", &[]).await;
    let b = house.node("b", &[&a]).await;
    let c = house.node("c", &[&a]).await;
    linked(&[&a, &b, &c]).await;
    let here = a.spawn(Greeter("a"), ()).await.unwrap();
    for (node, name) in [(&b, "b"), (&c, "c")] {
        let greeter = node.spawn(Greeter(name), ()).await.unwrap();
        node.register(name, &greeter).await.unwrap();
    }
    let on_b = a.resolve::<Greet>("b").await.unwrap();
    let on_c = a.resolve::<Greet>("c").await.unwrap();
    // a asks b, which hands the question on to c; c's answer comes back to a through b.
    let answer =
        on_b.ask(|reply| Greet::Forward { of: on_c.clone(), name: "Ada".into(), reply }).await;
    assert_eq!(answer.as_deref(), Ok("hello Ada, from c"));
    // Our own address comes home as our own.
    assert_eq!(on_b.ask(|reply| Greet::Echo(here.clone(), reply)).await.unwrap(), here);
    assert_eq!(on_b.ask(|reply| Greet::Echo(on_c.clone(), reply)).await.unwrap(), on_c);
    // b asks a back, at an address that it was sent.
    let answer =
        on_b.ask(|reply| Greet::Forward { of: here.clone(), name: "Bob".into(), reply }).await;
    assert_eq!(answer.as_deref(), Ok("hello Bob, from a"));
}

#[tokio::test]
async fn every_failure_of_a_remote_ask_is_answered() {
    let Pair { a, greeter, remote, .. } = Pair::new().await;
    let long = Duration::from_secs(60);

    assert_eq!(remote.ask_within(long, Greet::DropIt).await, Err(AskError::Dropped));
    let short = Duration::from_millis(50);
    assert_eq!(remote.ask_within(short, Greet::Hang).await, Err(AskError::TimedOut(short)));

    // It hangs now; what waits behind it ends when it is killed.
    let (waiting, end) = (remote.clone(), remote.watch());
    let waiting = tokio::spawn(async move { waiting.ask_within(long, Greet::Count).await });
    while greeter.depth() != Some(1) {
        tokio::task::yield_now().await;
    }
    a.system().shutdown(Duration::ZERO).await;
    let answer = waiting.await.unwrap();
    assert!(matches!(answer, Err(AskError::Dropped | AskError::LinkLost(_))), "{answer:?}");
    assert!(matches!(end.await, Exit::Killed | Exit::NodeDown));
}

#[tokio::test]
async fn a_dead_actors_entry_goes_and_its_address_says_so() {
    let Pair { b, remote, .. } = Pair::new().await;
    let mut discovery = b.watch::<Greet>("greeter");
    assert_eq!(discovery.instances().len(), 1);
    let end = remote.watch();
    remote.tell(Greet::Fail).await.unwrap();
    assert_eq!(end.await, Exit::Failed("told to".into()));
    assert!(matches!(discovery.changed().await, Change::Removed(_)));
    assert!(discovery.instances().is_empty());
    let short = Duration::from_millis(50);
    let gone = b.resolve_within::<Greet>(short, "greeter").await;
    assert!(matches!(gone, Err(ResolveError::NotFound { .. })));
    assert_eq!(remote.ask(Greet::Count).await, Err(AskError::NoSuchActor));
    assert_eq!(remote.watch().await, Exit::NoSuchActor);
}

#[tokio::test]
async fn when_a_node_leaves_its_entries_go_and_its_addresses_cannot_be_reached() {
    let Pair { a, b, remote, .. } = Pair::new().await;
    let mut discovery = b.watch::<Greet>("greeter");
    a.leave(Duration::from_secs(5)).await;
    assert!(matches!(discovery.changed().await, Change::Removed(_)));
    let answer = remote.ask(Greet::Count).await;
    assert_eq!(answer, Err(AskError::Unreachable("a".into())));
    let told = remote.tell(Greet::Quiet).await;
    assert!(matches!(told, Err(TellError::Unreachable { message: Greet::Quiet, .. })));
}

#[tokio::test]
async fn what_a_remote_actor_is_sent_between_two_lives_waits_for_the_next() {
    let house = House::new();
    let a = house.node("a", &[]).await;
    let b = house.node("b", &[&a]).await;
    let child = a
        .system()
        .child("greeter", || (Greeter("a"), ()))
        .backoff(Backoff::constant(Duration::from_millis(500)));
    let greeter = child.handle().clone();
    let tree = Supervisor::new("tree", Strategy::OneForOne).child(child);
    let _tree = a.system().supervise(tree).await.unwrap();
    a.register("greeter", &greeter).await.unwrap();
    let remote = b.resolve::<Greet>("greeter").await.unwrap();
    let end = remote.watch();
    remote.tell(Greet::Fail).await.unwrap();
    end.await;
    for _ in 0..10 {
        remote.tell(Greet::Quiet).await.unwrap();
    }
    assert_eq!(remote.ask_within(SOON, Greet::Count).await, Ok(11));
}

#[tokio::test]
async fn a_message_beyond_the_frame_limit_is_carried_all_the_same() {
    let Pair { remote, .. } = Pair::new().await;
    let max = NodeConfig::default().frame_bytes_max;
    for bytes in [max - 1024, max, 2 * max] {
        let answer = remote.ask(|reply| Greet::Large(vec![7; bytes], reply)).await;
        assert_eq!(answer, Ok(bytes));
    }
    assert!(remote.ask(Greet::Count).await.is_ok(), "the lane is as good as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_messages_arrive_once_and_in_order_from_many_senders() {
    let Pair { remote, .. } = Pair::new().await;
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move {
                for _ in 0..20_000 {
                    remote.tell(Greet::Quiet).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let count = remote.ask_within(Duration::from_secs(60), Greet::Count).await;
    assert_eq!(count, Ok(80_001));
}

#[derive(Message, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[message(remote)]
struct News(u64);

#[tokio::test]
async fn what_is_published_goes_once_to_each_interested_node() {
    let house = House::new();
    let a = house.node("a", &[]).await;
    let b = house.node("b", &[&a]).await;
    let c = house.node("c", &[&a]).await;
    linked(&[&a, &b, &c]).await;
    let topic = a.topic::<News>("news").unwrap();
    let mut here = topic.subscribe().unwrap();
    let on_b = b.topic::<News>("news").unwrap();
    let (mut first, mut second) = (on_b.subscribe().unwrap(), on_b.subscribe().unwrap());
    // Interest is on its way: publish until it has come.
    let mut published = topic.publish(News(0)).await.unwrap();
    while published.nodes == 0 {
        tokio::task::yield_now().await;
        published = topic.publish(News(0)).await.unwrap();
    }
    assert_eq!((published.subscribers_here, published.nodes), (1, 1));
    for number in 1..=100 {
        topic.publish(News(number)).await.unwrap();
    }
    for subscription in [&mut here, &mut first, &mut second] {
        let mut heard = News(0);
        while heard == News(0) {
            heard = subscription.recv().await.unwrap();
        }
        for number in 1..=100 {
            assert_eq!(heard, News(number));
            if number < 100 {
                heard = subscription.recv().await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_cut_is_dialled_again_and_what_is_registered_comes_back() {
    let network = MemoryNetwork::new();
    let start = async |name: &str, seeds: &[&str]| {
        let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
        Node::builder()
            .transport(network.transport(identity))
            .listen(name)
            .join(seeds.iter().copied())
            .start()
            .await
            .unwrap()
    };
    let a = start("a", &[]).await;
    let b = start("b", &["a"]).await;
    let greeter = a.spawn(Greeter("a"), ()).await.unwrap();
    a.register("greeter", &greeter).await.unwrap();
    let remote = b.resolve::<Greet>("greeter").await.unwrap();
    let asking = remote.clone();
    let asking = tokio::spawn(async move { asking.ask_within(SOON, Greet::Hang).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut discovery = b.watch::<Greet>("greeter");
    assert!(network.sever("a") > 0);
    assert_eq!(asking.await.unwrap(), Err(AskError::LinkLost("a".into())));
    assert!(matches!(discovery.changed().await, Change::Removed(_)));
    assert!(matches!(discovery.changed().await, Change::Added(_)));
    assert_eq!(b.linked().len(), 1);
    // The same life of the node: the old address works again, and the actor still hangs in what
    // it was asked before.
    let within = Duration::from_millis(100);
    assert_eq!(remote.ask_within(within, Greet::Count).await, Err(AskError::TimedOut(within)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_asked_at_the_moment_of_its_wake_up_keeps_one_timer() {
    let network = MemoryNetwork::new();
    let identity = Identity::new("house".parse().unwrap(), "a".parse().unwrap());
    let node = Node::builder()
        .transport(network.transport(identity))
        // Nobody is there: it wakes up to dial again and again.
        .join(["nowhere"])
        .start()
        .await
        .unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..20_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.peers().await.unwrap();
    }
    // The timer, and a dial that may be under way.
    assert!(tasks() <= before + 2, "{} tasks, and {before} in the beginning", tasks());
}
