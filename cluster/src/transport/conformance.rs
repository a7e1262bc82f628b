//! What every transport must do, as a suite that any implementation can be run through.
//!
//! It uses no tasks and no threads, and of the clock only deadlines, so that it runs on a simulated
//! network too. It is for tests: it panics where a claim does not hold.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use umbel_protocol::Identity;

use super::{CertificateFault, Connection, Incoming, Listener, Transport, TransportError};

/// How long a claim may take: a hang is a failure.
const CLAIM_DEADLINE: Duration = Duration::from_secs(30);

/// How long a write must have made no progress to count as held back.
const HELD_BACK: Duration = Duration::from_millis(300);

/// More than any implementation may keep under way for a reader that does not read. Linux lets a loopback
/// socket grow to about 10 MiB, sender and receiver together.
const UNDER_WAY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An implementation under test.
pub trait Subject {
    /// The transport of a node. All that one subject makes are on one network.
    fn transport(&self, cluster: &str, node: &str) -> Arc<dyn Transport>;

    /// An address to listen at, of which the transport picks the rest: `127.0.0.1:0`, say.
    fn any_address(&self) -> String;
}

/// Holds an implementation to every claim.
///
/// # Panics
/// Where a claim does not hold. The name of the last claim begun is on standard error.
pub async fn run(subject: &dyn Subject) {
    for (name, claim) in CLAIMS {
        eprintln!("transport: {name}");
        let held = timeout(CLAIM_DEADLINE, claim(subject)).await;
        assert!(held.is_ok(), "{name}: nothing happens any more");
    }
}

type Claim = fn(&dyn Subject) -> LocalBoxFuture<'_, ()>;

const CLAIMS: [(&str, Claim); 19] = [
    ("each_end_knows_the_other", |s| each_end_knows_the_other(s).boxed_local()),
    ("bytes_keep_their_order", |s| bytes_keep_their_order(s).boxed_local()),
    ("one_direction_can_end_before_the_other", |s| {
        one_direction_can_end_before_the_other(s).boxed_local()
    }),
    ("what_was_sent_before_the_end_arrives", |s| {
        what_was_sent_before_the_end_arrives(s).boxed_local()
    }),
    ("both_directions_carry_much_at_once", |s| both_directions_carry_much_at_once(s).boxed_local()),
    ("a_reader_that_does_not_read_holds_its_writer_back", |s| {
        a_reader_that_does_not_read_holds_its_writer_back(s).boxed_local()
    }),
    ("a_dropped_end_is_an_error_at_the_other", |s| {
        a_dropped_end_is_an_error_at_the_other(s).boxed_local()
    }),
    ("writing_to_a_dropped_end_fails", |s| writing_to_a_dropped_end_fails(s).boxed_local()),
    ("dialling_nobody_fails", |s| dialling_nobody_fails(s).boxed_local()),
    ("a_taken_address_is_refused", |s| a_taken_address_is_refused(s).boxed_local()),
    ("a_dropped_listener_frees_its_address", |s| {
        a_dropped_listener_frees_its_address(s).boxed_local()
    }),
    ("a_dropped_listener_leaves_its_connections_alone", |s| {
        a_dropped_listener_leaves_its_connections_alone(s).boxed_local()
    }),
    ("a_dropped_listener_fails_who_waits_there", |s| {
        a_dropped_listener_fails_who_waits_there(s).boxed_local()
    }),
    ("many_can_dial_at_once", |s| many_can_dial_at_once(s).boxed_local()),
    ("an_abandoned_accept_loses_nobody", |s| an_abandoned_accept_loses_nobody(s).boxed_local()),
    ("one_handshake_does_not_wait_for_another", |s| {
        one_handshake_does_not_wait_for_another(s).boxed_local()
    }),
    ("an_incoming_that_is_dropped_fails_its_dialler", |s| {
        an_incoming_that_is_dropped_fails_its_dialler(s).boxed_local()
    }),
    ("a_dialler_that_gives_up_fails_its_handshake", |s| {
        a_dialler_that_gives_up_fails_its_handshake(s).boxed_local()
    }),
    ("another_cluster_is_refused_at_both_ends", |s| {
        another_cluster_is_refused_at_both_ends(s).boxed_local()
    }),
];

