//! Strangers do not get in, and peers that misbehave lose the lane.

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use umbel_actors::codec::{self, Limits};
use umbel_cluster::{ByteStream, Credentials, NodeConfig, TcpTransport, Transport};
use umbel_protocol::{
    CodecId, Held, Hello, Incarnation, Lane, LinkId, NodeId, Refusal, VersionRange, Welcome,
};

use support::{LONG, Shop, issue};

/// The child's side; a test that does nothing unless the environment says what to be.
#[test]
fn child() {
    let Some(what) = support::child() else { return };
    let [_, directory, seed] = &what[..] else { panic!("{what:?}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(support::be_node(directory.into(), seed, async {}));
}

/// The addresses that this process listens on, as the kernel tells.
fn listening() -> BTreeSet<SocketAddr> {
    let own: BTreeSet<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    for (table, digits) in [("/proc/self/net/tcp", 8), ("/proc/self/net/tcp6", 32)] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (address, port) = fields[1].split_once(':').unwrap();
            assert_eq!(address.len(), digits);
            // 0A is TCP_LISTEN; the tenth field is the socket's inode.
            if fields[3] == "0A" && own.contains(fields[9]) {
                let ip: IpAddr = match digits {
                    8 => Ipv4Addr::from(u32::from_str_radix(address, 16).unwrap().swap_bytes())
                        .into(),
                    _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                found.insert(SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found
}

/// Where `NodeServer` listens: there is no other listener but the node's own.
fn door(shop: &Shop) -> SocketAddr {
    let node: SocketAddr = shop.node.address().unwrap().parse().unwrap();
    let mut doors = listening();
    assert!(doors.remove(&node));
    assert_eq!(doors.len(), 1, "{doors:?}");
    doors.pop_first().unwrap()
}

/// How many sessions ractor_cluster has had any word of: each has an actor of its own.
async fn sessions(shop: &Shop) -> usize {
    let server = shop.lane.node_server().unwrap();
    // What was accepted before is dealt with when this is answered.
    ractor::call!(server, ractor_cluster::NodeServerMessage::GetSessions).unwrap();
    // The listener is the other child.
    server.get_children().len() - 1
}

/// A frame of ractor_cluster's handshake, in which somebody names himself.
fn name(name: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Name {
        #[prost(string, tag = "1")]
        name: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Auth {
        #[prost(message, optional, tag = "1")]
        name: Option<Name>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Network {
        #[prost(message, optional, tag = "1")]
        auth: Option<Auth>,
    }
    let auth = Auth { name: Some(Name { name: name.to_owned() }) };
    let body = Network { auth: Some(auth) }.encode_to_vec();
    [&(body.len() as u64).to_be_bytes()[..], &body].concat()
}

/// All that comes until the other end hangs up, however it does.
async fn to_its_end(stream: &mut (impl ByteStream + ?Sized)) -> Vec<u8> {
    let mut heard = Vec::new();
    let end = tokio::time::timeout(LONG, stream.read_to_end(&mut heard)).await;
    let _ = end.expect("it hangs up");
    heard
}

#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that trusts anybody, with a certificate of the cluster if it is given one.
fn client(credentials: Option<&Credentials>) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
    let config = match credentials {
        None => config.with_no_client_auth(),
        Some(credentials) => {
            let chain = CertificateDer::pem_slice_iter(credentials.certificate_pem().as_bytes());
            let key = PrivateKeyDer::from_pem_slice(credentials.key_pem().as_bytes()).unwrap();
            config.with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn at_ractor_clusters_own_port_nobody_gets_in() {
    let shop = Shop::open().await;
    let door = door(&shop);
    assert_eq!(door.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    // In plain text.
    for words in [name("b@b.shop"), vec![0xff; 64], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stranger = TcpStream::connect(door).await.unwrap();
        stranger.write_all(&words).await.unwrap();
        // Nothing but a TLS alert: 21, as RFC 8446, 5.1 numbers it.
        let heard = to_its_end(&mut stranger).await;
        assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
        assert_eq!(sessions(&shop).await, 0);
    }
    // By TLS, also with what opens the node's own port.
    let b = issue(&shop.authority, "b");
    for connector in [client(None), client(Some(&b))] {
        let stranger = TcpStream::connect(door).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let refused = connector.connect(server, stranger).await;
        assert!(refused.is_err(), "TLS with {door}");
        assert_eq!(sessions(&shop).await, 0);
    }
    // Who says nothing keeps out others at this door, and none at the node's.
    let silent = TcpStream::connect(door).await.unwrap();
    let process = shop.process();
    shop.until_ready(1).await;
    drop((silent, process));
    shop.node.leave(LONG).await;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Answer {
    Welcome(Welcome),
    Refused(Refusal),
}

/// The impostor answers no pings.
fn patient() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.peers.silence_max = 2 * LONG;
    config
}

/// Node `c`, by hand: a valid certificate, and no good intentions.
struct Impostor {
    transport: TcpTransport,
    node: String,
    _link: Vec<Box<dyn ByteStream>>,
}

impl Impostor {
    async fn link(shop: &Shop) -> Self {
        let transport = TcpTransport::new(&issue(&shop.authority, "c"));
        let node = shop.node.address().unwrap();
        let mut impostor = Self { transport, node, _link: Vec::new() };
        for lane in [Lane::Control, Lane::Data] {
            let opened = impostor.open(lane).await;
            impostor._link.push(opened);
        }
        let is_linked = || shop.node.linked().iter().any(|peer| peer.name.as_str() == "c");
        shop.until("linked", is_linked).await;
        impostor
    }

    /// Opens a lane of its link; it must be let in.
    async fn open(&self, lane: Lane) -> Box<dyn ByteStream> {
        let hello = Hello {
            protocol: VersionRange { min: 1, max: 1 },
            codec: CodecId(codec::CODEC_ID),
            cluster: "shop".parse().unwrap(),
            node: NodeId { name: "c".parse().unwrap(), incarnation: Incarnation(1) },
            listen: None,
            lane,
            link: LinkId(77),
            held: Held::default(),
        };
        let mut stream = self.transport.dial(&self.node).await.unwrap().stream;
        let mut bytes = b"umbl\0\0\0\0".to_vec();
        codec::encode(&hello, &mut bytes, 4096).unwrap();
        let length = (bytes.len() - 8) as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; u32::from_le_bytes(head[4..].try_into().unwrap()) as usize];
        stream.read_exact(&mut body).await.unwrap();
        let answer = codec::decode(&body, Limits::default()).unwrap();
        assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");
        stream
    }

    /// Opens the rider's lane, says who rides, and then `words`; what it hears to the end.
    async fn ride(&self, words: &[u8]) -> Vec<u8> {
        let mut stream = self.open(Lane::Rider).await;
        stream.write_all(b"ractor_cluster/1").await.unwrap();
        stream.write_all(words).await.unwrap();
        stream.flush().await.unwrap();
        to_its_end(&mut stream).await
    }
}

#[tokio::test]
async fn a_peer_that_sends_nonsense_loses_the_lane_and_nothing_else() {
    let shop = Shop::open_with(patient()).await;
    let honest = shop.process();
    shop.until_ready(1).await;
    let ready = shop.lane.ready();
    let impostor = Impostor::link(&shop).await;
    let own_name = name("c@c.shop");
    let garbage = [
        ("nothing but ones", vec![0xff; 4096]),
        ("a length that lies", (1_u64 << 40).to_be_bytes().to_vec()),
        ("a frame that is no protobuf", [&4_u64.to_be_bytes()[..], &[0xff; 4]].concat()),
        ("the honest peer's name", name("b@b.shop")),
        ("the node's own name", name("a@a.shop")),
        ("a second name", [own_name.clone(), name("b@b.shop")].concat()),
        ("nonsense after the name", [own_name.clone(), vec![0xff; 4096]].concat()),
        ("a frame over the limit", [own_name, (1_u64 << 25).to_be_bytes().to_vec()].concat()),
    ];
    let count = garbage.len() as u64;
    for (what, words) in garbage {
        let since = tokio::time::Instant::now();
        impostor.ride(&words).await;
        // Not only when it was not ready in time.
        assert!(since.elapsed() < Duration::from_secs(5), "{what}: {:?}", since.elapsed());
        // The honest peer's is left.
        while sessions(&shop).await > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shop.node.linked().len(), 2, "{what}: {:?}", shop.node.peers().await);
        assert_eq!(shop.lane.ready(), ready, "{what}");
    }
    assert_eq!(shop.node.refusals().get("rider"), Some(&count), "{:?}", shop.node.refusals());
    drop(honest);
    shop.node.leave(LONG).await;
}

#[tokio::test]
async fn a_rider_of_another_kind_is_told_from_ours_before_anything_is_decoded() {
    let shop = Shop::open_with(patient()).await;
    let impostor = Impostor::link(&shop).await;
    let mut stream = impostor.open(Lane::Rider).await;
    stream.write_all(b"another_rider/01").await.unwrap();
    stream.flush().await.unwrap();
    // It says who rides, and nothing of ractor_cluster's.
    assert_eq!(to_its_end(&mut stream).await, b"ractor_cluster/1");
    assert_eq!(sessions(&shop).await, 0);
    assert_eq!(shop.node.linked().len(), 1);
    shop.node.leave(LONG).await;
}
