//! Death watch over a link says why.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Exit, Message, Reply};
use umbel_cluster::{Authority, IssueOptions, MemoryNetwork, Node};
use umbel_protocol::{Identity, Reason};

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Order {
    Stop,
    Fail(String),
    Panic(String),
    Kill,
    /// Answered when it was taken.
    Ready(Reply<()>),
}

struct Soldier;

impl Actor for Soldier {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        order: Order,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Stop => myself.stop(None),
            Order::Fail(why) => return Err(why.into()),
            Order::Panic(why) => panic!("{why}"),
            Order::Kill => myself.kill(),
            Order::Ready(reply) => reply.send(()),
        }
        Ok(())
    }
}

const SOON: Duration = Duration::from_secs(20);

async fn start(authority: &Authority, name: &str, seed: Option<String>) -> Node {
    let credentials = authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap();
    let node = Node::builder().credentials(credentials).listen("127.0.0.1:0").join(seed);
    node.start().await.unwrap()
}

/// An actor of `a`, as it is here and as `b` sees it.
async fn soldier(a: &Node, b: &Node, name: &str) -> (Address<Order>, Address<Order>) {
    let soldier = a.spawn(Soldier, ()).await.unwrap();
    a.register(name, &soldier).await.unwrap();
    let remote = b.resolve::<Order>(name).await.unwrap();
    remote.ask(Order::Ready).await.unwrap();
    (soldier, remote)
}

async fn end(watch: umbel_actors::Watch) -> Exit {
    timeout(SOON, watch).await.expect("the watcher is told")
}

#[tokio::test]
async fn each_end_of_an_actor_is_told_to_its_watcher_on_another_node() {
    let authority = Authority::create("house".parse().unwrap()).unwrap();
    let a = start(&authority, "a", None).await;
    let b = start(&authority, "b", a.address()).await;
    let failed = |why: &str| Exit::Failed(why.to_owned());
    let orders = [
        ("stops", Order::Stop, Exit::Stopped),
        ("fails", Order::Fail("no powder".into()), failed("no powder")),
        ("panics", Order::Panic("no nerves".into()), failed("panicked: no nerves")),
        ("killed", Order::Kill, Exit::Killed),
        // What a reason may not hold is left out.
        ("odd", Order::Fail("two\nlines".into()), failed("two lines")),
    ];
    for (name, order, exit) in orders {
        let (here, remote) = soldier(&a, &b, name).await;
        let (watch, second, local) = (remote.watch(), remote.watch(), here.watch());
        until_watched(&a, &b, name).await;
        remote.tell(order).await.unwrap();
        assert_eq!((end(watch).await, end(second).await), (exit.clone(), exit.clone()), "{name}");
        let local = end(local).await;
        assert!(name == "odd" || local == exit, "{name}: {local}");
        // And who comes later is told that there is none.
        assert_eq!(end(remote.watch()).await, Exit::NoSuchActor, "{name}");
        assert_eq!(end(here.watch()).await, Exit::NoSuchActor, "{name}");
    }
}

/// Waits until what `b` watches is known to `a`. Watches and registrations go over one lane, and
/// messages over another: what is registered now arrives after the watches.
async fn until_watched(a: &Node, b: &Node, name: &str) {
    let name = format!("after {name}");
    let last = b.spawn(Soldier, ()).await.unwrap();
    b.register(&name, &last).await.unwrap();
    a.resolve::<Order>(&name).await.unwrap();
}

#[tokio::test]
async fn a_reason_is_cut_here_and_on_other_nodes() {
    let authority = Authority::create("house".parse().unwrap()).unwrap();
    let a = start(&authority, "a", None).await;
    let b = start(&authority, "b", a.address()).await;
    for panics in [false, true] {
        let name = if panics { "panics" } else { "fails" };
        let (here, remote) = soldier(&a, &b, name).await;
        let (watch, local) = (remote.watch(), here.watch());
        until_watched(&a, &b, name).await;
        let why = "é".repeat(100_000);
        let order = if panics { Order::Panic(why) } else { Order::Fail(why) };
        remote.tell(order).await.unwrap();
        let Exit::Failed(local) = end(local).await else { panic!("it failed") };
        assert!((4000..=4096).contains(&local.len()), "{}", local.len());
        let Exit::Failed(why) = end(watch).await else { panic!("it failed") };
        assert!(why.len() > 500 && why.len() <= Reason::BYTES_MAX, "{}", why.len());
    }
}

#[tokio::test(start_paused = true)]
async fn one_watch_more_than_the_bound_is_refused_and_says_so() {
    const WATCHES_MAX: usize = 1 << 16;
    let network = MemoryNetwork::new();
    let start = async |name: &str, seeds: Option<&str>| {
        let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
        let node = Node::builder().transport(network.transport(identity)).listen(name).join(seeds);
        node.start().await.unwrap()
    };
    let a = start("a", None).await;
    let b = start("b", Some("a")).await;
    let (_here, remote) = soldier(&a, &b, "soldier").await;
    let watches: Vec<_> = (0..WATCHES_MAX).map(|_| remote.watch()).collect();
    assert_eq!(end(remote.watch()).await, Exit::TooManyWatches);
    remote.tell(Order::Stop).await.unwrap();
    for watch in watches {
        assert_eq!(end(watch).await, Exit::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_is_told_as_such_whether_it_leaves_is_cut_off_or_dies() {
    let network = MemoryNetwork::new();
    let start = async |name: &str, seeds: Option<&str>| {
        let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
        let node = Node::builder().transport(network.transport(identity)).listen(name).join(seeds);
        node.start().await.unwrap()
    };
    let b = start("b", None).await;
    for ending in ["leaves", "is cut off", "dies"] {
        let a = start("a", Some("b")).await;
        let (_here, remote) = soldier(&a, &b, "soldier").await;
        let watch = remote.watch();
        until_watched(&a, &b, ending).await;
        match ending {
            "leaves" => drop(a.leave(SOON).await),
            "is cut off" => assert!(network.sever("b") > 0),
            _ => drop(a.system().shutdown(Duration::ZERO).await),
        }
        let exit = end(watch).await;
        // A node that ends may still say how its actors did.
        let last_words = match ending {
            "leaves" => Exit::Stopped,
            "is cut off" => Exit::NodeDown,
            _ => Exit::Killed,
        };
        assert!(exit == Exit::NodeDown || exit == last_words, "{ending}: {exit}");
        if ending == "is cut off" {
            a.leave(SOON).await;
        }
        while !b.linked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(end(remote.watch()).await, Exit::NodeDown, "{ending}");
    }
}
