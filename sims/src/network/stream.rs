//! One end of a simulated connection, as a node sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Side;
use super::connection::{Read, Written};
use crate::shared::Shared;

/// One end of a simulated connection, as a node sees it.
pub(super) struct SimStream {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) side: Side,
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.shared.network().read(self.number, self.side, buf.remaining(), cx.waker());
        match read {
            Read::Bytes(bytes) => {
                buf.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Read::Done => Poll::Ready(Ok(())),
            Read::Pending => Poll::Pending,
            Read::Gone => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Read::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.shared.network().write(self.number, self.side, bytes, cx.waker()) {
            Written::Bytes(count) => Poll::Ready(Ok(count)),
            Written::Pending => Poll::Pending,
            Written::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Written::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.network().shut_down(self.number, self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    /// Where its process has ended, the network knows already and takes no notice.
    fn drop(&mut self) {
        self.shared.network().drop_stream(self.number, self.side);
    }
}
