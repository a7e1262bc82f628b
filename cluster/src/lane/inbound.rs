//! The account of what a peer may send.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use umbel_actors::wire::Credit;

use super::data::DataLane;
use super::frame;

/// The bytes of messages that a peer may have waiting in our mailboxes, over one lane. Four times
/// what a 10 Gbit/s link carries in a round trip of 0.2 ms; with small messages some 3,700 of them,
/// as each costs [`MESSAGE_COSTS_BYTES`](super::outbox::MESSAGE_COSTS_BYTES) beside its own.
pub(super) const WINDOW_BYTES: u64 = 1 << 20;

/// The account of what the peer may send.
///
/// Not a part of the lane: every message in a mailbox counts as an owner of it, and the actors that
/// let go of it would else take the lane's own cache lines away from the lane's task all the time.
pub(super) struct Inbound {
    lane: Weak<DataLane>,
    released: AtomicU64,
    granted: AtomicU64,
}

impl Inbound {
    pub(super) fn new(lane: Weak<DataLane>) -> Self {
        Self { lane, released: AtomicU64::new(0), granted: AtomicU64::new(WINDOW_BYTES) }
    }

    /// The bytes that the peer has been granted since the lane opened.
    #[inline]
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }

    /// The bytes that actors have let go of since the lane opened.
    #[cfg(test)]
    pub(super) fn released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }
}

impl Credit for Inbound {
    fn release(&self, bytes: u32) {
        let released =
            self.released.fetch_add(u64::from(bytes), Ordering::AcqRel) + u64::from(bytes);
        let grant = released + WINDOW_BYTES;
        let granted = self.granted.load(Ordering::Acquire);
        // One grant for each quarter window: it costs a frame.
        if grant >= granted + WINDOW_BYTES / 4
            && self
                .granted
                .compare_exchange(granted, grant, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && let Some(lane) = self.lane.upgrade()
        {
            lane.exempt(|buffer| {
                frame::credit(buffer, grant);
            });
        }
    }
}
