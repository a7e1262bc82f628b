//! What reads the bytes of strangers and of peers, one function a door, for the fuzz targets in
//! `cluster/fuzz` and for the tests that run their corpus.
//!
//! A function here neither panics nor hangs, whatever it is given; what it makes of the bytes is for
//! other tests to say.

use std::any::Any;
use std::future::Future;
use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use umbel_actors::codec::{self, Limits};
use umbel_actors::wire::{
    ActorPath, Charge, Deliver, Encode, Imported, Pending, Unanswered, Wire, WireError,
};
use umbel_actors::{DeadLetter, Exit, Reply, Watch};
use umbel_protocol::{
    CodecId, Control, Held, Hello, Identity, Incarnation, Interest, InterestInput, Lane, LinkId,
    NodeId, Peers, PeersConfig, PeersInput, Registry, RegistryInput, ReplicaLimits, Terms,
};

use crate::certs::CertificateView;
use crate::config::NodeConfig;
use crate::greeting;
use crate::home::PROTOCOL;
use crate::lane::{ControlLane, DataLane, FRAME_BYTES_MAX, Home, Publication};
use crate::tls::certified_identity;
use crate::transport::ByteStream;

/// How often a reader may be polled before it counts as hanging: what is fed to it never makes it
/// wait, and each poll moves at least some bytes.
const POLLS_MAX: usize = 100_000;

/// A door, by the name of its fuzz target.
pub type Door = fn(&[u8]);

/// All doors.
pub const DOORS: [(&str, Door); 6] = [
    ("greeting", greeting),
    ("control", control),
    ("frames", frames),
    ("lane", lane),
    ("codec", codec),
    ("certificate", certificate),
];

/// The first words of a connection, heard by an acceptor and by a dialler, and judged.
pub fn greeting(bytes: &[u8]) {
    let terms = Terms {
        protocol: PROTOCOL,
        codec: CodecId(codec::CODEC_ID),
        cluster: name("shop"),
        node: node("here"),
        listen: None,
    };
    let hello = finished(async { greeting::hear_hello(&mut stream(bytes)).await });
    if let Ok(hello) = hello {
        let certified = Identity::new(name("shop"), hello.node.name.clone());
        if terms.judge_hello(&hello, &certified).is_ok() {
            let mut peers = peers();
            peers.step(Duration::ZERO, 1, PeersInput::HelloReceived { token: 0, hello });
        }
    }
    let answer = finished(async { greeting::hear(&mut stream(bytes)).await });
    if let Ok(greeting::Answer::Welcome(welcome)) = answer {
        let certified = Identity::new(name("shop"), welcome.node.name.clone());
        let _ = terms.judge_welcome(&welcome, &certified, None);
    }
}

