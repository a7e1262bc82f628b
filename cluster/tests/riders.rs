//! What rides on links begins and ends with them, and harms neither them nor the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use umbel_actors::System;
use umbel_actors::codec::{self, Limits};
use umbel_cluster::{
    MemoryNetwork, MemoryTransport, Node, Ride, Rider, RiderError, StartError, Transport,
};
use umbel_protocol::{
    CodecId, Held, Hello, Identity, Incarnation, Lane, LinkId, NodeId, Refusal, VersionRange,
    Welcome,
};

const LONG: Duration = Duration::from_secs(60);

/// What one end of a ride saw.
#[derive(Debug)]
struct Seen {
    peer: NodeId,
    link: LinkId,
    dialled_by_us: bool,
    /// What the other end's rider called itself.
    heard: u8,
}

/// What a ride does after the two ends have heard each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Stay,
    EndAfterOne,
    Panic,
}

#[derive(Clone)]
struct Walker {
    me: u8,
    then: Then,
    rides: Arc<AtomicUsize>,
    living: Arc<AtomicUsize>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Walker {
    fn new(me: u8, then: Then) -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (seen, told) = mpsc::unbounded_channel();
        (Self { me, then, rides: Arc::default(), living: Arc::default(), seen }, told)
    }

    fn living(&self) -> usize {
        self.living.load(Ordering::SeqCst)
    }
}

struct Living(Arc<AtomicUsize>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Rider for Walker {
    fn start(&self, _: System, _: Identity) -> BoxFuture<'_, Result<(), RiderError>> {
        async { Ok(()) }.boxed()
    }

    fn ride(&self, mut ride: Ride) -> BoxFuture<'static, Result<(), RiderError>> {
        let walker = self.clone();
        async move {
            walker.living.fetch_add(1, Ordering::SeqCst);
            let _living = Living(walker.living.clone());
            let nth = walker.rides.fetch_add(1, Ordering::SeqCst);
            ride.stream.write_all(&[walker.me]).await.map_err(RiderError::new)?;
            ride.stream.flush().await.map_err(RiderError::new)?;
            let mut heard = [0];
            ride.stream.read_exact(&mut heard).await.map_err(RiderError::new)?;
            let Ride { peer, link, dialled_by_us, .. } = ride;
            let _ = walker.seen.send(Seen { peer, link, dialled_by_us, heard: heard[0] });
            match walker.then {
                Then::EndAfterOne if nth == 0 => return Ok(()),
                Then::Panic if nth == 0 => panic!("a rider's own fault"),
                _ => {}
            }
            while ride.stream.read(&mut heard).await.map_err(RiderError::new)? > 0 {}
            Ok(())
        }
        .boxed()
    }
}

fn transport(network: &MemoryNetwork, name: &str) -> MemoryTransport {
    network.transport(Identity::new("shop".parse().unwrap(), name.parse().unwrap()))
}