async fn listen(transport: &dyn Transport, address: &str) -> Box<dyn Listener> {
    transport.listen(address).await.expect("the address is free")
}

/// Runs a dial and the handshake that answers it.
async fn meet(
    dialler: &dyn Transport,
    listener: &mut dyn Listener,
) -> (Result<Connection, TransportError>, Result<Connection, TransportError>) {
    let address = listener.address();
    let accept = async {
        let incoming = listener.accept().await.expect("somebody dials");
        incoming.handshake().await
    };
    tokio::join!(dialler.dial(&address), accept)
}

/// A connection from `a` to `b`, in this order, and the listener of `b`.
async fn connected(subject: &dyn Subject) -> (Connection, Connection, Box<dyn Listener>) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let (dialled, accepted) = meet(&*a, &mut *listener).await;
    (dialled.expect("b accepts a"), accepted.expect("a accepts b"), listener)
}

/// Awaits a dial and an accept until the dialler is at the door, with the dial still under way.
async fn at_the_door(
    listener: &mut dyn Listener,
    dial: &mut (impl Future<Output = Result<Connection, TransportError>> + Unpin),
) -> Incoming {
    tokio::select! {
        biased;
        _ = dial => panic!("a dial ended before anybody answered"),
        incoming = listener.accept() => incoming.expect("somebody dials"),
    }
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    // 251 is a prime, so that no block of a power of two repeats.
    (0..length).map(|i| ((i * 7 + seed) % 251) as u8).collect()
}

async fn each_end_knows_the_other(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    assert_eq!(*a.identity(), Identity::new("shop".parse().unwrap(), "a".parse().unwrap()));
    let mut listener = listen(&*b, &subject.any_address()).await;
    assert_ne!(listener.address(), subject.any_address(), "the real address is told");
    let address = listener.address();
    let accept = async {
        let incoming = listener.accept().await.expect("a dials");
        let from = incoming.from().to_owned();
        (from, incoming.handshake().await.expect("a is of our cluster"))
    };
    let (dialled, (from, accepted)) = tokio::join!(a.dial(&address), accept);
    let dialled = dialled.expect("b is of our cluster");
    assert_eq!(dialled.peer, *b.identity());
    assert_eq!(accepted.peer, *a.identity());
    assert_eq!(dialled.address, address);
    assert_eq!(accepted.address, from);
    assert_ne!(from, "");
}

async fn bytes_keep_their_order(subject: &dyn Subject) {
    let (mut a, mut b, _listener) = connected(subject).await;
    let sent = pattern(10_000, 1);
    for chunk in sent.chunks(7) {
        a.stream.write_all(chunk).await.unwrap();
    }
    a.stream.flush().await.unwrap();
    let mut received = vec![0; sent.len()];
    b.stream.read_exact(&mut received).await.unwrap();
    assert!(received == sent, "bytes were changed on their way");
}

async fn one_direction_can_end_before_the_other(subject: &dyn Subject) {
    let (mut a, mut b, _listener) = connected(subject).await;
    a.stream.write_all(b"question").await.unwrap();
    a.stream.shutdown().await.unwrap();
    let mut question = Vec::new();
    b.stream.read_to_end(&mut question).await.expect("an orderly end");
    assert_eq!(question, b"question");
    assert_eq!(b.stream.read(&mut [0; 8]).await.expect("the end is still the end"), 0);

    b.stream.write_all(b"answer").await.expect("the other direction is open");
    b.stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    a.stream.read_to_end(&mut answer).await.expect("an orderly end");
    assert_eq!(answer, b"answer");
    assert!(a.stream.write_all(b"more").await.is_err(), "nothing can be written after the end");
}

