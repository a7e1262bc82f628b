use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Nothing that is waited for here takes so long.
const SOON: Duration = Duration::from_secs(30);

/// Long enough for what could come to have come, on a machine with time; on another the test sees less.
const MOMENT: Duration = Duration::from_millis(100);

/// As long as nobody mends it.
const LONG: u64 = 60_000;

/// Node 0 dials node 1.
struct Pair {
    proxies: Proxies,
    listener: TcpListener,
}

impl Pair {
    async fn new() -> Self {
        let proxies = Proxies::open(2).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        proxies.listens(1, Some(listener.local_addr().unwrap()));
        Self { proxies, listener }
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(&self.proxies.doors[&(0, 1)]).await.unwrap()
    }

    /// Both ends of a new connection.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let dialler = self.dial().await;
        let accepted = tokio::time::timeout(SOON, self.listener.accept()).await;
        (dialler, accepted.expect("it comes through").unwrap().0)
    }
}

async fn send(end: &mut TcpStream, bytes: &[u8]) {
    end.write_all(bytes).await.unwrap();
}

async fn hears(end: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    let read = tokio::time::timeout(SOON, end.read_exact(&mut heard)).await;
    read.expect("it comes through").unwrap();
    assert_eq!(heard, bytes);
}

async fn hears_nothing(end: &mut TcpStream) {
    let mut heard = [0];
    let read = tokio::time::timeout(MOMENT, end.read(&mut heard)).await;
    assert!(read.is_err(), "{read:?}");
}

async fn is_reset(end: &mut TcpStream) {
    let read = tokio::time::timeout(SOON, end.read(&mut [0])).await.expect("it is told");
    assert_eq!(read.map_err(|why| why.kind()), Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn bytes_and_the_end_of_either_side_come_through() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    send(&mut dialler, b"there").await;
    hears(&mut acceptor, b"there").await;
    dialler.shutdown().await.unwrap();
    assert_eq!(acceptor.read(&mut [0]).await.unwrap(), 0);
    send(&mut acceptor, b"back").await;
    hears(&mut dialler, b"back").await;
    drop(acceptor);
    assert_eq!(dialler.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_dials_a_node_that_does_not_listen_is_reset() {
    let pair = Pair::new().await;
    pair.proxies.listens(1, None);
    is_reset(&mut pair.dial().await).await;
}

#[tokio::test]
async fn an_end_that_breaks_has_the_other_reset_but_over_a_cut_only_when_that_is_mended() {
    let pair = Pair::new().await;
    let (mut dialler, acceptor) = pair.connect().await;
    acceptor.set_zero_linger().unwrap();
    drop(acceptor);
    is_reset(&mut dialler).await;
    let (mut dialler, acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::Cut { from: 1, to: 0, ms: LONG }));
    acceptor.set_zero_linger().unwrap();
    drop(acceptor);
    hears_nothing(&mut dialler).await;
    pair.proxies.mend();
    is_reset(&mut dialler).await;
}

#[tokio::test]
async fn a_cut_holds_one_way_of_all_connections_until_it_is_mended() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::Cut { from: 0, to: 1, ms: LONG }));
    send(&mut dialler, b"there").await;
    let mut late = pair.dial().await;
    send(&mut late, b"late").await;
    send(&mut acceptor, b"back").await;
    hears(&mut dialler, b"back").await;
    hears_nothing(&mut acceptor).await;
    pair.proxies.mend();
    hears(&mut acceptor, b"there").await;
    let (mut acceptor, _) = pair.listener.accept().await.unwrap();
    hears(&mut acceptor, b"late").await;
}

#[tokio::test]
async fn a_stall_holds_the_connections_that_there_are_and_ends_by_itself() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::Stall { from: 0, to: 1, ms: 1_000 }));
    let began = Instant::now();
    send(&mut dialler, b"there").await;
    let (mut other, mut others) = pair.connect().await;
    send(&mut other, b"new").await;
    hears(&mut others, b"new").await;
    hears(&mut acceptor, b"there").await;
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_half_open_door_says_nothing_ever_and_what_there_was_goes_on() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::HalfOpen { from: 0, to: 1, ms: LONG }));
    let mut late = pair.dial().await;
    send(&mut late, b"late").await;
    send(&mut dialler, b"there").await;
    hears(&mut acceptor, b"there").await;
    hears_nothing(&mut late).await;
    pair.proxies.mend();
    hears_nothing(&mut late).await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    send(&mut dialler, b"again").await;
    hears(&mut acceptor, b"again").await;
}

#[tokio::test]
async fn a_reset_ends_both_ends_of_what_there_is_whoever_is_named_first() {
    let pair = Pair::new().await;
    for fault in [Fault::Reset { a: 0, b: 1 }, Fault::Reset { a: 1, b: 0 }] {
        let (mut dialler, mut acceptor) = pair.connect().await;
        // One that is not carried yet is only closed.
        send(&mut acceptor, b"back").await;
        hears(&mut dialler, b"back").await;
        assert!(pair.proxies.spoil(&fault));
        is_reset(&mut dialler).await;
        is_reset(&mut acceptor).await;
    }
}

#[tokio::test]
async fn what_is_swallowed_is_never_heard_of_nor_is_its_end() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::Blackhole { a: 1, b: 0 }));
    send(&mut dialler, b"there").await;
    hears_nothing(&mut acceptor).await;
    pair.proxies.mend();
    hears_nothing(&mut acceptor).await;
    drop(acceptor);
    hears_nothing(&mut dialler).await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    send(&mut dialler, b"again").await;
    hears(&mut acceptor, b"again").await;
}

#[tokio::test]
async fn delays_and_slowness_take_their_time() {
    let pair = Pair::new().await;
    let (mut dialler, mut acceptor) = pair.connect().await;
    assert!(pair.proxies.spoil(&Fault::Delay { from: 0, to: 1, extra_ms: 200, ms: LONG }));
    assert!(pair.proxies.spoil(&Fault::SlowLink {
        from: 0,
        to: 1,
        bytes_per_second: 50,
        ms: LONG
    }));
    let began = Instant::now();
    send(&mut dialler, b"ten bytes!").await;
    hears(&mut acceptor, b"ten bytes!").await;
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
    let others = [Fault::Kill { node: 0, down_ms: 1 }, Fault::ClockJump { node: 0, by_ms: 1 }];
    assert!(others.iter().all(|other| !pair.proxies.spoil(other)));
}
