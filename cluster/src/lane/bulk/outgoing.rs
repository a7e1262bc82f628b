//! The large messages that this end sends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::holds::Ordered;
use super::part::{CHUNK_BYTES, Part};
use super::{WINDOW_BYTES, charge_of};

/// The large messages that this end sends: which are to be written, by turns, and which are written
/// and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    latest: u64,
    /// What answers the peer: it goes before everything else.
    replies: Vec<u8>,
    /// To be written, a chunk of each by turns.
    active: VecDeque<Transfer>,
    /// Answers for which there is no credit yet.
    answers: VecDeque<Parcel>,
    answers_charged: u64,
    answers_granted: u64,
    /// Written whole; the peer says what became of them.
    written: BTreeMap<u64, Parcel>,
}

/// A large message as it is handed to the lane.
#[derive(Debug)]
pub(super) struct Parcel {
    /// A frame of the data lane without its payload, and without its length.
    pub(super) head: Vec<u8>,
    /// Several lanes may send the same.
    pub(super) payload: Arc<Vec<u8>>,
    /// The correlation ids of the questions in it.
    pub(super) asks: Vec<u64>,
    /// Whose later messages to whom wait for it; none for an answer.
    pub(super) ordered: Option<Ordered>,
    /// What the data lane must have delivered before.
    pub(super) after: u64,
}

#[derive(Debug)]
struct Transfer {
    id: u64,
    parcel: Parcel,
    /// How much is written; none before the peer knows of it at all.
    sent: Option<usize>,
}

/// What became of a large message that was given up at this end.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) parcel: Parcel,
    /// The peer never heard of it, so its charge is to be given back here.
    pub(super) unknown: bool,
}

impl Outgoing {
    /// Something for which there is credit.
    pub(super) fn send(&mut self, parcel: Parcel) {
        self.latest += 1;
        self.active.push_back(Transfer { id: self.latest, parcel, sent: None });
    }

    /// An answer: it waits here for its credit. The caller has seen that there is room for it.
    pub(super) fn answer(&mut self, parcel: Parcel) {
        self.answers.push_back(parcel);
        self.admit_answers();
    }

    /// The bytes that are held here until they are written.
    pub(super) fn bytes(&self) -> usize {
        let active = self.active.iter().map(|one| &one.parcel);
        active.chain(&self.answers).map(|one| one.payload.len()).sum()
    }

    /// As many of those as messages have, which are no answers.
    pub(super) fn messages_bytes(&self) -> usize {
        let messages = self.active.iter().filter(|one| one.parcel.ordered.is_some());
        messages.map(|one| one.parcel.payload.len()).sum()
    }

    /// The peer takes so many bytes of answers in all.
    pub(super) fn grant_answers(&mut self, granted: u64) {
        let most = self.answers_charged + WINDOW_BYTES;
        self.answers_granted = self.answers_granted.max(granted.min(most));
        self.admit_answers();
    }

    fn admit_answers(&mut self) {
        while let Some(next) = self.answers.front() {
            let charge = u64::from(charge_of(next.payload.len()));
            if self.answers_charged + charge > self.answers_granted {
                return;
            }
            self.answers_charged += charge;
            let next = self.answers.pop_front().expect("it was looked at just now");
            self.send(next);
        }
    }

    pub(super) fn reply(&mut self, part: &Part<'_>) {
        part.write(&mut self.replies);
    }

    /// The bytes of replies that wait for a peer that does not read.
    pub(super) fn replies_bytes(&self) -> usize {
        self.replies.len()
    }

    /// Writes what is next: all replies, or one chunk. False where there is nothing to write.
    pub(super) fn write(&mut self, into: &mut Vec<u8>) -> bool {
        if !self.replies.is_empty() {
            into.append(&mut self.replies);
            return true;
        }
        let Some(mut next) = self.active.pop_front() else { return false };
        let Transfer { id, parcel, sent } = &mut next;
        let payload = parcel.payload.as_slice();
        let offset = sent.unwrap_or_else(|| {
            let (length, after) = (payload.len() as u64, parcel.after);
            Part::Begin { id: *id, length, after, head: &parcel.head }.write(into);
            0
        });
        let end = payload.len().min(offset + CHUNK_BYTES);
        let bytes = &payload[offset..end];
        Part::Chunk { id: *id, offset: offset as u64, bytes }.write(into);
        if end < payload.len() {
            *sent = Some(end);
            self.active.push_back(next);
        } else {
            // Nobody needs its bytes any more.
            next.parcel.payload = Arc::default();
            self.written.insert(next.id, next.parcel);
        }
        true
    }

    /// The peer has delivered it, or refuses it. None where it is not known.
    pub(super) fn finish(&mut self, id: u64) -> Option<Parcel> {
        self.written.remove(&id).or_else(|| {
            let place = self.active.iter().position(|one| one.id == id && one.sent.is_some())?;
            self.active.remove(place).map(|transfer| transfer.parcel)
        })
    }