/// What follows them on a control lane, to its end, with what it does to a node's knowledge.
pub fn control(bytes: &[u8]) {
    let (mut reader, _) = ControlLane::new(stream(bytes)).split();
    let (mut peers, from, link) = (peers(), node("b"), LinkId(1));
    let limits = ReplicaLimits::default();
    let mut registry = Registry::new(node("here"), limits.clone());
    let mut interest = Interest::new(node("here"), limits);
    let hello = |lane| Hello {
        protocol: PROTOCOL,
        codec: CodecId(codec::CODEC_ID),
        cluster: name("shop"),
        node: from.clone(),
        listen: None,
        lane,
        link,
        held: Held::default(),
    };
    for lane in [Lane::Control, Lane::Data] {
        let hello = PeersInput::HelloReceived { token: 0, hello: hello(lane) };
        peers.step(Duration::ZERO, 1, hello);
    }
    peers.step(Duration::ZERO, 1, PeersInput::LinkUp { link, peer: from.clone(), listen: None });
    let _ = registry.step(RegistryInput::PeerUp { peer: from.clone() });
    let _ = interest.step(InterestInput::PeerUp { peer: from.clone() });
    finished(async {
        while let Ok(message) = reader.next().await {
            let from = from.clone();
            let goes_on = match message {
                Control::Swim(packet) => {
                    peers.step(Duration::ZERO, 1, PeersInput::Swim { link, packet });
                    true
                }
                Control::Registry(message) => {
                    registry.step(RegistryInput::Received { from, message }).is_ok()
                }
                Control::Interest(message) => {
                    interest.step(InterestInput::Received { from, message }).is_ok()
                }
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    });
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name that is allowed")
}

/// A life of a node; that of `b` is the one that the corpus speaks of.
fn node(text: &str) -> NodeId {
    NodeId { name: name(text), incarnation: Incarnation(1_700_000_000_000_000) }
}

fn peers() -> Peers {
    Peers::new(PeersConfig::default(), node("here")).expect("the defaults work together")
}

/// Frames of a data lane, one after the other, with what lies in them.
pub fn frames(bytes: &[u8]) {
    let _ = crate::lane::read_frames(bytes, FRAME_BYTES_MAX);
}

/// A data lane with one actor and one question of its own, to its end.
pub fn lane(bytes: &[u8]) {
    let yard = Arc::new(Yard::default());
    let lane = DataLane::new(yard.clone(), "peer".into(), &NodeConfig::default().lane_bounds());
    let wire: Arc<dyn Wire> = lane.clone();
    lane.grant(1);
    let mut ask: Encode<'_> = &mut |buffer, _| {
        let id = wire.expect_answer(Arc::new(Asked)).expect("there is room for one");
        buffer.extend_from_slice(&id.to_le_bytes());
        Ok(())
    };
    lane.try_send(&wire, KEEPER, SCHEMA, &mut ask).expect("there is room for one");
    let running = lane.clone().run(stream(bytes));
    let _ = finished(running);
    drop(std::mem::take(&mut *yard.keeper.0.lock()));
    assert_eq!(lane.open_asks().ours, 0, "the end of a lane leaves no question behind");
}

/// A message of an actor, with all that nests, repeats, or is empty.
pub fn codec(bytes: &[u8]) {
    let _ = codec::decode::<Note>(bytes, Limits::default());
}

/// A certificate as TLS hands it over, and as a file.
pub fn certificate(bytes: &[u8]) {
    let _ = certified_identity(&CertificateDer::from(bytes));
    let _ = CertificateView::of(&CertificateDer::from(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Identity::from_uri(text);
        let _ = umbel_protocol::Endpoint::new(text);
    }
    let key = PrivatePkcs8KeyDer::from(bytes.to_vec());
    let _ = crate::tls::provider().key_provider.load_private_key(key.into());
}

fn stream(bytes: &[u8]) -> Box<dyn ByteStream> {
    Box::new(tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink()))
}

fn finished<T>(work: impl Future<Output = T>) -> T {
    let (mut work, mut context) = (pin!(work), Context::from_waker(Waker::noop()));
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("a reader hangs");
}

const SCHEMA: u32 = 7;
const KEEPER: u64 = 1;

/// What the one actor is sent.
#[derive(Serialize, Deserialize)]
#[allow(dead_code, reason = "that it can be decoded is all")]
enum Note {
    Bytes(Vec<u8>),
    Text(String, Option<char>),
    Nested(Box<Note>),
    Many(Vec<Note>),
    Empty(Vec<()>),
    Map(std::collections::BTreeMap<String, Vec<u64>>),
    Numbers(i128, f64, bool, [u16; 4]),
    Questions(Vec<Reply<Vec<u8>>>),
}

/// A node with one actor.
#[derive(Default)]
struct Yard {
    keeper: Arc<Keeper>,
}

impl Home for Yard {
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath {
        ActorPath { node: "yard".into(), incarnation: 1, actor: actor.id() }
    }

    fn import(&self, _: &ActorPath) -> Result<Imported, WireError> {
        Ok(Imported::Gone)
    }

    fn actor(&self, id: u64) -> Option<Arc<dyn Deliver>> {
        (id == KEEPER).then(|| self.keeper.clone() as _)
    }

    fn publication(&self, publication: &Publication<'_>, _: Charge) {
        let _ = codec::decode::<Note>(publication.payload, publication.limits);
    }

    fn dead_letter(&self, _: DeadLetter) {}
}

/// Answers the last question of a message at once, and keeps the others, some messages' worth.
#[derive(Default)]
struct Keeper(Mutex<Vec<(Note, Option<Charge>)>>);

impl Deliver for Keeper {
    fn id(&self) -> u64 {
        KEEPER
    }

    fn schema(&self) -> (&'static str, u32) {
        ("Note", SCHEMA)
    }

    fn deliver(&self, run: &[&[u8]], _: u32, limits: Limits, charge: Charge) -> Vec<Unanswered> {
        let mut undelivered = Vec::new();
        let mut notes = Vec::new();
        for bytes in run {
            match codec::decode(bytes, limits) {
                Ok(note) => notes.push((note, None)),
                Err(why) => undelivered.push(Unanswered::Undecodable(why.to_string())),
            }
        }
        for (note, _) in &mut notes {
            if let Note::Questions(replies) = note
                && let Some(reply) = replies.pop()
            {
                reply.send(vec![1, 2, 3]);
            }
        }
        if let Some((_, last)) = notes.last_mut() {
            *last = Some(charge);
        }
        let mut kept = self.0.lock();
        if kept.len() < 64 {
            kept.extend(notes);
        }
        undelivered
    }

    fn watch(&self) -> Watch {
        Watch::new(oneshot::channel().1, Exit::Killed)
    }

    fn gets_on(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn depth(&self) -> u64 {
        self.0.lock().len() as u64
    }

    fn kill(&self) -> bool {
        false
    }

    fn on_gone(&self, _: Box<dyn FnOnce() + Send>) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The lane's own question.
struct Asked;

impl Pending for Asked {
    fn answer(&self, bytes: &[u8], limits: Limits) {
        let _ = codec::decode::<Note>(bytes, limits);
    }

    fn fail(&self, _: Unanswered) {}

    fn on_cancel(&self, _: Box<dyn FnOnce() + Send>) {}
}
