//! Large messages: they arrive whole and in order, delay nobody else's, and end with an answer.

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use umbel_actors::wire::Unanswered;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, DeadLetterReason, Message, Reply,
    TellError,
};
use umbel_cluster::{MemoryNetwork, Node, NodeConfig};
use umbel_protocol::Identity;

const SOON: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// Bytes that serde takes for such.
#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Visit)
    }
}

/// Bytes of which each says where it stands.
fn bytes(length: usize) -> Bytes {
    let pattern: Vec<u8> = (0..251).collect();
    let mut bytes = pattern.repeat(length / 251 + 1);
    bytes.truncate(length);
    Bytes(bytes)
}

#[derive(Message, Clone, Debug, Serialize, Deserialize, PartialEq)]
#[message(remote)]
struct News(u64, Bytes);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Store {
    Keep(u64, Bytes),
    /// What was kept, in its order, and its bytes.
    Kept(Reply<(Vec<u64>, u64)>),
    Echo(Bytes, Reply<Bytes>),
    Make(u64, Reply<Bytes>),
    Measure(Bytes, Reply<u64>),
    Hang(Reply<()>),
}

struct Keeper;

#[derive(Default)]
struct Shelf {
    order: Vec<u64>,
    bytes: u64,
}

impl Actor for Keeper {
    type Msg = Store;
    type State = Shelf;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Store>, (): ()) -> Result<Shelf, ActorProcessingErr> {
        Ok(Shelf::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Store>,
        message: Store,
        shelf: &mut Shelf,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Store::Keep(number, kept) => {
                assert_eq!(kept, bytes(kept.0.len()), "it came as it was sent");
                shelf.order.push(number);
                shelf.bytes += kept.0.len() as u64;
            }
            Store::Kept(reply) => reply.send((std::mem::take(&mut shelf.order), shelf.bytes)),
            Store::Echo(bytes, reply) => reply.send(bytes),
            Store::Make(length, reply) => reply.send(bytes(length as usize)),
            Store::Measure(bytes, reply) => reply.send(bytes.0.len() as u64),
            Store::Hang(_reply) => std::future::pending().await,
        }
        Ok(())
    }
}

struct Pair {
    network: MemoryNetwork,
    /// Dialled by the other one.
    a: Node,
    b: Node,
    /// On `a`, as `b` sees it.
    keeper: Address<Store>,
}

impl Pair {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(configure: impl Fn(&mut NodeConfig)) -> Self {
        let network = MemoryNetwork::new();
        let mut config = NodeConfig::default();
        configure(&mut config);
        let start = async |name: &str, seeds: &[&str]| {
            let identity = Identity::new("store".parse().unwrap(), name.parse().unwrap());
            let builder = Node::builder().transport(network.transport(identity)).listen(name);
            let builder = builder.config(config.clone()).join(seeds.iter().copied());
            builder.start().await.unwrap()
        };
        let a = start("a", &[]).await;
        let b = start("b", &["a"]).await;
        let keeper = keeper(&a, "keeper", &b).await;
        Self { network, a, b, keeper }
    }
}

async fn keeper(on: &Node, name: &str, seen_from: &Node) -> Address<Store> {
    let keeper = on.spawn(Keeper, ()).await.unwrap();
    on.register(name, &keeper).await.unwrap();
    seen_from.resolve_within(SOON, name).await.unwrap()
}

