//! The lane that carries what nodes say to one another.

use std::sync::Arc;
use std::task::Poll;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use umbel_actors::codec::{self, DecodeError, Limits};
use umbel_protocol::Control;

use super::outbox::Outbox;
use crate::transport::ByteStream;

/// The largest message on a control lane: 256 registry entries of 7 KiB, and some room.
const CONTROL_BYTES_MAX: usize = 4 << 20;

/// What may wait for a peer that does not read. Beyond it the link is given up. Snapshots go out part
/// by part as there is room, and whoever registers waits while this is [`CONGESTED_BYTES`], so it
/// takes a peer that stands still to come here.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// So much waits that who would add to it at leisure should wait: the next part of a snapshot is
/// less, and pings behind it are on time on any network that one would build a cluster on.
const CONGESTED_BYTES: usize = 4 << 20;

/// So little waits that the next part of a snapshot may go out: enough to keep the lane busy.
const ROOM_BYTES: usize = 256 << 10;

/// The writing end of a control lane: shared, never waits.
#[derive(Clone, Debug)]
pub(crate) struct ControlSender {
    outbox: Arc<Outbox>,
}

/// Why a control lane ended.
#[derive(Debug, Error)]
pub(crate) enum ControlEnd {
    #[error("closed by the peer")]
    ClosedByPeer,
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    #[error("a control message of {0} bytes, where the limit is {CONTROL_BYTES_MAX}")]
    TooLarge(usize),
    #[error("a control message that cannot be decoded: {0}")]
    Undecodable(#[source] DecodeError),
}

impl ControlEnd {
    /// Whether the peer broke the protocol, and not only the connection.
    pub(crate) fn is_violation(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::Undecodable(_))
    }
}

impl ControlSender {
    pub(crate) fn new() -> Self {
        Self { outbox: Arc::new(Outbox::new(BACKLOG_BYTES_MAX)) }
    }

    /// Puts a message on its way; nothing happens on a closed lane.
    pub(crate) fn send(&self, message: &Control) {
        Self::send_to_all([self], message);
    }

    /// Puts a message on its way over several lanes.
    pub(crate) fn send_to_all<'a>(lanes: impl IntoIterator<Item = &'a Self>, message: &Control) {
        let mut bytes = vec![0; 4];
        let encoded = codec::encode(message, &mut bytes, CONTROL_BYTES_MAX);
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        for lane in lanes {
            if let Err(why) = &encoded {
                // Our own messages keep within their bounds; a link that would miss one is no good.
                tracing::error!(target: "umbel", %why, "a control message could not be encoded");
                lane.close();
                continue;
            }
            let waiting = lane.outbox.send_exempt(|buffer| buffer.extend_from_slice(&bytes));
            if waiting.is_ok_and(|bytes| bytes > BACKLOG_BYTES_MAX) {
                lane.close();
            }
        }
    }

    /// Whether so much waits for the peer that nothing should be added that can wait.
    pub(crate) fn is_congested(&self) -> bool {
        !self.outbox.is_closed() && self.outbox.bytes() > CONGESTED_BYTES
    }

    /// The bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_closed() || self.outbox.is_empty()
    }

    /// Writes what waits, then ends the lane.
    pub(crate) fn close(&self) {
        self.outbox.close();
    }
}

/// The two ends of a control lane's stream, each driven by a task of its own: here a message is rare
/// and order is all.
pub(crate) struct ControlLane {
    reader: ReadHalf<Box<dyn ByteStream>>,
    writer: WriteHalf<Box<dyn ByteStream>>,
}

impl ControlLane {
    pub(crate) fn new(stream: Box<dyn ByteStream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer }
    }

    pub(crate) fn split(self) -> (ControlReader, ControlWriter) {
        (ControlReader { stream: self.reader, bytes: Vec::new() }, ControlWriter(self.writer))
    }
}

pub(crate) struct ControlReader {
    stream: ReadHalf<Box<dyn ByteStream>>,
    bytes: Vec<u8>,
}

impl ControlReader {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Control, ControlEnd> {
        let mut length = [0; 4];
        let read = self.stream.read_exact(&mut length).await;
        read.map_err(|why| match why.kind() {
            std::io::ErrorKind::UnexpectedEof => ControlEnd::ClosedByPeer,
            _ => ControlEnd::Broken(why),
        })?;
        let length = u32::from_le_bytes(length) as usize;
        if length > CONTROL_BYTES_MAX {
            return Err(ControlEnd::TooLarge(length));
        }
        self.bytes.clear();
        // Grows with what arrives, not with what was announced.
        let mut body = (&mut self.stream).take(length as u64);
        body.read_to_end(&mut self.bytes).await.map_err(ControlEnd::Broken)?;
        if self.bytes.len() < length {
            return Err(ControlEnd::ClosedByPeer);
        }
        codec::decode(&self.bytes, Limits::default()).map_err(ControlEnd::Undecodable)
    }
}

pub(crate) struct ControlWriter(WriteHalf<Box<dyn ByteStream>>);

impl ControlWriter {
    /// Writes what the sender is given, until it is closed. Whenever little of it is left, `room` is
    /// called, which may give it more.
    pub(crate) async fn run(
        mut self,
        sender: ControlSender,
        room: impl Fn(),
    ) -> Result<(), std::io::Error> {
        let mut output = Vec::new();
        loop {
            let taken = std::future::poll_fn(|cx| {
                if sender.outbox.take(&mut output, cx.waker()) {
                    Poll::Ready(true)
                } else if sender.outbox.is_closed() {
                    Poll::Ready(false)
                } else {
                    Poll::Pending
                }
            });
            if !taken.await {
                return self.0.shutdown().await;
            }
            self.0.write_all(&output).await?;
            self.0.flush().await?;
            output.clear();
            if sender.outbox.bytes() <= ROOM_BYTES {
                room();
            }
        }
    }
}
