//! A bounded pipe in memory, two of which make a connection that can be half closed, dropped or cut.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one direction holds before its writer waits: of the size of a socket's buffer.
pub(super) const PIPE_BYTES: usize = 64 * 1024;

/// One end of a connection in memory.
pub(super) struct PipeEnd {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl PipeEnd {
    /// The two ends of a new connection, and what cuts it.
    pub(super) fn pair() -> (Self, Self, Cut) {
        let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        let cut = Cut { there: Arc::downgrade(&there), back: Arc::downgrade(&back) };
        let dialler = Self { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
        (dialler, Self { incoming: there, outgoing: back }, cut)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.outgoing.change(|flow| {
            if flow.writer == Writer::Open {
                flow.writer = Writer::Gone;
            }
        });
        self.incoming.change(|flow| {
            flow.reader_gone = true;
            flow.bytes = VecDeque::new();
        });
    }
}

/// Cuts one connection, as a reset does; it does not keep the connection alive.
pub(super) struct Cut {
    there: std::sync::Weak<Pipe>,
    back: std::sync::Weak<Pipe>,
}

impl Cut {
    /// Whether either end still exists.
    pub(super) fn is_live(&self) -> bool {
        self.there.strong_count() > 0
    }

    /// Ends both directions at once; what is under way is lost.
    pub(super) fn cut(&self) {
        for pipe in [&self.there, &self.back] {
            if let Some(pipe) = pipe.upgrade() {
                pipe.change(|flow| {
                    flow.writer = Writer::Cut;
                    flow.bytes = VecDeque::new();
                });
            }
        }
    }
}

#[derive(Default)]
struct Pipe {
    flow: Mutex<Flow>,
}

#[derive(Default)]
struct Flow {
    bytes: VecDeque<u8>,
    writer: Writer,
    reader_gone: bool,
    reading: Option<Waker>,
    writing: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Open,
    /// Shut down: the reader finds the end of the stream.
    Done,
    /// Dropped without shutting down: the reader finds an error, as it does with TLS.
    Gone,
    Cut,
}

impl Pipe {
    /// Changes the state and wakes both sides. The wakers run outside the lock.
    fn change(&self, change: impl FnOnce(&mut Flow)) {
        let (reading, writing) = {
            let mut flow = self.flow.lock();
            change(&mut flow);
            (flow.reading.take(), flow.writing.take())
        };
        for waker in [reading, writing].into_iter().flatten() {
            waker.wake();
        }
    }

    fn read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let waker = {
            let mut flow = self.flow.lock();
            if flow.writer == Writer::Cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if flow.bytes.is_empty() {
                return match flow.writer {
                    Writer::Done => Poll::Ready(Ok(())),
                    Writer::Gone => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Writer::Open | Writer::Cut => {
                        flow.reading = Some(cx.waker().clone());
                        Poll::Pending
                    }
                };
            }
            let (front, _) = flow.bytes.as_slices();
            let taken = front.len().min(buf.remaining());
            buf.put_slice(&front[..taken]);
            flow.bytes.drain(..taken);
            flow.writing.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (written, waker) = {
            let mut flow = self.flow.lock();
            if flow.writer == Writer::Cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if flow.writer != Writer::Open || flow.reader_gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let written = bytes.len().min(PIPE_BYTES - flow.bytes.len());
            if written == 0 && !bytes.is_empty() {
                flow.writing = Some(cx.waker().clone());
                return Poll::Pending;
            }
            flow.bytes.extend(&bytes[..written]);
            (written, flow.reading.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.read(cx, buf)
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.change(|flow| {
            if flow.writer == Writer::Open {
                flow.writer = Writer::Done;
            }
        });
        Poll::Ready(Ok(()))
    }
}
