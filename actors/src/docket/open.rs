//! The questions that are looked after.

use std::mem;
use std::sync::Arc;

use tokio::time::Instant;

use super::Asker;

/// How many places are looked at for one that is free, before the list grows or is gone through.
const LOOKS: usize = 2;

/// The least number of places by which the list grows, and that it keeps.
pub(super) const PLACES_MIN: usize = 6;

/// The questions that are open, and some that have been settled since, in no order.
///
/// A question takes the place of one that is settled, at a mark that goes round the list; it grows only
/// while more than half of it is open. So each question that is entered has another one freed, just after
/// its own memory was had: allocators keep only a few blocks of a size at hand, and where all that was
/// settled was struck off at once, before the list would grow, most was given back to the heap and had
/// from it anew, for a twentieth of an ask among 64.
#[derive(Default)]
pub(super) struct Open {
    entries: Vec<Entry>,
    mark: usize,
}

struct Entry {
    /// How many questions were put into the mailbox before it.
    number: u64,
    asker: Arc<dyn Asker>,
}

impl Open {
    /// Enters a question. Returns who was struck off for it: to be freed under no lock.
    #[inline]
    pub(super) fn enter(&mut self, number: u64, asker: Arc<dyn Asker>) -> Option<Arc<dyn Asker>> {
        for _ in 0..LOOKS {
            if self.mark >= self.entries.len() {
                self.mark = 0;
            }
            let Some(entry) = self.entries.get_mut(self.mark) else { break };
            self.mark += 1;
            if entry.asker.is_settled() {
                // Each by itself: an entry that is put together elsewhere and copied in one piece makes
                // the core wait for its parts.
                entry.number = number;
                return Some(mem::replace(&mut entry.asker, asker));
            }
        }
        if self.entries.len() == self.entries.capacity() {
            self.make_room();
        }
        self.entries.push(Entry { number, asker });
        None
    }

    /// Strikes off all that is settled, and grows if that is less than half.
    #[cold]
    fn make_room(&mut self) {
        self.entries.retain(|entry| !entry.asker.is_settled());
        let open = self.entries.len();
        if self.entries.capacity() - open <= open {
            self.entries.reserve(open.max(PLACES_MIN));
        }
    }

    /// Whether the question of this number is here, and open.
    pub(super) fn has(&self, number: u64) -> bool {
        self.entries.iter().any(|entry| entry.number == number && !entry.asker.is_settled())
    }

    /// Removes all open questions of this number and later, and what is settled.
    pub(super) fn split_off(&mut self, number: u64) -> Vec<Arc<dyn Asker>> {
        // Or the clerk would wait for the deadlines of what has long been answered.
        self.entries.retain(|entry| !entry.asker.is_settled());
        let later = self.entries.extract_if(.., |entry| entry.number >= number);
        later.map(|entry| entry.asker).collect()
    }

    /// Removes all whose deadline has passed, and what is settled.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Arc<dyn Asker>> {
        self.entries.retain(|entry| !entry.asker.is_settled());
        let late = self.entries.extract_if(.., |entry| entry.asker.until() <= now);
        let late = late.map(|entry| entry.asker).collect();
        // What a burst has left behind.
        self.entries.shrink_to(2 * self.entries.len().max(PLACES_MIN));
        late
    }

    /// The earliest deadline of all that are here.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.asker.until()).min()
    }

    /// Whether none is here, not even one that is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are here, those among them that are settled.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
