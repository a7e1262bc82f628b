//! A connection that is lent to ractor_cluster and can be taken back.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use umbel_cluster::ByteStream;

use crate::introduction::{Introduction, IntroductionError};

/// A connection that is lent to ractor_cluster. When it is taken back the socket is closed at once,
/// whoever of ractor_cluster's tasks still holds a half, and is woken to find the end.
pub(crate) struct Lent {
    shared: Arc<Shared>,
    introduction: Introduction,
    label: String,
}

/// Takes the connection back.
#[derive(Clone, Debug)]
pub(crate) struct Lease(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    stream: Option<Box<dyn ByteStream>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    refused: Option<IntroductionError>,
}

impl Lent {
    /// `label` is what ractor_cluster calls the peer's address.
    pub(crate) fn new(
        stream: Box<dyn ByteStream>,
        introduction: Introduction,
        label: String,
    ) -> (Self, Lease) {
        let state = State { stream: Some(stream), ..State::default() };
        let shared = Arc::new(Shared(Mutex::new(state)));
        (Self { shared: shared.clone(), introduction, label }, Lease(shared))
    }
}

impl ClusterBidiStream for Lent {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let Self { shared, introduction, .. } = *self;
        let reader = Reader { shared: shared.clone(), introduction: Some(introduction) };
        (Box::new(reader), Box::new(Writer { shared }))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

impl Lease {
    /// Takes the connection back.
    pub(crate) fn end(&self) {
        self.0.end(None);
    }

    /// What the peer's introduction was refused for, if it was.
    pub(crate) fn refused(&self) -> Option<IntroductionError> {
        self.0.0.lock().refused.clone()
    }
}

impl Shared {
    fn end(&self, why: Option<IntroductionError>) {
        let (stream, wakers) = {
            let mut state = self.0.lock();
            if state.refused.is_none() {
                state.refused = why;
            }
            (state.stream.take(), [state.reader.take(), state.writer.take()])
        };
        drop(stream);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        waker: impl Fn(&mut State) -> &mut Option<Waker>,
        poll: impl FnOnce(Pin<&mut dyn ByteStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
        gone: impl FnOnce() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.0.lock();
        let Some(stream) = &mut state.stream else { return Poll::Ready(gone()) };
        let polled = poll(Pin::new(&mut **stream), cx);
        // The stream keeps the waker too, but it may be gone before it wakes anybody.
        *waker(&mut state) = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("lent", &self.0.lock().stream.is_some()).finish()
    }
}

struct Reader {
    shared: Arc<Shared>,
    /// Until the peer has named itself.
    introduction: Option<Introduction>,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.shared.poll(
            cx,
            |state| &mut state.reader,
            |stream, cx| stream.poll_read(cx, buf),
            || Ok(()),
        );
        if let (Poll::Ready(Ok(())), Some(introduction)) = (&polled, &mut self.introduction) {
            match introduction.hear(&buf.filled()[before..]) {
                Ok(false) => {}
                Ok(true) => self.introduction = None,
                Err(why) => {
                    // A frame whose end is missing is never looked at.
                    buf.set_filled(before);
                    self.shared.end(Some(why.clone()));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
            }
        }
        polled
    }
}

struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut dyn ByteStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let gone = || Err(io::ErrorKind::BrokenPipe.into());
        self.shared.poll(cx, |state| &mut state.writer, poll, gone)
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

/// A session that lacks a half has ended.
impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.end(None);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.end(None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn lent() -> (BoxRead, BoxWrite, Lease, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let introduction = Introduction::new("b@b.shop".into(), false);
        let (lent, lease) = Lent::new(Box::new(near), introduction, "b".into());
        let (reader, writer) = Box::new(lent).split();
        (reader, writer, lease, far)
    }

    #[tokio::test]
    async fn what_is_taken_back_ends_for_a_reader_that_waits_and_for_the_peer() {
        let (mut reader, mut writer, lease, mut far) = lent();
        let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        lease.end();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        let broken = writer.write_all(&[0]).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(lease.refused(), None);
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_a_deaf_peer_ends_when_the_connection_is_taken_back() {
        let (_reader, mut writer, lease, _far) = lent();
        let writing = tokio::spawn(async move { writer.write_all(&[0; 1 << 20]).await });
        tokio::task::yield_now().await;
        assert!(!writing.is_finished());
        lease.end();
        let broken = writing.await.unwrap().unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn nothing_of_a_frame_with_a_false_introduction_is_read_to_its_end() {
        let (mut reader, _writer, lease, mut far) = lent();
        far.write_all(&u64::MAX.to_be_bytes()).await.unwrap();
        let mut read = Vec::new();
        assert!(reader.read_to_end(&mut read).await.is_err());
        assert!(read.is_empty(), "{read:?}");
        assert_eq!(lease.refused(), Some(IntroductionError::TooLarge(u64::MAX)));
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "hung up");
    }

    #[tokio::test]
    async fn a_session_that_drops_a_half_hangs_up() {
        let (reader, writer, _lease, mut far) = lent();
        drop(writer);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        drop(reader);
    }
}
