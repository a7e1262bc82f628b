//! The bounds and paces of a node.

use std::time::Duration;

use umbel_protocol::PeersConfig;

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
    /// How long a handshake may take, TLS and greeting together. Default 5 s.
    pub handshake_deadline: Duration,
    /// How many accepted handshakes run at once; where one more begins, the oldest gives way.
    /// Default 64.
    pub handshakes_max: usize,
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

    pub(crate) fn lane_bounds(&self) -> LaneBounds {
        LaneBounds {
            frame_bytes_max: self.frame_bytes_max,
            bulk_bytes_min: self.bulk_bytes_min,
            message_bytes_max: self.message_bytes_max,
            backlog_bytes_max: LaneBounds::BACKLOG_BYTES_MAX,
        }
    }
}
