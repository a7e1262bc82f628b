//! The bounds and paces of a node.

use std::time::Duration;

use umbel_protocol::{PeersConfig, PeersConfigError};

use crate::builder::StartError;
use crate::lane::{FRAME_BYTES_MAX, LaneBounds};

/// The bounds and paces of a node. The defaults suit a local network.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// How links are kept: heartbeats, the bound on silence (default 5 s), back-off, who is
    /// remembered.
    pub peers: PeersConfig,
    /// The largest frame on a data lane, in bytes. Default 1 MiB; at least 4 KiB and at most 64 MiB.
    /// All nodes of a cluster should have the same: a node closes the link with whoever sends more.
    pub frame_bytes_max: usize,
    /// A message, answer or publication that takes more bytes than this goes over a link's bulk lane,
    /// in chunks, so that it delays no other. Default 128 KiB: what a 10 Gbit/s network carries in
    /// 0.1 ms. What fits no frame goes there in any case.
    pub bulk_bytes_min: usize,
    /// The largest message, answer or publication, in bytes. Whoever sends more is told so, and has
    /// the message back. Default 64 MiB; at least 4 KiB and at most 1 GiB.
    ///
    /// For each peer, a node holds at most 16 MiB of large messages on their way to mailboxes and in
    /// them, or a single one of this size, and as much of large answers; and what it decodes just
    /// then twice. Where two nodes differ, the smaller of the two bounds what is sent.
    pub message_bytes_max: usize,
    /// How long a handshake may take, TLS and greeting together. Default 5 s; not zero.
    pub handshake_deadline: Duration,
    /// How many accepted handshakes run at once; where one more begins, the oldest gives way.
    /// Default 64; not zero.
    pub handshakes_max: usize,
    /// How old a connection may become. Default 24 h; from a second to a year. In time before that, it
    /// is replaced by a new one, for which both ends prove themselves anew; nothing is lost or
    /// interrupted by it. Where that does not succeed, the link ends: at this age, or after twice the
    /// handshake deadline more where a replacement was under way.
    pub link_age_max: Duration,
    /// Whether whoever waits for a connection looks again and again, instead of sleeping until the kernel
    /// wakes it, where that is quicker: Linux calls it busy polling. Default: true.
    ///
    /// Where one message follows upon the other within 50 µs, a question and its answer then take a third
    /// of their time or less, and each end uses a core, and up to one more, for as long as that goes on.
    /// Where they come less often, nothing is polled but for a trial now and then. No wait is polled for
    /// longer than 200 µs, and none for half a second after 16 KiB or more were moved in one go. A handler
    /// that keeps its thread for long without awaiting keeps the connection waiting that is polled on it.
    ///
    /// Of the node's own transport, by TCP; another one is to be told itself.
    pub busy_poll: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            peers: PeersConfig::default(),
            frame_bytes_max: FRAME_BYTES_MAX,
            bulk_bytes_min: 128 << 10,
            message_bytes_max: 64 << 20,
            handshake_deadline: Duration::from_secs(5),
            handshakes_max: 64,
            link_age_max: Duration::from_secs(24 * 60 * 60),
            busy_poll: true,
        }
    }
}

impl NodeConfig {
    /// The least that [`NodeConfig::frame_bytes_max`] may be.
    pub const FRAME_BYTES_LEAST: usize = 4 << 10;
    /// The most that [`NodeConfig::frame_bytes_max`] may be.
    pub const FRAME_BYTES_MOST: usize = 64 << 20;
    /// The least that [`NodeConfig::message_bytes_max`] may be.
    pub const MESSAGE_BYTES_LEAST: usize = 4 << 10;
    /// The most that [`NodeConfig::message_bytes_max`] may be.
    pub const MESSAGE_BYTES_MOST: usize = 1 << 30;
    /// The least that [`NodeConfig::link_age_max`] may be.
    pub const LINK_AGE_LEAST: Duration = Duration::from_secs(1);
    /// The most that [`NodeConfig::link_age_max`] may be.
    pub const LINK_AGE_MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    pub(crate) fn lane_bounds(&self) -> LaneBounds {
        LaneBounds {
            frame_bytes_max: self.frame_bytes_max,
            bulk_bytes_min: self.bulk_bytes_min,
            message_bytes_max: self.message_bytes_max,
            backlog_bytes_max: LaneBounds::BACKLOG_BYTES_MAX,
        }
    }

    /// Whether these values can work together.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        self.peers.check()?;
        let zero = [
            ("handshake_deadline", self.handshake_deadline.is_zero()),
            ("handshakes_max", self.handshakes_max == 0),
        ];
        if let Some((field, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(PeersConfigError::Zero(field).into());
        }
        let (frame, message) = (self.frame_bytes_max, self.message_bytes_max);
        if !(Self::FRAME_BYTES_LEAST..=Self::FRAME_BYTES_MOST).contains(&frame) {
            return Err(StartError::FrameBytes(frame));
        }
        if !(Self::MESSAGE_BYTES_LEAST..=Self::MESSAGE_BYTES_MOST).contains(&message) {
            return Err(StartError::MessageBytes(message));
        }
        let age = self.link_age_max;
        if !(Self::LINK_AGE_LEAST..=Self::LINK_AGE_MOST).contains(&age) {
            return Err(StartError::LinkAge(age));
        }
        Ok(())
    }
}
