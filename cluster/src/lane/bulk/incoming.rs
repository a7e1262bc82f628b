//! The large messages that come from the peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use umbel_actors::wire::{Charge, Credit};

use super::super::frame::Frame;
use super::charge_of;
use super::grants::Grants;
use super::part::{Account, CHUNK_BYTES};

/// A large message of which nothing has come for so long is given up. The lane's thread has a low
/// priority: on a machine that is busy with better things it may rest for seconds.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The large messages that come from the peer, put together.
///
/// Memory grows with what arrives: a length that was announced reserves nothing. Credit bounds how
/// many there are at once, and how many bytes.
pub(super) struct Incoming {
    bytes_max: usize,
    latest: u64,
    under_way: BTreeMap<u64, Arriving>,
    messages: Received,
    answers: Received,
}

/// What the peer was charged for, of what it was granted.
struct Received {
    charged: u64,
    grants: Arc<Grants>,
}

/// A large message, as far as it has come.
pub(super) struct Arriving {
    pub(super) head: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) length: usize,
    /// What the data lane must have delivered before.
    pub(super) after: u64,
    pub(super) charge: Charge,
    pub(super) begun: Instant,
    pub(super) heard: Instant,
}

/// What comes next.
pub(super) struct Begin<'a> {
    pub(super) id: u64,
    pub(super) length: u64,
    pub(super) after: u64,
    pub(super) head: &'a [u8],
}

/// How a large message begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Its bytes may come.
    Welcome,
    /// It is larger than what is taken here. What still comes of it is passed over.
    TooLarge,
}

/// Why the parts of large messages do not fit together. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Disorder {
    #[error("a large message with the number {id} after {latest}")]
    Number { id: u64, latest: u64 },
    #[error("a part of the large message {0}, which has not begun")]
    NotBegun(u64),
    #[error("a part at {offset} of a large message of which {arrived} bytes are there")]
    Offset { offset: u64, arrived: usize },
    #[error("more of a large message than the {length} bytes that were announced")]
    TooLong { length: usize },
    #[error("a part of a large message without a byte in it")]
    Empty,
    #[error("a large message whose head is that of none")]
    Head,
    #[error("a large message beyond its credit")]
    Credit,
    #[error("a limit of large messages more than once")]
    Limit,
}

impl Incoming {
    pub(super) fn new(bytes_max: usize, messages: Arc<Grants>, answers: Arc<Grants>) -> Self {
        let received = |grants| Received { charged: 0, grants };
        let (messages, answers) = (received(messages), received(answers));
        Self { bytes_max, latest: 0, under_way: BTreeMap::new(), messages, answers }
    }

    pub(super) fn begin(&mut self, begin: &Begin<'_>, now: Instant) -> Result<Begun, Disorder> {
        let &Begin { id, length, after, head } = begin;
        if id <= self.latest {
            return Err(Disorder::Number { id, latest: self.latest });
        }
        self.latest = id;
        let received = match account_of(head)? {
            Account::Messages => &mut self.messages,
            Account::Answers => &mut self.answers,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = charge_of(length);
        received.charged += u64::from(bytes);
        if received.charged > received.grants.granted() {
            return Err(Disorder::Credit);
        }
        let credit: Arc<dyn Credit> = received.grants.clone();
        let charge = Charge::new(credit, bytes);
        if length > self.bytes_max {
            return Ok(Begun::TooLarge);
        }
        let (head, payload) = (head.to_vec(), Vec::new());
        let arriving = Arriving { head, payload, length, after, charge, begun: now, heard: now };
        self.under_way.insert(id, arriving);
        Ok(Begun::Welcome)
    }

    /// Takes a chunk; the message, where it is whole now.
    pub(super) fn chunk(
        &mut self,
        id: u64,
        offset: u64,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Option<Arriving>, Disorder> {
        if id > self.latest {
            return Err(Disorder::NotBegun(id));
        }
        // One that was refused or given up here: its sender did not know yet.
        let Some(arriving) = self.under_way.get_mut(&id) else { return Ok(None) };
        let Arriving { payload, length, .. } = arriving;
        let arrived = payload.len();
        if offset != arrived as u64 {
            return Err(Disorder::Offset { offset, arrived });
        }
        if bytes.len() > *length - arrived {
            return Err(Disorder::TooLong { length: *length });
        }
        if bytes.is_empty() && *length > 0 {
            return Err(Disorder::Empty);
        }
        if payload.capacity() - arrived < bytes.len() {
            // Twice as much each time, but not beyond the end.
            let more = (*length - arrived).min(arrived.max(CHUNK_BYTES)).max(bytes.len());
            payload.reserve_exact(more);
        }
        payload.extend_from_slice(bytes);
        arriving.heard = now;
        if payload.len() < *length {
            return Ok(None);
        }
        Ok(self.under_way.remove(&id))
    }

    /// Gives it up: its sender wants so, or it is of no use here.
    pub(super) fn drop_one(&mut self, id: u64) -> Result<Option<Arriving>, Disorder> {
        if id > self.latest {
            return Err(Disorder::NotBegun(id));
        }
        Ok(self.under_way.remove(&id))
    }

    pub(super) fn head(&self, id: u64) -> Option<&[u8]> {
        self.under_way.get(&id).map(|arriving| arriving.head.as_slice())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Takes out those of which nothing has come since `since`.
    pub(super) fn stalled(&mut self, since: Instant) -> Vec<(u64, Arriving)> {
        self.under_way.extract_if(.., |_, arriving| arriving.heard <= since).collect()
    }
}

fn account_of(head: &[u8]) -> Result<Account, Disorder> {
    match Frame::read(head) {
        Ok(Frame::Message { payload: [], .. } | Frame::Publication { payload: [], .. }) => {
            Ok(Account::Messages)
        }
        Ok(Frame::Answer { payload: [], .. }) => Ok(Account::Answers),
        _ => Err(Disorder::Head),
    }
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
