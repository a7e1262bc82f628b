//! What is published on one node and read on others.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Overflow, Reply};
use umbel_cluster::{
    ByteStream, ClusterTopic, Connection, Incoming, Listener, MemoryNetwork, MemoryTransport, Node,
    Transport, TransportError,
};
use umbel_protocol::Identity;

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(remote)]
struct News(u64, Vec<u8>);

const SOON: Duration = Duration::from_secs(20);

/// Counts the publications of the topic `news` that are written to any stream of the network.
struct Tapped {
    inner: MemoryTransport,
    written: Arc<AtomicUsize>,
}

impl Transport for Tapped {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (listening, written) = (self.inner.listen(address), self.written.clone());
        async move { Ok(Box::new(TappedListener(listening.await?, written)) as Box<dyn Listener>) }
            .boxed()
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        let (dialling, written) = (self.inner.dial(address), self.written.clone());
        async move { Ok(tap(dialling.await?, written)) }.boxed()
    }
}

struct TappedListener(Box<dyn Listener>, Arc<AtomicUsize>);

impl Listener for TappedListener {
    fn address(&self) -> String {
        self.0.address()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>> {
        async move {
            let (incoming, written) = (self.0.accept().await?, self.1.clone());
            let from = incoming.from().to_owned();
            let handshake = async move { Ok(tap(incoming.handshake().await?, written)) };
            Ok(Incoming::new(from, handshake.boxed()))
        }
        .boxed()
    }
}

fn tap(connection: Connection, written: Arc<AtomicUsize>) -> Connection {
    let stream = Box::new(Tap { inner: connection.stream, bytes: Vec::new(), written });
    Connection { stream, ..connection }
}

struct Tap {
    inner: Box<dyn ByteStream>,
    /// What was written and is no whole frame yet.
    bytes: Vec<u8>,
    written: Arc<AtomicUsize>,
}

impl Tap {
    fn see(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // The greeting: four letters, and then a length and a body as in all that follows.
        if self.bytes.starts_with(b"umbl") {
            self.bytes.drain(..4);
        }
        while let Some(length) = self.bytes.first_chunk::<4>() {
            let end = 4 + u32::from_le_bytes(*length) as usize;
            let Some(body) = self.bytes.get(4..end) else { break };
            // Kind, no flags, and the topic's name. No message of the control lane begins so.
            if body.starts_with(b"\x06\x00\x04news") {
                self.written.fetch_add(1, Ordering::SeqCst);
            }
            self.bytes.drain(..end);
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = wrote {
            self.see(&bytes[..count]);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Linked nodes, and how many publications were written between them.
struct House {
    nodes: Vec<Node>,
    written: Arc<AtomicUsize>,
}

impl House {
    async fn new(names: &[&str]) -> Self {
        let (network, written) = (MemoryNetwork::new(), Arc::<AtomicUsize>::default());
        let mut nodes = Vec::new();
        for name in names {
            let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
            let transport = Tapped { inner: network.transport(identity), written: written.clone() };
            let seed = names.first().filter(|first| *first != name).copied();
            let node = Node::builder().transport(transport).listen(*name).join(seed);
            nodes.push(node.start().await.unwrap());
        }
        for node in &nodes {
            assert!(node.wait_for_peers(names.len() - 1, SOON).await);
        }
        Self { nodes, written }
    }

    fn topic(&self, node: usize) -> ClusterTopic<News> {
        self.nodes[node].topic("news").unwrap()
    }

    /// Waits until a node knows that so many others want to hear.
    async fn interested(&self, node: usize, others: usize) {
        let waited = timeout(SOON, async {
            while self.topic(node).publish(News(0, Vec::new())).await.unwrap().nodes < others {
                sleep(Duration::from_millis(1)).await;
            }
        });
        waited.await.expect("interest spreads");
    }
}

#[tokio::test(start_paused = true)]
async fn a_publication_crosses_to_each_interested_node_once_however_many_subscribe_there() {
    const SUBSCRIBERS: usize = 100;
    const PUBLISHED: u64 = 200;
    let house = House::new(&["a", "b", "c"]).await;
    let mut subscriptions: Vec<_> = (0..3)
        .flat_map(|node| (0..SUBSCRIBERS).map(move |_| node))
        .map(|node| house.topic(node).subscribe().unwrap())
        .collect();
    house.interested(0, 2).await;
    sleep(SOON).await;
    let before = house.written.load(Ordering::SeqCst);
    let topic = house.topic(0);
    for number in 1..=PUBLISHED {
        let published = topic.publish(News(number, vec![7; 16])).await.unwrap();
        assert_eq!((published.subscribers_here, published.nodes), (SUBSCRIBERS, 2));
    }
    for subscription in &mut subscriptions {
        let mut heard = 0;
        while heard < PUBLISHED {
            let News(number, _) = subscription.recv().await.unwrap();
            assert!(number == 0 || number == heard + 1, "{number} after {heard}");
            heard = number;
        }
    }
    let written = house.written.load(Ordering::SeqCst) - before;
    assert_eq!(written, 2 * PUBLISHED as usize);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_waits_for_a_subscriber_on_another_node_and_nothing_is_lost() {
    const PUBLISHED: u64 = 2000;
    let house = House::new(&["a", "b"]).await;
    let mut slow = house.topic(1).subscribe_with(4, Overflow::Wait).unwrap();
    house.interested(0, 1).await;
    let topic = house.topic(0);
    // Far more than the link's credit.
    let publishing = tokio::spawn(async move {
        for number in 1..=PUBLISHED {
            topic.publish(News(number, vec![7; 4096])).await.unwrap();
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!publishing.is_finished(), "the publisher does not wait");
    let mut heard = 0;
    while heard < PUBLISHED {
        let News(number, _) = slow.recv().await.expect("it reads, and stays connected");
        assert!(number == 0 || number == heard + 1, "{number} after {heard}");
        heard = number;
        sleep(Duration::from_micros(100)).await;
    }
    publishing.await.unwrap();
    assert_eq!(slow.lost(), 0);
}

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
struct Echo(Reply<()>);

struct Echoes;

impl Actor for Echoes {
    type Msg = Echo;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Echo>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Echo>,
        Echo(reply): Echo,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        reply.send(());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_stalls_stops_nothing_else_for_ever() {
    let house = House::new(&["a", "b"]).await;
    let echoes = house.nodes[1].spawn(Echoes, ()).await.unwrap();
    house.nodes[1].register("echoes", &echoes).await.unwrap();
    let echoes = house.nodes[0].resolve::<Echo>("echoes").await.unwrap();
    let mut stalled = house.topic(1).subscribe_with(4, Overflow::Wait).unwrap();
    house.interested(0, 1).await;
    let topic = house.topic(0);
    tokio::spawn(async move {
        for number in 1.. {
            topic.publish(News(number, vec![7; 4096])).await.unwrap();
            // Once it is disconnected there is nobody to wait for.
            tokio::task::yield_now().await;
            if number == 10_000 {
                break;
            }
        }
    });
    sleep(Duration::from_millis(500)).await;
    // The default deadline of a question is longer than the stall.
    assert_eq!(echoes.ask(Echo).await, Ok(()));
    let mut heard = 0;
    while let Some(News(number, _)) = stalled.recv().await {
        assert!(number == 0 || number == heard + 1, "{number} after {heard}");
        heard = number;
    }
    assert!(heard > 100 && heard < 1000, "{heard}");
}
