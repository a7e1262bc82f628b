//! Whoever holds the door's handle without coming in hinders nobody: peers are answered all the while,
//! and who belongs comes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};
use umbel_cluster::{
    Authority, Credentials, IssueOptions, Node, NodeConfig, TcpTransport, Transport,
};

const SOON: Duration = Duration::from_secs(60);

/// How long a newcomer may take on a machine that does much else besides; by itself it is milliseconds.
const JOINS_WITHIN: Duration = Duration::from_secs(10);

/// How long an ask may take meanwhile: longer than any other test's load, shorter than a deadline.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

#[derive(Message, Serialize, Deserialize)]
#[message(remote)]
enum Echo {
    Say(u64, Reply<u64>),
}

struct Wall;

impl Actor for Wall {
    type Msg = Echo;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Echo>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Echo>,
        Echo::Say(number, reply): Echo,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        reply.send(number);
        Ok(())
    }
}

fn issue(authority: &Authority, name: &str) -> Credentials {
    authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap()
}

/// A node, and a peer that asks it something all the while.
struct Scene {
    authority: Authority,
    node: Node,
    _peer: Node,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    asking: tokio::task::JoinHandle<Duration>,
}

impl Scene {
    async fn new(config: NodeConfig) -> Self {
        let authority = Authority::create("shop".parse().unwrap()).unwrap();
        let start = |name: &str, seed: Option<String>| {
            let node = Node::builder().credentials(issue(&authority, name));
            node.listen("127.0.0.1:0").join(seed).config(config.clone()).start()
        };
        let node = start("a", None).await.unwrap();
        let wall = node.spawn(Wall, ()).await.unwrap();
        node.register("wall", &wall).await.unwrap();
        let peer = start("b", node.address()).await.unwrap();
        let wall = peer.resolve::<Echo>("wall").await.unwrap();
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let asking = tokio::spawn({
            let (stop, answered) = (stop.clone(), answered.clone());
            async move {
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let (number, began) = (answered.load(Ordering::Relaxed), Instant::now());
                    let said = wall.ask(|reply| Echo::Say(number, reply)).await.unwrap();
                    assert_eq!(said, number);
                    longest = longest.max(began.elapsed());
                    answered.store(number + 1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                longest
            }
        });
        Self { authority, node, _peer: peer, stop, answered, asking }
    }

    fn address(&self) -> String {
        self.node.address().unwrap()
    }

    /// While the flood lasts: a newcomer links with the node, and the peer has been answered on and on.
    async fn goes_on(self) -> Node {
        let before = self.answered.load(Ordering::Relaxed);
        let newcomer = Node::builder().credentials(issue(&self.authority, "newcomer"));
        let newcomer = newcomer.join(self.node.address()).start().await.unwrap();
        let joined = newcomer.wait_for_peers(1, JOINS_WITHIN).await;
        assert!(joined, "{:?}", newcomer.peers().await);
        let more = async {
            while self.answered.load(Ordering::Relaxed) < before + 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, more).await.expect("the peer is answered");
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.asking.await.expect("no ask has failed");
        assert!(longest < ANSWERED_WITHIN, "an ask took {longest:?}");
        self.node
    }
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// What a client of TLS says first.
fn client_hello() -> Vec<u8> {
    use rustls::pki_types::ServerName;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("anybody").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).unwrap();
    }
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_say_nothing_hinder_neither_peers_nor_newcomers() {
    let scene = Scene::new(NodeConfig::default()).await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(connect(&scene.address()).await);
    }
    let node = scene.goes_on().await;
    assert!(node.refusals().get("busy").is_some_and(|refused| *refused >= 900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_stop_half_way_hinder_neither_peers_nor_newcomers() {
    let scene = Scene::new(NodeConfig::default()).await;
    let hello = client_hello();
    let mut half_open = Vec::new();
    for turn in 0..300 {
        let said: &[u8] = match turn % 4 {
            // A whole hello, whose answer is never read; a part of it; the promise of a record; an alert.
            0 => &hello,
            1 => &hello[..hello.len() / 2],
            2 => &[0x16, 3, 1, 0x40, 0],
            _ => &[0x15, 3, 3, 0, 2, 1],
        };
        let mut client = connect(&scene.address()).await;
        // The node may have hung up by now, on this one as on any.
        let _ = client.write_all(said).await;
        half_open.push(client);
    }
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drips_byte_after_byte_is_let_go_at_the_deadline_and_hinders_nobody() {
    let config = NodeConfig { handshake_deadline: Duration::from_secs(2), ..NodeConfig::default() };
    let scene = Scene::new(config).await;
    let hello = client_hello();
    let mut dripping = JoinSet::new();
    for _ in 0..50 {
        let (mut client, hello) = (connect(&scene.address()).await, hello.clone());
        dripping.spawn(async move {
            let began = Instant::now();
            for byte in hello.iter().cycle() {
                let wrote = client.write_all(&[*byte]).await;
                let mut answer = [0];
                let ended = timeout(Duration::from_millis(30), client.read(&mut answer)).await;
                if wrote.is_err() || matches!(ended, Ok(Ok(0) | Err(_))) {
                    break;
                }
            }
            began.elapsed()
        });
    }
    let node = scene.goes_on().await;
    while let Some(lasted) = timeout(SOON, dripping.join_next()).await.expect("all are let go") {
        assert!(lasted.unwrap() < Duration::from_secs(20));
    }
    let refusals = node.refusals();
    assert!(refusals.contains_key("silent") || refusals.contains_key("tls"), "{refusals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_certificate_and_drips_its_greeting_is_let_go_at_the_deadline() {
    let config =
        NodeConfig { handshake_deadline: Duration::from_millis(500), ..NodeConfig::default() };
    let scene = Scene::new(config).await;
    let transport = TcpTransport::new(&issue(&scene.authority, "slow"));
    let mut stream = transport.dial(&scene.address()).await.unwrap().stream;
    let dripping = async {
        for byte in b"umbl\x00\x04\x00\x00".iter().chain(std::iter::repeat(&0)) {
            let said = async {
                stream.write_all(&[*byte]).await?;
                stream.flush().await
            };
            if said.await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, dripping).await.expect("the node hangs up");
    let node = scene.goes_on().await;
    assert!(node.refusals().contains_key("silent"), "{:?}", node.refusals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_kept_waiting_than_handshakes_may_run() {
    let config = NodeConfig {
        handshakes_max: 8,
        handshake_deadline: Duration::from_secs(600),
        ..NodeConfig::default()
    };
    let scene = Scene::new(config).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(connect(&scene.address()).await);
    }
    let mut ended = JoinSet::new();
    for mut client in clients {
        ended.spawn(async move {
            let _ = client.read(&mut [0]).await;
        });
    }
    for _ in 0..192 {
        timeout(SOON, ended.join_next()).await.expect("all but eight are let go");
    }
    assert_eq!(ended.len(), 8);
    scene.goes_on().await;
}

/// Counts the warnings about refusals.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU64>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "umbel" && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        struct Refused(bool);
        impl Visit for Refused {
            fn record_debug(&mut self, field: &Field, _: &dyn std::fmt::Debug) {
                self.0 |= field.name() == "cause";
            }
        }
        let mut refused = Refused(false);
        event.record(&mut refused);
        self.0.fetch_add(u64::from(refused.0), Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn each_refusal_is_counted_and_one_for_each_cause_and_period_is_logged() {
    let warnings = Warnings::default();
    // On one thread, which is where the node's tasks run, too.
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let authority = Authority::create("shop".parse().unwrap()).unwrap();
    let node = Node::builder().credentials(issue(&authority, "a")).listen("127.0.0.1:0");
    let node = node.start().await.unwrap();
    let began = Instant::now();
    for _ in 0..300 {
        let mut client = connect(&node.address().unwrap()).await;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    }
    let counted = async {
        while node.refusals().values().sum::<u64>() < 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, counted).await.expect("each is counted");
    let causes = node.refusals().len() as u64;
    let periods = began.elapsed().as_secs() / 10 + 1;
    let logged = warnings.0.load(Ordering::Relaxed);
    assert!((1..=causes * periods).contains(&logged), "{logged} for {causes} causes");
}