async fn start(network: &MemoryNetwork, name: &str, seed: &str, rider: Option<&Walker>) -> Node {
    let builder = Node::builder().transport(transport(network, name)).listen(name).join([seed]);
    let builder = match rider {
        Some(rider) => builder.rider(rider.clone()),
        None => builder,
    };
    builder.start().await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

#[tokio::test(start_paused = true)]
async fn riders_at_both_ends_get_one_connection_of_the_link_that_tells_who_is_there() {
    let network = MemoryNetwork::new();
    let ((walker_a, mut seen_a), (walker_b, mut seen_b)) =
        (Walker::new(1, Then::Stay), Walker::new(2, Then::Stay));
    let a = start(&network, "a", "b", Some(&walker_a)).await;
    let b = start(&network, "b", "a", Some(&walker_b)).await;
    let (at_a, at_b) = (seen_a.recv().await.unwrap(), seen_b.recv().await.unwrap());
    assert_eq!((&at_a.peer, &at_b.peer), (&b.id(), &a.id()));
    assert_eq!((at_a.heard, at_b.heard), (2, 1));
    assert_eq!(at_a.link, at_b.link);
    assert_ne!(at_a.dialled_by_us, at_b.dialled_by_us);
    tokio::time::sleep(LONG).await;
    assert_eq!((walker_a.living(), walker_b.living()), (1, 1));
    assert!(seen_a.try_recv().is_err(), "and no other");
}

#[tokio::test(start_paused = true)]
async fn rides_end_with_their_link_and_begin_with_the_next() {
    let network = MemoryNetwork::new();
    let ((walker_a, mut seen_a), (walker_b, mut seen_b)) =
        (Walker::new(1, Then::Stay), Walker::new(2, Then::Stay));
    let a = start(&network, "a", "b", Some(&walker_a)).await;
    let b = start(&network, "b", "a", Some(&walker_b)).await;
    let first = seen_a.recv().await.unwrap();
    seen_b.recv().await.unwrap();
    network.sever("a");
    network.sever("b");
    let next = seen_a.recv().await.unwrap();
    assert_ne!(next.link, first.link);
    until("one ride at each end", || (walker_a.living(), walker_b.living()) == (1, 1)).await;
    b.leave(LONG).await;
    until("no ride is left", || (walker_a.living(), walker_b.living()) == (0, 0)).await;
    assert!(a.linked().is_empty());
}

/// A ride goes wrong once at `a`; the link does not notice, and another ride begins.
async fn goes_wrong_once(then: Then) {
    let network = MemoryNetwork::new();
    let ((walker_a, mut seen_a), (walker_b, _seen_b)) =
        (Walker::new(1, then), Walker::new(2, Then::Stay));
    let _a = start(&network, "a", "b", Some(&walker_a)).await;
    let _b = start(&network, "b", "a", Some(&walker_b)).await;
    let (first, second) = (seen_a.recv().await.unwrap(), seen_a.recv().await.unwrap());
    assert_eq!(first.link, second.link);
    until("one ride at each end", || (walker_a.living(), walker_b.living()) == (1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_ride_that_ends_is_begun_anew_while_its_link_goes_on() {
    goes_wrong_once(Then::EndAfterOne).await;
}

#[tokio::test(start_paused = true)]
async fn a_rider_that_panics_loses_its_ride_and_nothing_else() {
    goes_wrong_once(Then::Panic).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_rider_is_linked_and_asked_no_more() {
    let network = MemoryNetwork::new();
    let (walker, mut seen) = Walker::new(1, Then::Stay);
    let a = start(&network, "a", "b", Some(&walker)).await;
    let b = start(&network, "b", "a", None).await;
    assert!(a.wait_for_peers(1, LONG).await && b.wait_for_peers(1, LONG).await);
    tokio::time::sleep(LONG).await;
    assert!(seen.try_recv().is_err());
    assert_eq!((a.refusals().len(), b.refusals().len()), (0, 0));
    assert_eq!((a.linked().len(), b.linked().len()), (1, 1));
}

struct Lame;

#[derive(Debug, thiserror::Error)]
#[error("lame today")]
struct LameToday;

impl Rider for Lame {
    fn start(&self, _: System, _: Identity) -> BoxFuture<'_, Result<(), RiderError>> {
        async { Err(RiderError::new(LameToday)) }.boxed()
    }

    fn ride(&self, _: Ride) -> BoxFuture<'static, Result<(), RiderError>> {
        unreachable!("it did not start")
    }
}

#[tokio::test(start_paused = true)]
async fn a_rider_that_does_not_start_says_why_and_leaves_nothing_behind() {
    let network = MemoryNetwork::new();
    let system = System::new("a");
    let node = || Node::builder().transport(transport(&network, "a")).system(system.clone());
    let failed = node().listen("a").rider(Lame).start().await;
    let why = failed.unwrap_err();
    assert_eq!(why.to_string(), "the rider did not start: lame today");
    let StartError::Rider(why) = why else { panic!("{why:?}") };
    assert!(why.downcast_ref::<LameToday>().is_some());
    assert_eq!(system.top_level_actors(), 0);
    node().listen("a").start().await.unwrap();
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Answer {
    Welcome(Welcome),
    Refused(Refusal),
}

/// Says a hello to node `a` by hand, as node `b`.
async fn say(b: &MemoryTransport, hello: &Hello) -> (umbel_cluster::Connection, Answer) {
    let mut connection = b.dial("a").await.unwrap();
    let mut bytes = b"umbl\0\0\0\0".to_vec();
    codec::encode(hello, &mut bytes, 4096).unwrap();
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    connection.stream.write_all(&bytes).await.unwrap();
    let mut head = [0; 8];
    connection.stream.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; u32::from_le_bytes(head[4..].try_into().unwrap()) as usize];
    connection.stream.read_exact(&mut body).await.unwrap();
    (connection, codec::decode(&body, Limits::default()).unwrap())
}

fn hello(lane: Lane, link: u64, incarnation: u64) -> Hello {
    Hello {
        protocol: VersionRange { min: 1, max: 1 },
        codec: CodecId(codec::CODEC_ID),
        cluster: "shop".parse().unwrap(),
        node: NodeId { name: "b".parse().unwrap(), incarnation: Incarnation(incarnation) },
        listen: None,
        lane,
        link: LinkId(link),
        held: Held::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_riders_lane_is_let_in_for_the_link_and_the_life_that_are_up_and_no_other() {
    let network = MemoryNetwork::new();
    let (walker, mut seen) = Walker::new(1, Then::Stay);
    let a = start(&network, "a", "a", Some(&walker)).await;
    let b = transport(&network, "b");
    let refused = |answer| matches!(answer, Answer::Refused(Refusal::UnknownLink));
    assert!(refused(say(&b, &hello(Lane::Rider, 7, 2)).await.1), "before the link");
    let (_control, answer) = say(&b, &hello(Lane::Control, 7, 2)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    assert!(refused(say(&b, &hello(Lane::Rider, 7, 2)).await.1), "before the link is up");
    let (_data, answer) = say(&b, &hello(Lane::Data, 7, 2)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    assert!(a.wait_for_peers(1, LONG).await);
    assert!(refused(say(&b, &hello(Lane::Rider, 8, 2)).await.1), "another link");
    assert!(refused(say(&b, &hello(Lane::Rider, 7, 1)).await.1), "an earlier life");

    let (mut first, answer) = say(&b, &hello(Lane::Rider, 7, 2)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    first.stream.write_all(&[9]).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().heard, 9);
    // Whoever opens it again has lost the first.
    let (mut second, answer) = say(&b, &hello(Lane::Rider, 7, 2)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    second.stream.write_all(&[10]).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().heard, 10);
    until("the first is gone", || walker.living() == 1).await;
}
