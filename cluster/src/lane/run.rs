//! Messages that lie one behind the other.

use super::inbound::WINDOW_BYTES;
use super::outbox::MESSAGE_COSTS_BYTES;

/// Messages that lie one behind the other in the read buffer, are for one actor, and ask nothing: they are
/// delivered at once, with one charge, which the last of them carries. In a mailbox they are taken in order, so
/// nothing in it is released too early; and each charge costs both the lane's task and the actor the cache line
/// that the account lies in.
pub(super) struct Run<'a> {
    pub(super) actor: u64,
    pub(super) schema: u32,
    pub(super) payloads: Vec<&'a [u8]>,
    /// What they take of the peer's credit.
    pub(super) charged: u32,
}

/// What a run takes of the credit, at most, but for its last message.
const CHARGED_BYTES: u64 = WINDOW_BYTES / 64;

impl<'a> Run<'a> {
    pub(super) fn new(actor: u64, schema: u32) -> Self {
        let most = CHARGED_BYTES.div_ceil(MESSAGE_COSTS_BYTES) as usize;
        Self { actor, schema, payloads: Vec::with_capacity(most), charged: 0 }
    }

    /// Whether a message to this actor goes on with it.
    #[inline]
    pub(super) fn is_for(&self, actor: u64, schema: u32) -> bool {
        self.actor == actor && self.schema == schema
    }

    #[inline]
    pub(super) fn push(&mut self, payload: &'a [u8], charged: u32) {
        self.payloads.push(payload);
        self.charged += charged;
    }

    /// Whether it is to be delivered, whatever follows.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        u64::from(self.charged) >= CHARGED_BYTES
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
