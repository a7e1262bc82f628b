//! Who has which batch, so that each is merged exactly once.

use std::collections::{BTreeMap, BTreeSet};

/// A batch's number: its place in the input.
pub(crate) type BatchId = u64;

/// Which handing out of a batch: the first is 1.
pub(crate) type Attempt = u32;

/// Who has which batch.
///
/// A batch is *open* from when it is accepted until its counts are merged. An open batch either
/// waits or is with a holder. The counts come with the acknowledgement, and the first
/// acknowledgement closes the batch: whatever comes later for it finds it closed and is dropped. So
/// a batch may be handed out any number of times, and may have been counted any number of times
/// where an answer was lost, and is still merged once.
#[derive(Debug)]
pub(crate) struct Ledger<B, H> {
    open: BTreeMap<BatchId, Open<B, H>>,
    waiting: BTreeSet<BatchId>,
    next: BatchId,
    open_max: usize,
    handed_out: u64,
}

#[derive(Debug)]
struct Open<B, H> {
    batch: B,
    attempts: Attempt,
    /// Who has it, or had it last.
    holder: Option<H>,
}

impl<B, H: Clone + PartialEq> Ledger<B, H> {
    /// A ledger for at most `open_max` open batches.
    pub(crate) fn new(open_max: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            waiting: BTreeSet::new(),
            next: 0,
            open_max: open_max.max(1),
            handed_out: 0,
        }
    }

    /// Whether one more batch may be open.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < self.open_max
    }

    /// Whether all that was accepted has been merged.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// How many batches were merged.
    pub(crate) fn merged(&self) -> u64 {
        self.next - self.open.len() as u64
    }

    /// How often a batch was handed out that had been handed out before.
    pub(crate) fn resent(&self) -> u64 {
        let first_time = self.open.values().filter(|open| open.attempts > 0).count() as u64;
        self.handed_out - self.merged() - first_time
    }

    /// Opens a batch, which waits. Gives it back where there is no room.
    pub(crate) fn accept(&mut self, batch: B) -> Result<BatchId, B> {
        if !self.has_room() {
            return Err(batch);
        }
        let id = self.next;
        self.next += 1;
        self.open.insert(id, Open { batch, attempts: 0, holder: None });
        self.waiting.insert(id);
        Ok(id)
    }

    /// The batches that wait, the oldest first, each with how often it was handed out.
    pub(crate) fn waiting(&self) -> Vec<(BatchId, Attempt)> {
        let attempts = |id| self.open.get(id).map_or(0, |open| open.attempts);
        self.waiting.iter().map(|id| (*id, attempts(id))).collect()
    }

    /// Hands a batch that waits to `holder`; `None` where it does not wait.
    pub(crate) fn hand_out(&mut self, id: BatchId, holder: H) -> Option<(Attempt, &B)> {
        if !self.waiting.remove(&id) {
            return None;
        }
        let open = self.open.get_mut(&id)?;
        open.attempts += 1;
        open.holder = Some(holder);
        self.handed_out += 1;
        Some((open.attempts, &open.batch))
    }

    /// The counts of a batch are there. `Some` is the one time that they are to be merged; `None`
    /// says that they were merged before.
    ///
    /// It does not matter of which attempt they are, for they are the same: the first ones count.
    pub(crate) fn acknowledge(&mut self, id: BatchId) -> Option<B> {
        let open = self.open.remove(&id)?;
        self.waiting.remove(&id);
        Some(open.batch)
    }

    /// An attempt has failed, or its outcome is unknown: the batch waits again. False where it has
    /// been handed out anew since, or is closed.
    pub(crate) fn fail(&mut self, id: BatchId, attempt: Attempt) -> bool {
        let is_last = self.open.get(&id).is_some_and(|open| open.attempts == attempt);
        is_last && self.waiting.insert(id)
    }

    /// How many open batches are with `holder`, or were with it last.
    pub(crate) fn left_by(&self, is_holder: impl Fn(&H) -> bool) -> usize {
        self.open.values().filter(|open| open.holder.as_ref().is_some_and(&is_holder)).count()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
