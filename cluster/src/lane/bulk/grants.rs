//! The account of the large messages that the peer may send.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use umbel_actors::wire::Credit;

use super::super::data::DataLane;
use super::WINDOW_BYTES;
use super::part::{Account, Part};

/// The account of the large messages, or of the large answers, that the peer may send.
///
/// What is let go of is granted at once: a large message is worth a frame, and the next one may need
/// the whole window.
pub(super) struct Grants {
    lane: Weak<DataLane>,
    account: Account,
    granted: AtomicU64,
}

impl Grants {
    pub(super) fn new(lane: Weak<DataLane>, account: Account) -> Self {
        Self { lane, account, granted: AtomicU64::new(WINDOW_BYTES) }
    }

    /// What the peer has been granted since the lane opened.
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }

    pub(super) fn part(&self) -> Part<'static> {
        Part::Credit { account: self.account, granted: self.granted() }
    }
}

impl Credit for Grants {
    fn release(&self, bytes: u32) {
        self.granted.fetch_add(u64::from(bytes), Ordering::AcqRel);
        if let Some(lane) = self.lane.upgrade() {
            // Totals: whichever is said last says all.
            lane.bulk.reply(&self.part());
        }
    }
}
