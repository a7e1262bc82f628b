//! A byte stream that goes on over another connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ByteStream;

/// A byte stream that can go on over another connection, which whoever reads and writes it does not
/// notice.
///
/// Each end ends its direction of the old connection, and writes the rest over the new one; what
/// comes is read to the end of the old one first. So no byte is lost, doubled or out of order, and
/// TLS vouches for the end of the old one as it does for its bytes.
pub(crate) struct Renewable {
    shared: Arc<Shared>,
    now: Box<dyn ByteStream>,
    next: Option<Next>,
}

/// The connection that takes over.
struct Next {
    stream: Box<dyn ByteStream>,
    /// Our direction of the old one has ended.
    writes: bool,
    /// The peer's has.
    reads: bool,
}

/// Gives a [`Renewable`] its next connection.
pub(crate) struct Renewal(Arc<Shared>);

struct Shared {
    /// Whether `phase` is not [`Phase::Settled`]: looked at on each poll, where a lock would cost.
    is_touched: AtomicBool,
    phase: Mutex<Phase>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

enum Phase {
    Settled,
    /// The present connection may end before the next one is here.
    Expected,
    Arrived(Box<dyn ByteStream>),
    UnderWay,
    /// Nothing is read or written any more.
    Halted,
}

impl Renewal {
    /// Another connection is about to come: from now on the end of the present one is not the end of
    /// the stream. False where one is on its way already.
    pub(crate) fn expect(&self) -> bool {
        let mut phase = self.0.phase.lock();
        let settled = matches!(*phase, Phase::Settled);
        if settled {
            *phase = Phase::Expected;
            self.0.is_touched.store(true, Ordering::Release);
        }
        settled
    }

    /// It is here. False where none was expected.
    pub(crate) fn arrive(&self, stream: Box<dyn ByteStream>) -> bool {
        let mut phase = self.0.phase.lock();
        let expected = matches!(*phase, Phase::Expected);
        if expected {
            *phase = Phase::Arrived(stream);
            drop(phase);
            self.0.reader.wake();
        }
        expected
    }

    /// None will come. Where the present connection has ended meanwhile, the stream has now.
    pub(crate) fn withdraw(&self) {
        let mut phase = self.0.phase.lock();
        if matches!(*phase, Phase::Expected) {
            *phase = Phase::Settled;
            self.0.is_touched.store(false, Ordering::Release);
            drop(phase);
            self.0.reader.wake();
        }
    }

    /// Has nothing read and nothing written any more, while the connection stays as it is.
    pub(crate) fn halt(&self) {
        *self.0.phase.lock() = Phase::Halted;
        self.0.is_touched.store(true, Ordering::Release);
    }

    /// Whether the present connection is the only one.
    pub(crate) fn is_settled(&self) -> bool {
        !self.0.is_touched.load(Ordering::Acquire)
    }
}

impl Renewable {
    pub(crate) fn new(stream: Box<dyn ByteStream>) -> (Self, Renewal) {
        let shared = Arc::new(Shared {
            is_touched: AtomicBool::new(false),
            phase: Mutex::new(Phase::Settled),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        let renewal = Renewal(shared.clone());
        (Self { shared, now: stream, next: None }, renewal)
    }

    fn is_halted(&self) -> bool {
        self.shared.is_touched.load(Ordering::Acquire)
            && matches!(*self.shared.phase.lock(), Phase::Halted)
    }

    /// Takes up a connection that has arrived; whether there is one.
    fn look(&mut self) -> bool {
        if self.next.is_none() && self.shared.is_touched.load(Ordering::Acquire) {
            let mut phase = self.shared.phase.lock();
            if matches!(*phase, Phase::Arrived(_))
                && let Phase::Arrived(stream) = std::mem::replace(&mut *phase, Phase::UnderWay)
            {
                self.next = Some(Next { stream, writes: false, reads: false });
            }
        }
        self.next.is_some()
    }

    /// Ends our direction of the old connection, if another one is here.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(next) = &mut self.next
            && !next.writes
        {
            // It also writes what the old one has taken and still holds.
            ready!(Pin::new(&mut self.now).poll_shutdown(cx))?;
            next.writes = true;
            self.shared.writer.wake();
            self.settle();
        }
        Poll::Ready(Ok(()))
    }

    fn settle(&mut self) {
        if let Some(Next { stream, .. }) = self.next.take_if(|next| next.writes && next.reads) {
            self.now = stream;
            let mut phase = self.shared.phase.lock();
            if matches!(*phase, Phase::UnderWay) {
                *phase = Phase::Settled;
                self.shared.is_touched.store(false, Ordering::Release);
            }
        }
    }

    /// Where to write, once it is known.
    fn poll_writing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut dyn ByteStream>> {
        if self.is_halted() {
            return Poll::Pending;
        }
        if self.look() {
            ready!(self.poll_hand_over(cx))?;
        }
        Poll::Ready(Ok(match &mut self.next {
            Some(next) => &mut *next.stream,
            None => &mut *self.now,
        }))
    }

    /// Whoever drives the hand-over takes the place of who waits to write.
    fn or_wake_writer<T>(&self, polled: Poll<T>, cx: &Context<'_>) -> Poll<T> {
        if polled.is_pending() {
            self.shared.writer.register(cx.waker());
        }
        polled
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(ready!(self.poll_writing(cx))?).poll_write(cx, bytes)
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(ready!(self.poll_writing(cx))?).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(ready!(self.poll_writing(cx))?).poll_shutdown(cx)
    }
}

impl AsyncRead for Renewable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_halted() {
            return Poll::Pending;
        }
        loop {
            // Whoever has nothing to write hands over, too.
            if this.look()
                && let Poll::Ready(Err(why)) = this.poll_hand_over(cx)
            {
                return Poll::Ready(Err(why));
            }
            if let Some(next) = &mut this.next
                && next.reads
            {
                return Pin::new(&mut next.stream).poll_read(cx, buffer);
            }
            let before = buffer.filled().len();
            let polled = Pin::new(&mut this.now).poll_read(cx, buffer);
            let ended = polled.is_ready()
                && buffer.filled().len() == before
                && buffer.remaining() > 0
                && matches!(polled, Poll::Ready(Ok(())));
            if !ended && polled.is_ready() {
                return polled;
            }
            if ended && let Some(next) = &mut this.next {
                next.reads = true;
                this.settle();
                continue;
            }
            this.shared.reader.register(cx.waker());
            // What arrives from now on wakes this task; what arrived before is looked at here.
            if this.next.is_none() && this.look() {
                continue;
            }
            let expected = ended && matches!(*this.shared.phase.lock(), Phase::Expected);
            return if expected { Poll::Pending } else { polled };
        }
    }
}