    /// Nobody waits for the answer to this question any more: a message that asks nothing else, and
    /// is not written whole, is given up.
    pub(super) fn cancel(&mut self, ask: u64, is_open: impl Fn(u64) -> bool) -> Option<GivenUp> {
        let place = self.active.iter().position(|one| {
            let asks = &one.parcel.asks;
            asks.contains(&ask) && !asks.iter().any(|ask| is_open(*ask))
        })?;
        let Transfer { id, parcel, sent } = self.active.remove(place)?;
        if sent.is_some() {
            Part::Abort { id }.write(&mut self.replies);
        }
        Some(GivenUp { parcel, unknown: sent.is_none() })
    }

    /// Whether there is nothing to write, and nothing to hear of.
    pub(super) fn is_idle(&self) -> bool {
        self.is_written() && self.written.is_empty()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_written(&self) -> bool {
        self.replies.is_empty() && self.active.is_empty() && self.answers.is_empty()
    }

    /// All that nobody will hear of any more.
    pub(super) fn drain(&mut self) -> Vec<Parcel> {
        let active = self.active.drain(..).map(|transfer| transfer.parcel);
        let written = std::mem::take(&mut self.written).into_values();
        active.chain(self.answers.drain(..)).chain(written).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::{LENGTH_BYTES, first_length};
    use super::*;

    fn parcel(bytes: usize, asks: &[u64]) -> Parcel {
        let (head, payload) = (b"head".to_vec(), Arc::new(vec![7; bytes]));
        Parcel { head, payload, asks: asks.to_vec(), ordered: None, after: 0 }
    }

    fn parts(bytes: &[u8]) -> Vec<Part<'_>> {
        let (mut rest, mut parts) = (bytes, Vec::new());
        while let Some(length) = first_length(rest, usize::MAX).unwrap() {
            parts.push(Part::read(&rest[LENGTH_BYTES..LENGTH_BYTES + length]).unwrap());
            rest = &rest[LENGTH_BYTES + length..];
        }
        parts
    }

    fn ids(bytes: &[u8]) -> Vec<u64> {
        let chunk = |part: &Part<'_>| match part {
            Part::Chunk { id, .. } => Some(*id),
            _ => None,
        };
        parts(bytes).iter().filter_map(chunk).collect()
    }

    #[test]
    fn large_messages_take_turns_so_that_the_smaller_is_through_first() {
        let mut outgoing = Outgoing::default();
        outgoing.send(parcel(4 * CHUNK_BYTES, &[]));
        outgoing.send(parcel(CHUNK_BYTES + 1, &[]));
        let mut bytes = Vec::new();
        while outgoing.write(&mut bytes) {}
        assert_eq!(ids(&bytes), [1, 2, 1, 2, 1, 1]);
        assert!(outgoing.is_written() && !outgoing.is_idle());
        assert!(outgoing.finish(1).is_some() && outgoing.finish(2).is_some());
        assert!(outgoing.finish(2).is_none() && outgoing.is_idle());
    }

    #[test]
    fn replies_go_before_chunks() {
        let mut outgoing = Outgoing::default();
        outgoing.send(parcel(CHUNK_BYTES, &[]));
        outgoing.reply(&Part::Delivered { id: 9 });
        let mut bytes = Vec::new();
        assert!(outgoing.write(&mut bytes));
        assert_eq!(parts(&bytes), [Part::Delivered { id: 9 }]);
    }

    #[test]
    fn a_question_that_was_given_up_stops_where_it_is() {
        let mut outgoing = Outgoing::default();
        outgoing.send(parcel(4 * CHUNK_BYTES, &[1]));
        outgoing.send(parcel(4 * CHUNK_BYTES, &[2, 3]));
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        assert!(!outgoing.cancel(1, |_| false).unwrap().unknown);
        assert!(outgoing.cancel(2, |ask| ask == 3).is_none(), "something else is asked, too");
        assert!(outgoing.cancel(3, |_| false).unwrap().unknown);
        bytes.clear();
        while outgoing.write(&mut bytes) {}
        assert_eq!(parts(&bytes), [Part::Abort { id: 1 }]);
        assert!(outgoing.is_idle());
    }

    #[test]
    fn answers_wait_for_credit_of_their_own_and_ids_go_out_in_order() {
        let mut outgoing = Outgoing::default();
        outgoing.answer(parcel(CHUNK_BYTES, &[]));
        outgoing.send(parcel(CHUNK_BYTES, &[]));
        assert_eq!(outgoing.bytes(), 2 * CHUNK_BYTES);
        let mut bytes = Vec::new();
        while outgoing.write(&mut bytes) {}
        outgoing.grant_answers(u64::MAX);
        while outgoing.write(&mut bytes) {}
        let ids = ids(&bytes);
        assert!(ids.len() == 2 && ids[0] < ids[1], "{ids:?}");
        assert_eq!(outgoing.bytes(), 0);
        outgoing.grant_answers(u64::MAX);
        let promised = outgoing.answers_granted - outgoing.answers_charged;
        assert_eq!(promised, WINDOW_BYTES, "a peer that promises everything");
    }
}
