//! Whoever does not belong is refused, is told why, and hinders nobody.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbel_actors::codec::{self, Limits};
use umbel_cluster::{
    Authority, Connection, Credentials, IssueOptions, Node, NodeConfig, TcpTransport, Transport,
};
use umbel_protocol::{
    CodecId, Held, Hello, Incarnation, Lane, LinkId, NodeId, Refusal, VersionRange, Welcome,
};

const SOON: Duration = Duration::from_secs(20);

fn authority(cluster: &str) -> Authority {
    Authority::create(cluster.parse().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str) -> Credentials {
    authority.issue(&name.parse().unwrap(), &IssueOptions::new()).unwrap()
}

async fn start(credentials: Credentials, seeds: &[&Node]) -> Node {
    Node::builder()
        .credentials(credentials)
        .listen("127.0.0.1:0")
        .join(seeds.iter().map(|seed| seed.address().unwrap()))
        .start()
        .await
        .unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// What the dialler's view says went wrong with its one seed.
async fn told(node: &Node) -> Option<String> {
    let view = node.peers().await.unwrap();
    let seed = view.seeds.first().and_then(|seed| seed.last_error.clone());
    let peer = view.peers.first().and_then(|peer| peer.last_error.clone());
    seed.or(peer).map(|why| why.to_string())
}

/// Has `stranger` dial `node`: the node counts `cause`, and the stranger hears all of `text`.
async fn refused(node: &Node, stranger: Credentials, cause: &str, text: &[&str]) {
    let stranger = start(stranger, &[node]).await;
    until("the stranger is told why", async || told(&stranger).await.is_some()).await;
    let why = told(&stranger).await.unwrap();
    for text in text {
        assert!(why.contains(text), "{why:?} does not say {text:?}");
    }
    until("the refusal is counted", async || node.refusals().contains_key(cause)).await;
    assert!(node.linked().is_empty());
    assert!(stranger.linked().is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_on_both_ends() {
    let node = start(issue(&authority("shop"), "a"), &[]).await;
    let stranger = issue(&authority("shop"), "b");
    // The dialler itself sees that the other one's authority is not its own.
    let stranger = start(stranger, &[&node]).await;
    until("the dialler says why", async || told(&stranger).await.is_some()).await;
    let why = told(&stranger).await.unwrap();
    assert!(why.contains("authority"), "{why}");
    until("it is counted at the acceptor", async || !node.refusals().is_empty()).await;
    until("it is counted at the dialler", async || !stranger.refusals().is_empty()).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_an_error_that_says_so() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let long_ago = rustls_time(Duration::from_secs(1_700_000_000));
    let options = IssueOptions::new().issued_at(long_ago).valid_for(Duration::from_secs(3600));
    let expired = shop.issue(&"b".parse().unwrap(), &options).unwrap();
    refused(&node, expired, "certificate", &["refused our certificate"]).await;
}

fn rustls_time(since_epoch: Duration) -> rustls::pki_types::UnixTime {
    rustls::pki_types::UnixTime::since_unix_epoch(since_epoch)
}

#[tokio::test]
async fn a_second_node_of_the_same_name_is_refused_while_the_first_lives() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    refused(&node, issue(&shop, "a"), "name-taken", &["same name", "stop one"]).await;
}

/// Speaks the greeting by hand, over real TLS with real credentials.
struct Impostor {
    transport: TcpTransport,
    node: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Welcome(Welcome),
    Refused(Refusal),
}

impl Impostor {
    fn new(credentials: &Credentials, node: &Node) -> Self {
        Self { transport: TcpTransport::new(credentials), node: node.address().unwrap() }
    }

    async fn dial(&self) -> Connection {
        self.transport.dial(&self.node).await.unwrap()
    }

    async fn say(&self, hello: &Hello) -> (Connection, Answer) {
        let mut connection = self.dial().await;
        let mut bytes = b"umbl\0\0\0\0".to_vec();
        codec::encode(hello, &mut bytes, 4096).unwrap();
        let length = (bytes.len() - 8) as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        connection.stream.write_all(&bytes).await.unwrap();
        connection.stream.flush().await.unwrap();
        let mut head = [0; 8];
        connection.stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; u32::from_le_bytes(head[4..].try_into().unwrap()) as usize];
        connection.stream.read_exact(&mut body).await.unwrap();
        let answer = codec::decode(&body, Limits::default()).unwrap();
        (connection, answer)
    }
}

fn hello(cluster: &str, name: &str) -> Hello {
    Hello {
        protocol: VersionRange { min: 1, max: 1 },
        codec: CodecId(codec::CODEC_ID),
        cluster: cluster.parse().unwrap(),
        node: NodeId { name: name.parse().unwrap(), incarnation: Incarnation(1) },
        listen: None,
        lane: Lane::Control,
        link: LinkId(77),
        held: Held::default(),
    }
}

#[tokio::test]
async fn what_a_node_says_of_itself_must_be_what_its_certificate_says() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let (_, answer) = impostor.say(&hello("shop", "c")).await;
    assert!(matches!(answer, Answer::Refused(Refusal::NotYourCertificate { .. })), "{answer:?}");
    let (_, answer) = impostor.say(&hello("bank", "b")).await;
    assert!(matches!(answer, Answer::Refused(Refusal::NotYourCertificate { .. })), "{answer:?}");
    assert_eq!(node.refusals().get("not-your-certificate"), Some(&2));
    let (_, answer) = impostor.say(&hello("shop", "b")).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
}

#[tokio::test]
async fn a_version_or_a_codec_that_nobody_shares_is_refused() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let future = Hello { protocol: VersionRange { min: 9, max: 9 }, ..hello("shop", "b") };
    let (_, answer) = impostor.say(&future).await;
    assert!(matches!(answer, Answer::Refused(Refusal::Protocol { .. })), "{answer:?}");
    let foreign = Hello { codec: CodecId(99), ..hello("shop", "b") };
    let (_, answer) = impostor.say(&foreign).await;
    assert!(matches!(answer, Answer::Refused(Refusal::Codec { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_lane_without_its_control_lane_is_refused() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let (_, answer) = impostor.say(&Hello { lane: Lane::Data, ..hello("shop", "b") }).await;
    assert!(matches!(answer, Answer::Refused(Refusal::UnknownLink)), "{answer:?}");
    let (_, answer) = impostor.say(&Hello { lane: Lane::Bulk, ..hello("shop", "b") }).await;
    assert!(matches!(answer, Answer::Refused(Refusal::UnknownLink)), "{answer:?}");
    let (_, answer) = impostor.say(&Hello { lane: Lane::Rider, ..hello("shop", "b") }).await;
    assert!(matches!(answer, Answer::Refused(Refusal::NoRider)), "{answer:?}");
}

#[tokio::test]
async fn a_later_life_fences_the_earlier_one() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let life = |incarnation, link| {
        let mut hello = hello("shop", "b");
        hello.node.incarnation = Incarnation(incarnation);
        hello.link = LinkId(link);
        hello
    };
    let (_first, answer) = impostor.say(&life(2, 1)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    let (_second, answer) = impostor.say(&life(3, 2)).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    let (_, answer) = impostor.say(&life(2, 3)).await;
    let fenced = Refusal::Fenced { known: Incarnation(3) };
    assert!(matches!(&answer, Answer::Refused(refusal) if *refusal == fenced), "{answer:?}");
}

/// Opens a link of its own and breaks the protocol on one of its lanes.
async fn violate(lane: Lane, bytes: &[u8]) {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let (mut control, answer) = impostor.say(&hello("shop", "b")).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    let (mut data, answer) = impostor.say(&Hello { lane: Lane::Data, ..hello("shop", "b") }).await;
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
    assert!(node.wait_for_peers(1, SOON).await);
    let mut bulk = if lane == Lane::Bulk {
        let (bulk, answer) = impostor.say(&Hello { lane, ..hello("shop", "b") }).await;
        assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
        Some(bulk)
    } else {
        None
    };
    let broken = match lane {
        Lane::Control => &mut control.stream,
        Lane::Data => &mut data.stream,
        Lane::Bulk => &mut bulk.as_mut().unwrap().stream,
        Lane::Rider => unreachable!("this node carries no rider"),
    };
    broken.write_all(bytes).await.unwrap();
    broken.flush().await.unwrap();
    until("the link is given up", async || node.linked().is_empty()).await;
    // And it is as ready for others as before.
    let honest = start(issue(&shop, "c"), &[&node]).await;
    assert!(honest.wait_for_peers(1, SOON).await);
}

#[tokio::test]
async fn nonsense_on_any_lane_ends_the_link_and_nothing_else() {
    violate(Lane::Control, &[0xff; 64]).await;
    violate(Lane::Control, &[3, 0, 0, 0, 0xee, 1, 2]).await;
    violate(Lane::Data, &[0xff; 64]).await;
    violate(Lane::Data, &[1, 0, 0, 0, 99]).await;
    violate(Lane::Bulk, &[0xff; 64]).await;
    violate(Lane::Bulk, &[1, 0, 0, 0, 99]).await;
    // A part of what has not begun, and a large message that has the head of none.
    violate(Lane::Bulk, &[4, 0, 0, 0, 2, 1, 0, 7]).await;
    violate(Lane::Bulk, &[5, 0, 0, 0, 1, 1, 9, 0, 99]).await;
}

#[tokio::test]
async fn a_correlation_id_that_is_in_use_ends_the_link() {
    // Two questions to nobody are refused, and closed; two in one message are not.
    violate(Lane::Data, &[11, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 2, 5, 5, 0]).await;
    // Beyond the ids that there may be.
    violate(Lane::Data, &[12, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0]).await;
}

#[tokio::test]
async fn a_frame_before_the_handshake_is_no_greeting() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    for frame in [&[9, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 0][..], &[5, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut connection = impostor.dial().await;
        connection.stream.write_all(frame).await.unwrap();
        connection.stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let _ = connection.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    assert_eq!(node.refusals().get("greeting"), Some(&2));
    assert!(node.linked().is_empty());
}

#[tokio::test]
async fn replies_refusals_and_cancels_to_nobody_change_nothing() {
    let shop = authority("shop");
    let node = start(issue(&shop, "a"), &[]).await;
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    let (_control, _) = impostor.say(&hello("shop", "b")).await;
    let (mut data, _) = impostor.say(&Hello { lane: Lane::Data, ..hello("shop", "b") }).await;
    assert!(node.wait_for_peers(1, SOON).await);
    for frame in [&[4, 0, 0, 0, 2, 0, 9, 1][..], &[3, 0, 0, 0, 3, 9, 1], &[2, 0, 0, 0, 5, 9]] {
        data.stream.write_all(&frame.repeat(1000)).await.unwrap();
    }
    // A message to nobody comes back, behind all of it: the lane has read on.
    data.stream.write_all(&[8, 0, 0, 0, 1, 0, 99, 0, 0, 0, 0, 7]).await.unwrap();
    data.stream.flush().await.unwrap();
    let (mut kind, mut body) = (0, Vec::new());
    while kind != 7 {
        let length = data.stream.read_u32_le().await.unwrap();
        body.resize(length as usize, 0);
        data.stream.read_exact(&mut body).await.unwrap();
        kind = body[0];
    }
    assert_eq!(body[1], 99);
    assert_eq!(node.linked().len(), 1);
}

#[tokio::test]
async fn a_registry_entry_in_another_nodes_name_ends_the_link() {
    use umbel_protocol::{Control, Entry, EntryKey, ReplicaMessage};
    let entry = Entry::new("Greet#00000000".try_into().unwrap());
    let key = EntryKey { name: "greeter".try_into().unwrap(), actor: 1 };
    let victim = NodeId { name: "victim".parse().unwrap(), incarnation: Incarnation(1) };
    let lie = ReplicaMessage::Snapshot {
        origin: victim,
        version: 1,
        part: 0,
        last: true,
        entries: vec![(key, entry)],
    };
    let mut bytes = vec![0; 4];
    codec::encode(&Control::Registry(lie), &mut bytes, 4096).unwrap();
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    violate(Lane::Control, &bytes).await;
}

#[tokio::test]
async fn a_client_that_greets_with_nonsense_or_stops_half_way_is_let_go() {
    let shop = authority("shop");
    let config =
        NodeConfig { handshake_deadline: Duration::from_millis(300), ..NodeConfig::default() };
    let node = Node::builder()
        .credentials(issue(&shop, "a"))
        .listen("127.0.0.1:0")
        .config(config)
        .start()
        .await
        .unwrap();
    let impostor = Impostor::new(&issue(&shop, "b"), &node);
    for greeting in [&b"GET / HTTP/1.1\r\n"[..], b"umbl\xff\xff\xff\xff", b"umbl\x01\0\0\0\xff"] {
        let mut connection = impostor.dial().await;
        connection.stream.write_all(greeting).await.unwrap();
        connection.stream.flush().await.unwrap();
        let mut rest = Vec::new();
        let _ = connection.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    assert_eq!(node.refusals().get("greeting"), Some(&3));
    let mut half = impostor.dial().await;
    half.stream.write_all(b"umb").await.unwrap();
    half.stream.flush().await.unwrap();
    let mut rest = Vec::new();
    let _ = half.stream.read_to_end(&mut rest).await;
    until("the half greeting times out", async || node.refusals().contains_key("silent")).await;
}

/// A node, and the two lanes of a link that somebody has opened with it and says nothing on.
async fn silent_link() -> (Node, Vec<Connection>) {
    use umbel_cluster::MemoryNetwork;
    use umbel_protocol::Identity;
    let network = MemoryNetwork::new();
    let identity = |name: &str| Identity::new("shop".parse().unwrap(), name.parse().unwrap());
    let node = Node::builder()
        .transport(network.transport(identity("a")))
        .listen("a")
        .start()
        .await
        .unwrap();
    let silent: Arc<dyn Transport> = Arc::new(network.transport(identity("b")));
    let mut lanes = Vec::new();
    for lane in [Lane::Control, Lane::Data] {
        let mut connection = silent.dial("a").await.unwrap();
        let mut bytes = b"umbl\0\0\0\0".to_vec();
        codec::encode(&Hello { lane, ..hello("shop", "b") }, &mut bytes, 4096).unwrap();
        let length = (bytes.len() - 8) as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        connection.stream.write_all(&bytes).await.unwrap();
        let mut head = [0; 8];
        connection.stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; u32::from_le_bytes(head[4..].try_into().unwrap()) as usize];
        connection.stream.read_exact(&mut body).await.unwrap();
        lanes.push(connection);
    }
    assert!(node.wait_for_peers(1, SOON).await);
    (node, lanes)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_deaf_to_a_goodbye_is_waited_for_a_second_and_no_longer() {
    let (node, _lanes) = silent_link().await;
    let since = tokio::time::Instant::now();
    node.leave(SOON).await;
    let took = since.elapsed();
    assert!(took <= Duration::from_millis(1100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_goodbye_and_stays_is_heard_for_a_second_and_no_longer() {
    let (node, mut lanes) = silent_link().await;
    let mut goodbye = vec![0; 4];
    codec::encode(&umbel_protocol::Control::Goodbye, &mut goodbye, 64).unwrap();
    let length = (goodbye.len() - 4) as u32;
    goodbye[..4].copy_from_slice(&length.to_le_bytes());
    lanes[0].stream.write_all(&goodbye).await.unwrap();
    let since = tokio::time::Instant::now();
    // What the node still writes is read; the end comes while the peer's own lanes are open.
    for lane in &mut lanes {
        let mut rest = Vec::new();
        let _ = lane.stream.read_to_end(&mut rest).await;
    }
    assert!(node.linked().is_empty());
    let nothing_granted = [9, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    while lanes[1].stream.write_all(&nothing_granted).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took <= Duration::from_millis(1100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_down_within_the_bound() {
    let (node, _lanes) = silent_link().await;
    let since = tokio::time::Instant::now();
    while !node.linked().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = since.elapsed();
    let bound = NodeConfig::default().peers.silence_max;
    assert!(took <= bound + Duration::from_millis(100), "{took:?}");
    assert!(took >= bound - Duration::from_secs(2), "{took:?}");
}
