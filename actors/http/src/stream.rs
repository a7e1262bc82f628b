use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use crate::options::HttpOptions;
use crate::phase::{Phase, Phases};

/// How long a client is listened to that sends a body which nobody wants: if its connection were reset,
/// it would not read the answer that says so.
const LINGER: Duration = Duration::from_secs(2);

/// A connection whose client must get on: reading fails when a head takes too long or no request comes,
/// writing when the client reads nothing.
pub(crate) struct Stream<S> {
    stream: S,
    phases: Arc<Phases>,
    reading: Waiting,
    writing: Waiting,
    lingering: Waiting,
    head_wait: Duration,
    idle: Duration,
    stall: Duration,
    _place: Place,
}

/// Taken until the connection is closed, by whoever it was handed to.
struct Place(#[expect(dead_code, reason = "given back by its drop")] OwnedSemaphorePermit);

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(CONNECTIONS).increment(1.0);
        Self(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!(CONNECTIONS).decrement(1.0);
    }
}

const CONNECTIONS: &str = "umbel_http_connections";

/// What is waited for, and until when.
#[derive(Default)]
struct Waiting {
    what: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    /// Ready when `what` has been waited for so long.
    fn poll(&mut self, what: u64, within: Duration, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(within)));
        if self.what != Some(what) {
            self.what = Some(what);
            sleep.as_mut().reset(Instant::now() + within);
        }
        sleep.as_mut().poll(context)
    }

    fn is_over(&mut self) {
        self.what = None;
    }
}

impl<S> Stream<S> {
    pub(crate) fn new(
        stream: S,
        phases: Arc<Phases>,
        options: &HttpOptions,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            phases,
            reading: Waiting::default(),
            writing: Waiting::default(),
            lingering: Waiting::default(),
            head_wait: options.head_wait,
            idle: options.idle,
            stall: options.stall,
            _place: Place::new(place),
        }
    }

    /// What came of a write; an error if it has waited too long.
    fn written<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing.is_over();
            return outcome;
        }
        if self.phases.now() != Phase::Upgraded {
            ready!(self.writing.poll(0, self.stall, context));
            return Poll::Ready(Err(late("the client reads nothing")));
        }
        outcome
    }
}

fn late(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(context, buffer);
        if outcome.is_ready() {
            if buffer.filled().len() > before {
                this.phases.heard();
            }
            return outcome;
        }
        let (within, why) = match this.phases.now() {
            Phase::Head => (this.head_wait, "the head of a request takes too long"),
            Phase::Idle => (this.idle, "no request has come"),
            // A handler has a deadline, within which it reads the body; a write notices who stalls.
            Phase::Busy | Phase::Sending | Phase::Upgraded => return outcome,
        };
        ready!(this.reading.poll(this.phases.word(), within, context));
        Poll::Ready(Err(late(why)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(outcome, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.written(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here when it has written all that it had.
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(context);
        if matches!(outcome, Poll::Ready(Ok(()))) {
            this.phases.flushed();
        }
        outcome
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.what.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        if !this.phases.is_unread() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.lingering.poll(0, LINGER, context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [0; 16 << 10];
            let mut unwanted = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut unwanted))?;
            if unwanted.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