#[tokio::test]
async fn what_is_large_arrives_whole_either_way() {
    let Pair { a, b, keeper: on_a, network: _ } = Pair::new().await;
    let on_b = keeper(&b, "other", &a).await;
    // Around the size at which the lane changes, and around that of a chunk.
    let around = [64 << 10, 128 << 10, MIB, 3 * MIB];
    for length in around.into_iter().flat_map(|at| [at - 1, at, at + 1]) {
        // The side that dialled and the one that did not.
        for keeper in [&on_b, &on_a] {
            keeper.tell(Store::Keep(1, bytes(length))).await.unwrap();
            let measured = keeper.ask_within(SOON, |reply| Store::Measure(bytes(length), reply));
            assert_eq!(measured.await, Ok(length as u64));
            let made = keeper.ask_within(SOON, |reply| Store::Make(length as u64, reply)).await;
            assert!(made == Ok(bytes(length)), "{length}");
            let echo = keeper.ask_within(SOON, |reply| Store::Echo(bytes(length), reply)).await;
            assert!(echo == Ok(bytes(length)), "{length}");
        }
    }
    for keeper in [on_a, on_b] {
        let (kept, _) = keeper.ask(Store::Kept).await.unwrap();
        assert_eq!(kept.len(), 12);
    }
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_comes_back_to_its_sender() {
    let Pair { keeper, .. } = Pair::new().await;
    let max = NodeConfig::default().message_bytes_max;
    // The tag, the number and the length take seven bytes.
    keeper.tell(Store::Keep(1, bytes(max - 7))).await.unwrap();
    let told = keeper.tell(Store::Keep(2, bytes(max - 6))).await;
    let Err(TellError::Unencodable { message: Store::Keep(2, back), why }) = told else { panic!() };
    assert_eq!(back.0.len(), max - 6);
    assert!(why.to_string().contains(&max.to_string()), "{why}");
    assert_eq!(keeper.ask_within(SOON, Store::Kept).await, Ok((vec![1], max as u64 - 7)));
    let answer = keeper.ask_within(SOON, |reply| Store::Make(max as u64, reply)).await;
    assert!(matches!(answer, Err(AskError::AnswerUnencodable(_))), "{answer:?}");
}

#[tokio::test]
async fn one_senders_messages_keep_their_order_whatever_their_size() {
    let Pair { keeper, .. } = Pair::new().await;
    let senders: Vec<_> = (0..4_u64)
        .map(|sender| {
            let keeper = keeper.clone();
            tokio::spawn(async move {
                for turn in 0..60_u64 {
                    // Small ones before and behind each large one, and large ones of all sizes.
                    let length = match (turn + sender) % 6 {
                        0 => 3 * MIB,
                        3 => 200_000,
                        4 => MIB,
                        _ => 10,
                    };
                    let number = sender * 1000 + turn;
                    keeper.tell(Store::Keep(number, bytes(length))).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut kept = Vec::new();
    while kept.len() < 240 {
        kept.extend(keeper.ask_within(SOON, Store::Kept).await.unwrap().0);
    }
    for sender in 0..4 {
        let of_one: Vec<_> = kept.iter().filter(|number| **number / 1000 == sender).collect();
        assert!(of_one.is_sorted() && of_one.len() == 60, "{of_one:?}");
    }
}

#[tokio::test]
async fn what_follows_a_large_message_waits_and_what_others_send_does_not() {
    let Pair { a, b, keeper: first, .. } = Pair::new().await;
    let second = keeper(&a, "second", &b).await;
    // The bulk lane is open.
    first.tell(Store::Keep(0, bytes(MIB))).await.unwrap();
    first.try_tell(Store::Keep(1, bytes(16 * MIB))).map_err(TellError::into_message).ok();
    while !matches!(first.try_tell(Store::Keep(2, bytes(8 * MIB))), Ok(())) {
        tokio::task::yield_now().await;
    }
    // Nothing has run since it was taken: its sender is told to wait, for this receiver only.
    assert!(matches!(first.try_tell(Store::Keep(3, bytes(1))), Err(TellError::Full(_))));
    second.try_tell(Store::Keep(3, bytes(1))).unwrap();
    // Another sender's question is answered before the large message is there.
    let asked = {
        let first = first.clone();
        tokio::spawn(async move { first.ask(Store::Kept).await.unwrap().0 })
    };
    let before = asked.await.unwrap();
    assert!(!before.contains(&2), "{before:?}");
    first.tell(Store::Keep(4, bytes(1))).await.unwrap();
    let (after, _) = first.ask_within(SOON, Store::Kept).await.unwrap();
    assert!(after.ends_with(&[2, 4]), "{after:?}");
}

#[tokio::test]
async fn publications_are_large_too_and_keep_their_order() {
    let Pair { a, b, .. } = Pair::new().await;
    let topic = b.topic::<News>("news").unwrap();
    let mut subscription = a.topic::<News>("news").unwrap().subscribe().unwrap();
    let small = |number| News(number, bytes(1));
    while topic.publish(small(0)).await.unwrap().nodes == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for turn in 1..20 {
        let length = if turn % 3 == 0 { MIB } else { 10 };
        assert_eq!(topic.publish(News(turn, bytes(length))).await.unwrap().nodes, 1);
    }
    for turn in 0..20 {
        let News(number, heard) = subscription.recv().await.unwrap();
        assert_eq!(number, turn);
        assert_eq!(heard, bytes(heard.0.len()));
    }
}

#[tokio::test]
async fn a_question_that_is_given_up_stops_on_its_way_and_costs_nothing() {
    let Pair { keeper, .. } = Pair::new().await;
    for turn in 0..60 {
        let large = bytes(if turn % 2 == 0 { 20 * MIB } else { MIB });
        let mut asking = Box::pin(keeper.ask_within(SOON, |reply| Store::Measure(large, reply)));
        // Given up at another place each time.
        for _ in 0..turn * 3 {
            let polled = futures_util::poll!(asking.as_mut());
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(asking);
    }
    // All credit is there: this one needs the whole window.
    let answer = keeper.ask_within(SOON, |reply| Store::Measure(bytes(20 * MIB), reply)).await;
    assert_eq!(answer, Ok(20 * MIB as u64));
    // And no slot was taken for another's.
    for number in 0..1000 {
        let answer = keeper.ask(|reply| Store::Measure(bytes(number), reply)).await;
        assert_eq!(answer, Ok(number as u64));
    }
}

#[tokio::test]
async fn while_large_messages_lie_unread_their_senders_wait_and_others_do_not() {
    let Pair { a, b, keeper: stalled, .. } = Pair::new().await;
    let busy = keeper(&a, "busy", &b).await;
    let hanging = {
        let stalled = stalled.clone();
        tokio::spawn(async move { stalled.ask_within(SOON, Store::Hang).await })
    };
    let mut sent = 0;
    let tell = || stalled.tell(Store::Keep(1, bytes(MIB)));
    while tokio::time::timeout(Duration::from_millis(500), tell()).await.is_ok() {
        sent += 1;
        assert!(sent <= 17, "the window is 16 MiB");
    }
    assert!(sent >= 14, "{sent}");
    let message = Store::Keep(1, bytes(MIB));
    assert!(matches!(stalled.try_tell(message), Err(TellError::Full(Store::Keep(1, _)))));
    for number in 0..100 {
        let answer = busy.ask(|reply| Store::Measure(bytes(number), reply)).await;
        assert_eq!(answer, Ok(number as u64));
    }
    // Large answers have a window of their own.
    let made = busy.ask_within(SOON, |reply| Store::Make(20 << 20, reply)).await.unwrap();
    assert_eq!(made.0.len(), 20 * MIB);
    hanging.abort();
    let _ = hanging.await;
    // One who waits is told when its node leaves.
    let waiting = tokio::spawn(async move { stalled.tell(Store::Keep(1, bytes(MIB))).await });
    tokio::task::yield_now().await;
    a.leave(Duration::from_secs(5)).await;
    assert!(matches!(waiting.await.unwrap(), Err(TellError::Unreachable { .. })));
}

#[tokio::test]
async fn what_a_lost_link_cuts_short_is_answered_or_a_dead_letter() {
    let Pair { a: _a, b, keeper, network } = Pair::new().await;
    let mut letters = b.system().dead_letters();
    keeper.tell(Store::Keep(0, bytes(MIB))).await.unwrap();
    keeper.ask(Store::Kept).await.unwrap();
    let asking = {
        let keeper = keeper.clone();
        tokio::spawn(async move {
            keeper.ask_within(SOON, |reply| Store::Measure(bytes(6 * MIB), reply)).await
        })
    };
    // The tell goes at once, and its turn is not over when the link is cut.
    keeper.tell(Store::Keep(1, bytes(6 * MIB))).await.unwrap();
    assert!(network.sever("a") >= 3);
    assert_eq!(asking.await.unwrap(), Err(AskError::LinkLost("a".into())));
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.why, DeadLetterReason::Refused(Unanswered::LinkLost("a".into())));
}

#[tokio::test]
async fn a_node_that_leaves_has_sent_its_large_messages_first() {
    let Pair { a, b, keeper, network: _ } = Pair::new().await;
    let on_a: Address<Store> = a.resolve("keeper").await.unwrap();
    keeper.tell(Store::Keep(7, bytes(8 * MIB))).await.unwrap();
    b.leave(Duration::from_secs(10)).await;
    assert_eq!(on_a.ask(Store::Kept).await, Ok((vec![7], 8 * MIB as u64)));
}

#[tokio::test]
async fn a_large_message_to_nobody_is_refused_before_it_is_sent() {
    let Pair { a, b, keeper, network: _ } = Pair::new().await;
    let gone = a.spawn(Keeper, ()).await.unwrap();
    a.register("gone", &gone).await.unwrap();
    let remote: Address<Store> = b.resolve_within(SOON, "gone").await.unwrap();
    let end = gone.watch();
    gone.stop();
    end.await;
    let mut letters = b.system().dead_letters();
    let answer = remote.ask_within(SOON, |reply| Store::Measure(bytes(MIB), reply)).await;
    assert_eq!(answer, Err(AskError::NoSuchActor));
    remote.tell(Store::Keep(1, bytes(MIB))).await.unwrap();
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.why, DeadLetterReason::Refused(Unanswered::NoSuchActor));
    assert_eq!(keeper.ask(Store::Kept).await, Ok((vec![], 0)));
}

#[tokio::test]
async fn the_smaller_of_two_limits_counts() {
    let network = MemoryNetwork::new();
    let start = async |name: &str, max: usize, seeds: &[&str]| {
        let identity = Identity::new("store".parse().unwrap(), name.parse().unwrap());
        let config = NodeConfig { message_bytes_max: max, ..NodeConfig::default() };
        let builder = Node::builder().transport(network.transport(identity)).listen(name);
        builder.config(config).join(seeds.iter().copied()).start().await.unwrap()
    };
    let a = start("a", MIB, &[]).await;
    let b = start("b", 4 * MIB, &["a"]).await;
    let keeper = keeper(&a, "keeper", &b).await;
    let told = keeper.tell(Store::Keep(1, bytes(2 * MIB))).await;
    assert!(matches!(told, Err(TellError::Unencodable { .. })), "{told:?}");
    keeper.tell(Store::Keep(2, bytes(MIB / 2))).await.unwrap();
    assert_eq!(keeper.ask_within(SOON, Store::Kept).await, Ok((vec![2], MIB as u64 / 2)));
}
