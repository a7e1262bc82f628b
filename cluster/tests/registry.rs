//! Many entries, many changes, and links that come and go: all nodes see the same in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message};
use umbel_cluster::{
    ByKey, Change, HealthCheck, LocalFirst, MemoryNetwork, Node, Offer, Pick, Query, Random,
    RoundRobin,
};
use umbel_protocol::{Identity, RegistryView};

/// Time is paused: it passes when all there is to do is done.
const LONG: Duration = Duration::from_secs(600);
const A_MOMENT: Duration = Duration::from_millis(100);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Order;

struct Clerk;

impl Actor for Clerk {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

async fn start(network: &MemoryNetwork, name: &str, seeds: &[&str]) -> Node {
    let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
    let transport = network.transport(identity);
    let builder = Node::builder().transport(transport).listen(name).join(seeds.iter().copied());
    builder.start().await.unwrap()
}

async fn clerk(node: &Node) -> Address<Order> {
    node.spawn(Clerk, ()).await.unwrap()
}

/// What a node knows, entry by entry.
fn known(node: &Node) -> BTreeMap<(String, String, u64), String> {
    let RegistryView { entries } = node.registry_view();
    let told = entries.into_iter().map(|it| {
        ((it.name.to_string(), it.node.to_string(), it.actor), format!("{:?}", it.entry))
    });
    told.collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(A_MOMENT).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Which names a stream of changes comes to.
#[derive(Default)]
struct Fold(BTreeSet<String>);

impl Fold {
    fn take(&mut self, change: Change<Order>) {
        match change {
            Change::Added(it) => assert!(self.0.insert(it.name.to_string()), "{it:?} came twice"),
            Change::Removed(it) => assert!(self.0.remove(it.name.as_str()), "{it:?} went twice"),
            Change::Changed(it) => assert!(self.0.contains(it.name.as_str()), "{it:?} was new"),
            other => panic!("{other:?}"),
        }
    }
}

fn tagged(tag: &str) -> Offer {
    Offer { tags: BTreeSet::from([tag.to_owned()]), ..Offer::default() }
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_what_is_there_and_misses_nothing_however_late_it_is_read() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    let clerk = clerk(&a).await;
    for number in 0..10 {
        a.register_with(&format!("early-{number}"), &clerk, tagged("paper")).await.unwrap();
    }
    a.register_with("other", &clerk, tagged("stone")).await.unwrap();
    let expect = |names: usize| {
        let b = b.clone();
        move || b.discover::<Order>(Query::tagged("paper")).len() == names
    };
    until("b knows the early ones", expect(10)).await;
    let mut changes = b.watch::<Order>(Query::tagged("paper")).into_changes();
    let mut fold = Fold::default();
    for _ in 0..10 {
        fold.take(changes.next().await.unwrap());
    }
    assert!(fold.0.iter().all(|name| name.starts_with("early")));
    assert!(changes.next().now_or_never().is_none(), "that was all");
    // Far more than wait for one who does not read; some come, go, and change meanwhile.
    for number in 0..3_000 {
        a.register_with(&format!("late-{number}"), &clerk, tagged("paper")).await.unwrap();
        if number % 3 == 0 {
            a.unregister(&format!("late-{}", number / 2), &clerk).await;
        }
    }
    a.register_with("early-3", &clerk, tagged("stone")).await.unwrap();
    a.unregister("early-4", &clerk).await;
    until("both nodes know the same", || known(&a) == known(&b)).await;
    let there = b.discover::<Order>(Query::tagged("paper"));
    let there: BTreeSet<_> = there.into_iter().map(|it| it.name.to_string()).collect();
    while fold.0 != there {
        fold.take(timeout(LONG, changes.next()).await.expect("nothing is missed").unwrap());
    }
    assert!(changes.next().now_or_never().is_none());
    // And it goes on from there.
    a.register_with("one more", &clerk, tagged("paper")).await.unwrap();
    fold.take(changes.next().await.unwrap());
    assert!(fold.0.contains("one more"));
}

#[tokio::test(start_paused = true)]
async fn what_is_picked_from_is_up_to_date_and_takes_no_change_away() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    let mut discovery = b.watch::<Order>("orders");
    assert!(discovery.pick(&mut Random).is_none());
    let (first, second, own) = (clerk(&a).await, clerk(&a).await, clerk(&b).await);
    a.register("orders", &first).await.unwrap();
    a.register("orders", &second).await.unwrap();
    until("b knows both", || b.discover::<Order>("orders").len() == 2).await;
    let mut turns = RoundRobin::default();
    let mut pick = |policy: &mut dyn Pick| discovery.pick(policy).unwrap().address.clone();
    let (one, other) = (pick(&mut turns), pick(&mut turns));
    assert_ne!(one, other);
    assert_eq!((pick(&mut turns), pick(&mut turns)), (one, other));
    let of_ada = pick(&mut ByKey(b"ada"));
    assert_eq!(pick(&mut ByKey(b"ada")), of_ada);
    b.register("orders", &own).await.unwrap();
    assert_eq!(pick(&mut LocalFirst(Random)), own);
    for _ in 0..3 {
        assert!(matches!(discovery.changed().await, Change::Added(_)));
    }
    assert_eq!(discovery.instances().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_and_its_return_leave_both_ends_equal_whatever_changed_meanwhile() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    let (on_a, on_b) = (clerk(&a).await, clerk(&b).await);
    let register = async |node: &Node, name: String, address: &Address<Order>, tag: &str| {
        node.register_with(&name, address, tagged(tag)).await.unwrap();
    };
    // More than one part of a snapshot, on both sides.
    for number in 0..300 {
        register(&a, format!("a-{number}"), &on_a, "one").await;
        register(&b, format!("b-{number}"), &on_b, "one").await;
    }
    let both_know = |count: usize| {
        let (a, b) = (a.clone(), b.clone());
        move || known(&a).len() == count && known(&a) == known(&b)
    };
    until("both know all", both_know(600)).await;
    for round in 0..3 {
        assert!(network.sever("a") + network.sever("b") > 0);
        // Some of it before either end has noticed, some while they are apart, some while they
        // send one another what they have.
        for number in 0..100 {
            let (gone, changed, new) = (number, 100 + number, 1_000 * (round + 1) + number);
            a.unregister(&format!("a-{gone}"), &on_a).await;
            register(&a, format!("a-{changed}"), &on_a, "other").await;
            register(&a, format!("a-{new}"), &on_a, "new").await;
            b.unregister(&format!("b-{gone}"), &on_b).await;
            register(&b, format!("b-{new}"), &on_b, "new").await;
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
            if number == 50 {
                network.sever("a");
                network.sever("b");
            }
        }
        until("both know the same", || {
            let here = known(&a);
            here == known(&b) && here.keys().any(|(name, ..)| name.starts_with("b-"))
        })
        .await;
    }
    let knows = known(&a);
    assert_eq!(knows.len(), 2 * (200 + 300));
    assert!(!knows.keys().any(|(name, ..)| name == "a-0" || name == "b-99"));
}

/// Entries of about the largest size, and so many of them that together they are more than may wait
/// on a control lane.
#[tokio::test(start_paused = true)]
async fn more_than_a_control_lane_holds_reaches_all_and_breaks_no_link() {
    let network = MemoryNetwork::new();
    let a = start(&network, "a", &[]).await;
    let b = start(&network, "b", &["a"]).await;
    assert!(b.wait_for_peers(1, LONG).await);
    let clerk = clerk(&a).await;
    let metadata = (0..16).map(|key| (format!("{key:063}"), "v".repeat(255))).collect();
    let tags = (0..16).map(|tag| format!("{tag:063}")).collect();
    let offer = Offer { metadata, tags, check: HealthCheck::None, ..Offer::default() };
    // Each takes some 6,200 bytes on the wire.
    let count = 64 * 1024 * 1024 / 5_800;
    a.register_with("first", &clerk, offer.clone()).await.unwrap();
    until("b knows the first", || !b.discover::<Order>("first").is_empty()).await;
    let mut first = b.watch::<Order>("first");
    for number in 1..count {
        a.register_with(&format!("large-{number}"), &clerk, offer.clone()).await.unwrap();
    }
    let knows = |node: &Node| node.registry_view().entries.len();
    // What is registered last is told last; and a snapshot is taken as a whole.
    let last = format!("large-{}", count - 1);
    let knows_last = |node: &Node| !node.discover::<Order>(last.as_str()).is_empty();
    until("who was there is told each", || knows_last(&b)).await;
    assert_eq!(knows(&b), count);
    assert!(first.changed().now_or_never().is_none(), "the link was lost meanwhile");
    let c = start(&network, "c", &["a"]).await;
    until("who joins is told all", || knows_last(&c)).await;
    assert_eq!(knows(&c), count);
    assert!(c.linked().contains(&a.id()));
}
