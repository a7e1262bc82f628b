//! What a lane's task has still to write.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::driver::LaneEnd;

/// The writing end of a lane's stream: a buffer that is written whole before it is filled again.
#[derive(Debug)]
pub(super) struct Outlet {
    bytes: Vec<u8>,
    written: usize,
    flushed: bool,
    finished: bool,
}

impl Outlet {
    pub(super) fn new(capacity: usize) -> Self {
        let bytes = Vec::with_capacity(capacity);
        Self { bytes, written: 0, flushed: true, finished: false }
    }

    /// Whether all is written, and it can be filled again.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is written next, to be filled while it is [empty](Self::is_empty).
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether all is written for good, and the peer knows.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Writes as much as the stream takes, and flushes when that is all. Whether something was written.
    pub(super) fn write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Result<bool, LaneEnd>
    where
        S: AsyncWrite + Unpin,
    {
        let mut wrote = false;
        while self.written < self.bytes.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.written..]) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Err(why)) => return Err(LaneEnd::Broken(why)),
                Poll::Ready(Ok(0)) => return Err(LaneEnd::Broken(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.flushed = false;
                    wrote = true;
                }
            }
        }
        self.bytes.clear();
        self.written = 0;
        self.flush(stream, cx)?;
        Ok(wrote)
    }

    pub(super) fn flush<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Result<(), LaneEnd>
    where
        S: AsyncWrite + Unpin,
    {
        if !self.flushed {
            match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(why)) => return Err(LaneEnd::Broken(why)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// The lane is closed and all is written: says so to the peer, after it where `peer_first`. What the
    /// peer has written still is to be read: a connection that is closed with something unread in it may
    /// lose at the other end what has not been read there.
    pub(super) fn finish<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        peer_first: bool,
        peer_done: bool,
    ) -> Result<(), LaneEnd>
    where
        S: AsyncWrite + Unpin,
    {
        self.flush(stream, cx)?;
        if peer_first && !peer_done {
            return Ok(());
        }
        match Pin::new(stream).poll_shutdown(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) if peer_done => Err(LaneEnd::Closed),
            Poll::Ready(_) => {
                self.finished = true;
                Ok(())
            }
        }
    }
}
