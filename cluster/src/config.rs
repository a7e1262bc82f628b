//! The bounds and paces of a node.

use std::time::Duration;

use umbel_protocol::{PeersConfig, PeersConfigError};

use crate::builder::StartError;
use crate::lane::FRAME_BYTES_MAX;

/// The bounds and paces of a node. The defaults suit a local network.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// How links are kept: heartbeats, the bound on silence (default 5 s), back-off, who is
    /// remembered.
    pub peers: PeersConfig,
    /// The largest frame on a data lane, so about the largest message, in bytes. Default 1 MiB; at
    /// least 4 KiB and at most 64 MiB. All nodes of a cluster should have the same: a node closes
    /// the link with whoever sends more.
    pub frame_bytes_max: usize,
    /// How long a handshake may take, TLS and greeting together. Default 5 s; not zero.
    pub handshake_deadline: Duration,
    /// How many accepted handshakes run at once; where one more begins, the oldest gives way.
    /// Default 64; not zero.
    pub handshakes_max: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            peers: PeersConfig::default(),
            frame_bytes_max: FRAME_BYTES_MAX,
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
        let frame = self.frame_bytes_max;
        if !(Self::FRAME_BYTES_LEAST..=Self::FRAME_BYTES_MOST).contains(&frame) {
            return Err(StartError::FrameBytes(frame));
        }
        Ok(())
    }
}