impl AsyncWrite for Renewable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.poll_write_some(cx, bytes);
        self.or_wake_writer(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_flush_all(cx);
        self.or_wake_writer(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_end(cx);
        self.or_wake_writer(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    struct End {
        stream: Renewable,
        renewal: Renewal,
    }

    fn ends(pipe_bytes: usize) -> (End, End) {
        let end = |half: DuplexStream| {
            let (stream, renewal) = Renewable::new(Box::new(half));
            End { stream, renewal }
        };
        let (a, b) = duplex(pipe_bytes);
        (end(a), end(b))
    }

    fn byte(at: usize) -> u8 {
        (at * 31 % 251) as u8
    }

    /// Writes and reads `count` bytes at once, and checks those that come.
    async fn exchange(end: &mut Renewable, count: usize) {
        let (mut reading, mut writing) = tokio::io::split(end);
        let write = async {
            let bytes: Vec<u8> = (0..count).map(byte).collect();
            for part in bytes.chunks(777) {
                writing.write_all(part).await.unwrap();
                writing.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let read = async {
            let mut bytes = vec![0; count];
            reading.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.iter().enumerate().all(|(at, found)| *found == byte(at)));
        };
        tokio::join!(write, read);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_or_out_of_order_over_many_connections() {
        let (mut a, mut b) = ends(64);
        let mut renewed = 0;
        let renew = async {
            loop {
                while !(a.renewal.is_settled() && b.renewal.is_settled()) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // One end has it well before the other.
                assert!(a.renewal.expect() && b.renewal.expect());
                let (left, right) = duplex(64);
                assert!(a.renewal.arrive(Box::new(left)));
                tokio::time::sleep(Duration::from_millis(3)).await;
                assert!(b.renewal.arrive(Box::new(right)));
                renewed += 1;
            }
        };
        let count = 1 << 20;
        let exchanged =
            async { tokio::join!(exchange(&mut a.stream, count), exchange(&mut b.stream, count)) };
        let all = async {
            tokio::select! {
                _ = exchanged => {}
                () = renew => {}
            }
        };
        timeout(Duration::from_secs(3600), all).await.expect("it goes on");
        assert!(renewed > 100, "{renewed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_nothing_to_write_lets_go_of_its_old_connection() {
        let (mut a, mut b) = ends(64);
        let idle = async {
            let (one, other) = (&mut [0], &mut [0]);
            tokio::join!(a.stream.read(one), b.stream.read(other))
        };
        assert!(timeout(Duration::from_secs(1), idle).await.is_err());
        let (left, right) = duplex(64);
        assert!(a.renewal.expect() && b.renewal.expect());
        assert!(a.renewal.arrive(Box::new(left)) && b.renewal.arrive(Box::new(right)));
        let idle = async {
            let (one, other) = (&mut [0], &mut [0]);
            tokio::join!(a.stream.read(one), b.stream.read(other))
        };
        assert!(timeout(Duration::from_secs(1), idle).await.is_err());
        assert!(a.renewal.is_settled() && b.renewal.is_settled());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_an_end_once_no_other_connection_is_expected() {
        let (mut a, mut b) = ends(64);
        assert!(a.renewal.expect() && !a.renewal.expect());
        b.stream.shutdown().await.unwrap();
        let mut buffer = [0];
        let reading = a.stream.read(&mut buffer);
        tokio::pin!(reading);
        assert!(timeout(Duration::from_secs(1), &mut reading).await.is_err());
        a.renewal.withdraw();
        assert_eq!(reading.await.unwrap(), 0);
        assert!(!a.renewal.arrive(Box::new(duplex(1).0)), "nobody waits for it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_halted_moves_nothing_and_ends_nothing() {
        let (mut a, mut b) = ends(64);
        b.stream.write_all(b"unread").await.unwrap();
        a.renewal.halt();
        assert!(!a.renewal.expect());
        let mut buffer = [0; 6];
        assert!(timeout(Duration::from_secs(1), a.stream.read(&mut buffer)).await.is_err());
        assert!(timeout(Duration::from_secs(1), a.stream.write(b"x")).await.is_err());
        assert!(timeout(Duration::from_secs(1), b.stream.read(&mut buffer)).await.is_err());
        drop(a);
        assert_eq!(b.stream.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_under_way_breaks_the_stream() {
        let (mut a, b) = ends(64);
        assert!(a.renewal.expect());
        let (left, right) = duplex(64);
        assert!(a.renewal.arrive(Box::new(left)));
        drop((b, right));
        assert!(a.stream.write_all(b"lost").await.is_err());
    }
}
