//! A TCP connection whose reader may stay awake.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{coop, yield_now};
use tokio::time::Instant;

use busy_poll::BusyPoll;
pub(super) use surge::Surge;

mod busy_poll;
mod surge;

/// A TCP connection. Whoever waits to read from it sleeps until the kernel wakes it, or looks again and
/// again where it is [let](Self::let_poll) and that is quicker, as [`BusyPoll`] has it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    polling: Option<Polling>,
    /// Somebody waits until it can be written to.
    write_waits: bool,
}

#[derive(Debug)]
struct Polling {
    busy_poll: BusyPoll,
    surge: Arc<Surge>,
}

#[derive(Debug)]
enum Stream {
    /// The kernel tells when there is something to be read, or room to write.
    Watched(TcpStream),
    /// Whoever reads looks by itself, which tokio's stream does not before the kernel has told. And the
    /// kernel tells nothing: another worker waits for what it says, and would wake for each arrival, in
    /// vain.
    ///
    /// Whoever finds nothing to read here is woken to look again, once: a task that is woken and does not
    /// look is not woken by what comes.
    Polled(std::net::TcpStream),
    /// It could not be made the one or the other, as where the kernel watches no more descriptors for this
    /// user. To those who hold it, the connection has broken.
    Lost,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Watched(stream), polling: None, write_waits: false }
    }

    /// From now on its reader stays awake where that is quicker, but not during a surge of its node; where
    /// there is none to know of, never. For the connections of peers that have proved who they are: it takes
    /// a core.
    pub(super) fn let_poll(&mut self, surge: Option<Arc<Surge>>) {
        self.polling = surge.map(|surge| Polling { busy_poll: BusyPoll::new(), surge });
    }

    /// Nothing is there to be read: whether to look again at once.
    fn stays_awake(&mut self) -> bool {
        let Some(Polling { busy_poll, surge }) = &mut self.polling else { return false };
        let now = Instant::now();
        // It is for the kernel to wake whoever waits to write.
        if self.write_waits || surge.is_on(now) {
            busy_poll.forget_wait();
            return false;
        }
        busy_poll.idle(now)
    }

    fn has_read(&mut self, bytes: usize) {
        if let Some(Polling { busy_poll, surge }) = &mut self.polling {
            busy_poll.busy(Instant::now);
            surge.moved(bytes, Instant::now);
        }
    }

    fn has_written(&self, bytes: usize) {
        if let Some(Polling { surge, .. }) = &self.polling {
            surge.moved(bytes, Instant::now);
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        watched: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
        polled: impl Fn(&std::net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while let Stream::Polled(stream) = &self.stream {
            let budget = ready!(coop::poll_proceed(cx));
            match polled(stream) {
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => self.stream.watch()?,
                wrote => {
                    budget.made_progress();
                    self.has_written(*wrote.as_ref().unwrap_or(&0));
                    return Poll::Ready(wrote);
                }
            }
        }
        let Stream::Watched(stream) = &mut self.stream else { return Poll::Ready(Err(lost())) };
        let wrote = watched(Pin::new(stream), cx);
        self.write_waits = wrote.is_pending();
        if let Poll::Ready(Ok(bytes)) = wrote {
            self.has_written(bytes);
        }
        wrote
    }
}

impl Stream {
    fn watch(&mut self) -> io::Result<()> {
        if let Self::Polled(stream) = std::mem::replace(self, Self::Lost) {
            *self = Self::Watched(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    fn unwatch(&mut self) -> io::Result<()> {
        if let Self::Watched(stream) = std::mem::replace(self, Self::Lost) {
            *self = Self::Polled(stream.into_std()?);
        }
        Ok(())
    }
}

fn lost() -> io::Error {
    io::Error::other("the kernel could not be told to watch it, or to leave off")
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            match &mut self.stream {
                Stream::Watched(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                    Poll::Ready(read) => {
                        self.has_read(buffer.filled().len() - before);
                        return Poll::Ready(read);
                    }
                    Poll::Pending if self.stays_awake() => self.stream.unwatch()?,
                    Poll::Pending => return Poll::Pending,
                },
                Stream::Polled(stream) => {
                    let budget = ready!(coop::poll_proceed(cx));
                    match stream.read(buffer.initialize_unfilled()) {
                        Ok(bytes) => {
                            budget.made_progress();
                            self.has_read(bytes);
                            buffer.advance(bytes);
                            return Poll::Ready(Ok(()));
                        }
                        Err(why) if why.kind() == ErrorKind::Interrupted => {}
                        Err(why) if why.kind() != ErrorKind::WouldBlock => {
                            return Poll::Ready(Err(why));
                        }
                        Err(_) if self.stays_awake() => {
                            // Polled once, it wakes this task when all others that can run have run.
                            if pin!(yield_now()).poll(cx).is_ready() {
                                cx.waker().wake_by_ref();
                            }
                            return Poll::Pending;
                        }
                        Err(_) => self.stream.watch()?,
                    }
                }
                Stream::Lost => return Poll::Ready(Err(lost())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |it, cx| it.poll_write(cx, bytes), |mut it| it.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(
            cx,
            |it, cx| it.poll_write_vectored(cx, parts),
            |mut it| it.write_vectored(parts),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is kept here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Watched(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Polled(stream) => Poll::Ready(match stream.shutdown(Shutdown::Write) {
                // As tokio has it: the other end was quicker.
                Err(why) if why.kind() == ErrorKind::NotConnected => Ok(()),
                done => done,
            }),
            Stream::Lost => Poll::Ready(Err(lost())),
        }
    }
}

#[cfg(test)]
mod tests;