async fn what_was_sent_before_the_end_arrives(subject: &dyn Subject) {
    let (mut a, mut b, _listener) = connected(subject).await;
    let sent = pattern(50_000, 2);
    a.stream.write_all(&sent).await.unwrap();
    a.stream.shutdown().await.unwrap();
    drop(a);
    let mut received = Vec::new();
    b.stream.read_to_end(&mut received).await.expect("an orderly end");
    assert!(received == sent, "bytes were lost at the end");
}

async fn both_directions_carry_much_at_once(subject: &dyn Subject) {
    const BYTES: usize = 8 * 1024 * 1024;
    let (a, b, _listener) = connected(subject).await;
    let exchange = |connection: Connection, ours: usize, theirs: usize| async move {
        let (mut reader, mut writer) = tokio::io::split(connection.stream);
        let sending = async {
            writer.write_all(&pattern(BYTES, ours)).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let receiving = async { reader.read_to_end(&mut received).await.unwrap() };
        tokio::join!(sending, receiving);
        assert!(received == pattern(BYTES, theirs), "bytes were lost or changed");
    };
    tokio::join!(exchange(a, 3, 4), exchange(b, 4, 3));
}

async fn a_reader_that_does_not_read_holds_its_writer_back(subject: &dyn Subject) {
    let (mut a, mut b, _listener) = connected(subject).await;
    let chunk = pattern(64 * 1024, 5);
    let mut written = 0;
    while let Ok(progress) = timeout(HELD_BACK, a.stream.write(&chunk)).await {
        written += progress.unwrap();
        assert!(written <= UNDER_WAY_BYTES_MAX, "{written} bytes are under way, read by nobody");
    }
    // The writer goes on once somebody reads, and nothing was lost or sent twice by waiting.
    let sending = async {
        a.stream.write_all(&chunk).await.unwrap();
        a.stream.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let receiving = async { b.stream.read_to_end(&mut received).await.unwrap() };
    tokio::join!(sending, receiving);
    assert_eq!(received.len(), written + chunk.len());
}

async fn a_dropped_end_is_an_error_at_the_other(subject: &dyn Subject) {
    let (mut a, b, _listener) = connected(subject).await;
    drop(b);
    assert!(a.stream.read(&mut [0; 8]).await.is_err(), "a cut is not an orderly end");

    let (a, mut b, _listener) = connected(subject).await;
    drop(a);
    let error = b.stream.read(&mut [0; 8]).await.expect_err("a cut is not an orderly end");
    let error = TransportError::from_io(&b.address, error);
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
}

async fn writing_to_a_dropped_end_fails(subject: &dyn Subject) {
    let (mut a, b, _listener) = connected(subject).await;
    drop(b);
    let chunk = pattern(64 * 1024, 6);
    let mut written = 0;
    while a.stream.write_all(&chunk).await.is_ok() {
        written += chunk.len();
        assert!(written <= UNDER_WAY_BYTES_MAX, "writes to nobody succeed for ever");
    }
}

async fn dialling_nobody_fails(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let address = listen(&*b, &subject.any_address()).await.address();
    let error = a.dial(&address).await.expect_err("nobody listens there any more");
    assert!(
        matches!(&error, TransportError::Unreachable { address: told, .. } if *told == address),
        "{error:?}"
    );
}

async fn a_taken_address_is_refused(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let listener = listen(&*a, &subject.any_address()).await;
    let error = b.listen(&listener.address()).await.err().expect("a listens there");
    assert!(matches!(error, TransportError::Listen { .. }), "{error:?}");
}

async fn a_dropped_listener_frees_its_address(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let address = listener.address();
    // With a connection made and closed, for a real system remembers those.
    drop(meet(&*a, &mut *listener).await);
    drop(listener);
    let mut listener = listen(&*b, &address).await;
    assert_eq!(listener.address(), address);
    let (dialled, accepted) = meet(&*a, &mut *listener).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

async fn a_dropped_listener_leaves_its_connections_alone(subject: &dyn Subject) {
    let (mut a, mut b, listener) = connected(subject).await;
    drop(listener);
    a.stream.write_all(b"still").await.unwrap();
    a.stream.flush().await.unwrap();
    let mut received = [0; 5];
    b.stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"still");
}

async fn a_dropped_listener_fails_who_waits_there(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let (mut first, mut second) = (a.dial(&listener.address()), a.dial(&listener.address()));
    let incoming = at_the_door(&mut *listener, &mut first).await;
    // The other one's call is under way, or waits to be accepted: either way it must end.
    assert!((&mut second).now_or_never().is_none());
    drop(incoming);
    drop(listener);
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_err());
}

async fn many_can_dial_at_once(subject: &dyn Subject) {
    const DIALLERS: u8 = 40;
    let server = subject.transport("shop", "server");
    let mut listener = listen(&*server, &subject.any_address()).await;
    let address = listener.address();
    let dials = (0..DIALLERS).map(|number| {
        let dialler = subject.transport("shop", &format!("dialler-{number}"));
        let address = address.clone();
        async move {
            let mut connection = dialler.dial(&address).await.unwrap();
            connection.stream.write_all(&[number]).await.unwrap();
            connection.stream.shutdown().await.unwrap();
            let mut echo = Vec::new();
            connection.stream.read_to_end(&mut echo).await.unwrap();
            assert_eq!(echo, [number]);
        }
    });
    let serving = async {
        let mut incoming = Vec::new();
        while incoming.len() < usize::from(DIALLERS) {
            incoming.push(listener.accept().await.unwrap());
        }
        join_all(incoming.into_iter().map(|incoming| async {
            let mut connection = incoming.handshake().await.unwrap();
            let mut said = Vec::new();
            connection.stream.read_to_end(&mut said).await.unwrap();
            assert_eq!(connection.peer.node.as_str(), format!("dialler-{}", said[0]));
            connection.stream.write_all(&said).await.unwrap();
            connection.stream.shutdown().await.unwrap();
        }))
        .await
    };
    tokio::join!(join_all(dials), serving);
}

async fn an_abandoned_accept_loses_nobody(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    assert!(listener.accept().now_or_never().is_none());
    let (dialled, accepted) = meet(&*a, &mut *listener).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

async fn one_handshake_does_not_wait_for_another(subject: &dyn Subject) {
    let (silent, b) = (subject.transport("shop", "silent"), subject.transport("shop", "b"));
    let a = subject.transport("shop", "a");
    let mut listener = listen(&*b, &subject.any_address()).await;
    let mut waiting = silent.dial(&listener.address());
    let unanswered = at_the_door(&mut *listener, &mut waiting).await;
    let (dialled, accepted) = meet(&*a, &mut *listener).await;
    assert_eq!(accepted.unwrap().peer, *a.identity());
    assert!(dialled.is_ok());
    let (waiting, answered) = tokio::join!(waiting, unanswered.handshake());
    assert!(waiting.is_ok());
    assert_eq!(answered.unwrap().peer, *silent.identity());
}

async fn an_incoming_that_is_dropped_fails_its_dialler(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let mut dial = a.dial(&listener.address());
    drop(at_the_door(&mut *listener, &mut dial).await);
    let error = dial.await.expect_err("b hung up");
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
}

async fn a_dialler_that_gives_up_fails_its_handshake(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("shop", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let mut dial = a.dial(&listener.address());
    let incoming = at_the_door(&mut *listener, &mut dial).await;
    drop(dial);
    let error = incoming.handshake().await.expect_err("a has gone");
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
}

async fn another_cluster_is_refused_at_both_ends(subject: &dyn Subject) {
    let (a, b) = (subject.transport("shop", "a"), subject.transport("bank", "b"));
    let mut listener = listen(&*b, &subject.any_address()).await;
    let (dialled, accepted) = meet(&*a, &mut *listener).await;
    for refusal in [dialled.err(), accepted.err()] {
        let fault = refusal.as_ref().and_then(TransportError::fault);
        let of_another =
            [CertificateFault::OtherCluster, CertificateFault::ForeignAuthority].map(Some);
        assert!(of_another.contains(&fault), "{refusal:?}");
    }
}
