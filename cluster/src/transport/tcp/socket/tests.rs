use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// Two ends of a connection. Those that are awake poll whatever they wait for.
async fn pair(awake: bool) -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (dialled, accepted) = tokio::join!(dialled, listener.accept());
    let end = |stream| {
        let mut socket = Socket::new(stream);
        socket.polling =
            awake.then(|| Polling { busy_poll: BusyPoll::always(), surge: Arc::new(Surge::new()) });
        socket
    };
    (end(dialled.unwrap()), end(accepted.unwrap().0))
}

async fn within<F: Future>(work: F) -> F::Output {
    timeout(Duration::from_secs(60), work).await.expect("it hangs")
}

/// Waits to read, in vain, until it does so in this way.
async fn wait_until(socket: &mut Socket, way: impl Fn(&Stream) -> bool) {
    let waiting = std::future::poll_fn(|cx| {
        let (mut byte, mut socket) = ([0], Pin::new(&mut *socket));
        assert!(socket.as_mut().poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending());
        if way(&socket.stream) { Poll::Ready(()) } else { Poll::Pending }
    });
    within(waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_and_fro_arrives_whether_its_reader_sleeps_or_not() {
    for awake in [false, true] {
        let (mut here, mut there) = pair(awake).await;
        let echo = tokio::spawn(async move {
            let mut bytes = [0; 8];
            while there.read_exact(&mut bytes).await.is_ok() {
                there.write_all(&bytes).await.unwrap();
            }
            there
        });
        within(async {
            for number in 0..1000_u64 {
                here.write_all(&number.to_le_bytes()).await.unwrap();
                assert_eq!(here.read_u64_le().await.unwrap(), number);
            }
        })
        .await;
        assert_eq!(matches!(here.stream, Stream::Polled(_)), awake);
        here.shutdown().await.unwrap();
        let mut there = within(echo).await.unwrap();
        there.shutdown().await.unwrap();
        assert_eq!(within(here.read(&mut [0])).await.unwrap(), 0, "it has ended in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_waits_for_room_and_arrives_in_order() {
    const BYTES: usize = 16 << 20;
    for awake in [false, true] {
        let (here, mut there) = pair(awake).await;
        let sent: Vec<u8> = (0..BYTES).map(|place| (place % 251) as u8).collect();
        let (mut reading, mut writing) = tokio::io::split(here);
        let writes = tokio::spawn({
            let sent = sent.clone();
            async move {
                writing.write_all(&sent).await.unwrap();
                writing
            }
        });
        // Who reads beside who writes waits all the while, and must not have the kernel look away.
        let reads = tokio::spawn(async move {
            reading.read_u8().await.unwrap();
            reading
        });
        let mut came = vec![0; BYTES];
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        within(there.read_exact(&mut came)).await.unwrap();
        assert!(came == sent, "something was lost or moved");
        there.write_u8(1).await.unwrap();
        within(async { (writes.await.unwrap(), reads.await.unwrap()) }).await;
    }
}

#[tokio::test]
async fn an_end_that_is_dropped_with_something_unread_is_an_error_at_the_other() {
    for awake in [false, true] {
        let (mut here, mut there) = pair(awake).await;
        there.write_all(b"first").await.unwrap();
        within(here.read_exact(&mut [0; 5])).await.unwrap();
        here.write_all(b"read, unread").await.unwrap();
        within(there.read_exact(&mut [0; 4])).await.unwrap();
        drop(there);
        let why = within(here.read(&mut [0])).await.unwrap_err();
        assert_eq!(matches!(here.stream, Stream::Polled(_)), awake);
        assert_eq!(why.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn who_polls_lets_others_run_on_its_thread() {
    let (mut here, mut there) = pair(true).await;
    // All on one thread: the answer comes from a task that has to be let run.
    let answer = tokio::spawn(async move {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        there.write_u8(7).await.unwrap();
        there
    });
    assert_eq!(within(here.read_u8()).await.unwrap(), 7);
    within(answer).await.unwrap();
}

#[tokio::test]
async fn in_a_surge_who_polls_falls_asleep_and_wakes_by_what_comes() {
    let (mut here, mut there) = pair(true).await;
    let surge = here.polling.as_ref().unwrap().surge.clone();
    wait_until(&mut here, |stream| matches!(stream, Stream::Polled(_))).await;
    surge.moved(1 << 20, Instant::now);
    wait_until(&mut here, |stream| matches!(stream, Stream::Watched(_))).await;
    there.write_u8(7).await.unwrap();
    assert_eq!(within(here.read_u8()).await.unwrap(), 7);
}

#[test]
fn one_that_is_polled_goes_on_in_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (mut here, mut there) = first.block_on(pair(true));
    first.block_on(wait_until(&mut here, |stream| matches!(stream, Stream::Polled(_))));
    drop(first);
    runtime().block_on(async {
        here.polling = None;
        wait_until(&mut here, |stream| matches!(stream, Stream::Watched(_))).await;
        there.stream.unwatch().unwrap();
        there.write_u8(7).await.unwrap();
        assert_eq!(within(here.read_u8()).await.unwrap(), 7);
    });
}
