//! The questions that wait for an answer over one lane, ours and the peer's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use umbel_actors::wire::{Pending, Unanswered};

/// The most questions that may wait for their answers over one lane, each way.
///
/// A correlation id is a slot below this number, and the slot's generation in the upper 32 bits: an
/// answer that comes late finds another generation, and nobody.
pub(crate) const ASKS_MAX: usize = 1 << 16;

fn slot_of(correlation: u64) -> usize {
    (correlation & 0xffff_ffff) as usize
}

fn generation_of(correlation: u64) -> u32 {
    (correlation >> 32) as u32
}

/// Our questions.
#[derive(Default)]
pub(crate) struct OwnAsks {
    table: Mutex<Table>,
    open: AtomicUsize,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    closed: Option<Unanswered>,
}

struct Slot {
    generation: u32,
    pending: Option<Arc<dyn Pending>>,
}

impl OwnAsks {
    /// Notes a question; `None` where too many wait already. On a closed lane the question fails,
    /// and its id means nothing.
    pub(crate) fn open(&self, pending: Arc<dyn Pending>) -> Option<u64> {
        let mut table = self.table.lock();
        if let Some(why) = table.closed.clone() {
            drop(table);
            pending.fail(why);
            return Some(u64::MAX);
        }
        let slot = match table.free.pop() {
            Some(slot) => slot,
            None if table.slots.len() < ASKS_MAX => {
                table.slots.push(Slot { generation: 0, pending: None });
                (table.slots.len() - 1) as u32
            }
            None => return None,
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        let entry = &mut table.slots[slot as usize];
        entry.pending = Some(pending);
        Some(u64::from(entry.generation) << 32 | u64::from(slot))
    }

    /// Takes the question out: it was answered, refused or given up. `None` where nobody asks (any
    /// more).
    pub(crate) fn close(&self, correlation: u64) -> Option<Arc<dyn Pending>> {
        let mut table = self.table.lock();
        let entry = table.slots.get_mut(slot_of(correlation))?;
        if entry.generation != generation_of(correlation) {
            return None;
        }
        let pending = entry.pending.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.open.fetch_sub(1, Ordering::Relaxed);
        table.free.push(slot_of(correlation) as u32);
        Some(pending)
    }

    /// Fails all questions, and every later one.
    pub(crate) fn fail_all(&self, why: &Unanswered) {
        let pending: Vec<_> = {
            let mut table = self.table.lock();
            table.closed = Some(why.clone());
            self.open.store(0, Ordering::Relaxed);
            table.free.clear();
            table.slots.drain(..).filter_map(|slot| slot.pending).collect()
        };
        for pending in pending {
            pending.fail(why.clone());
        }
    }

    /// Whether somebody still asks this.
    pub(crate) fn knows(&self, correlation: u64) -> bool {
        let table = self.table.lock();
        let entry = table.slots.get(slot_of(correlation));
        entry.is_some_and(|entry| {
            entry.generation == generation_of(correlation) && entry.pending.is_some()
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The peer's questions.
#[derive(Default)]
pub(crate) struct PeersAsks {
    slots: Mutex<Vec<PeersSlot>>,
    open: AtomicUsize,
}

#[derive(Clone, Copy, Default)]
struct PeersSlot {
    generation: u32,
    state: AskState,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum AskState {
    #[default]
    Free,
    Open,
    Cancelled,
}

/// Why a peer's correlation id is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadAsk {
    /// The slot is beyond the bound.
    Slot,
    /// The slot holds this very question, which waits still.
    InUse,
    /// The slot holds a later question.
    Stale,
}

impl PeersAsks {
    /// Notes a question of the peer's.
    pub(crate) fn open(&self, correlation: u64) -> Result<(), BadAsk> {
        let slot = slot_of(correlation);
        if slot >= ASKS_MAX {
            return Err(BadAsk::Slot);
        }
        let mut slots = self.slots.lock();
        if slots.len() <= slot {
            slots.resize(slot + 1, PeersSlot::default());
        }
        let entry = &mut slots[slot];
        // A slot whose question the peer has given up may be used again: what still comes for the
        // old one finds another generation. A large question may come after it was given up, and
        // after a later one in its slot: the lanes are not ordered among themselves.
        if entry.state != AskState::Free {
            let age = generation_of(correlation).wrapping_sub(entry.generation);
            if age == 0 {
                return Err(BadAsk::InUse);
            }
            if age > u32::MAX / 2 {
                return Err(BadAsk::Stale);
            }
        }
        if entry.state == AskState::Free {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        *entry = PeersSlot { generation: generation_of(correlation), state: AskState::Open };
        Ok(())
    }

    fn with<R>(&self, correlation: u64, work: impl FnOnce(&mut AskState) -> R) -> Option<R> {
        let mut slots = self.slots.lock();
        let entry = slots.get_mut(slot_of(correlation))?;
        if entry.generation != generation_of(correlation) || entry.state == AskState::Free {
            return None;
        }
        let result = work(&mut entry.state);
        if entry.state == AskState::Free {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        Some(result)
    }

    /// Whether the question is known and unanswered.
    pub(crate) fn knows(&self, correlation: u64) -> bool {
        self.with(correlation, |_| ()).is_some()
    }

    /// Takes the question out. True where the peer still waits for it.
    pub(crate) fn close(&self, correlation: u64) -> bool {
        self.with(correlation, |state| std::mem::take(state) == AskState::Open).unwrap_or(false)
    }

    /// The peer has given up.
    pub(crate) fn cancel(&self, correlation: u64) {
        self.with(correlation, |state| *state = AskState::Cancelled);
    }

    pub(crate) fn is_cancelled(&self, correlation: u64) -> bool {
        self.with(correlation, |state| *state == AskState::Cancelled).unwrap_or(true)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use umbel_actors::codec::Limits;

    use super::*;

    #[derive(Default)]
    struct Asker(Mutex<Option<Unanswered>>);

    impl Pending for Asker {
        fn answer(&self, _: &[u8], _: Limits) {}

        fn fail(&self, why: Unanswered) {
            *self.0.lock() = Some(why);
        }

        fn on_cancel(&self, _: Box<dyn FnOnce() + Send>) {}
    }

    #[test]
    fn a_late_answer_finds_nobody_even_when_its_slot_is_in_use_again() {
        let asks = OwnAsks::default();
        let first = asks.open(Arc::new(Asker::default())).unwrap();
        assert!(asks.close(first).is_some());
        let second = asks.open(Arc::new(Asker::default())).unwrap();
        assert_eq!(slot_of(first), slot_of(second));
        assert!(asks.close(first).is_none());
        assert!(asks.close(second).is_some());
        assert_eq!(asks.len(), 0);
    }

    #[test]
    fn one_question_more_than_the_bound_is_refused_and_a_free_slot_is_used_again() {
        let asks = OwnAsks::default();
        let ids: Vec<_> =
            (0..ASKS_MAX).map(|_| asks.open(Arc::new(Asker::default())).unwrap()).collect();
        assert!(asks.open(Arc::new(Asker::default())).is_none());
        asks.close(ids[77]).unwrap();
        assert!(asks.open(Arc::new(Asker::default())).is_some());
    }

    #[test]
    fn a_lost_lane_fails_every_question_and_those_that_come_after() {
        let asks = OwnAsks::default();
        let (early, late) = (Arc::new(Asker::default()), Arc::new(Asker::default()));
        asks.open(early.clone()).unwrap();
        let why = Unanswered::LinkLost("b".into());
        asks.fail_all(&why);
        asks.open(late.clone()).unwrap();
        assert_eq!((early.0.lock().clone(), late.0.lock().clone()), (Some(why.clone()), Some(why)));
        assert_eq!(asks.len(), 0);
    }

    #[test]
    fn the_peers_ids_are_bounded_and_a_duplicate_is_refused() {
        let asks = PeersAsks::default();
        assert_eq!(asks.open(ASKS_MAX as u64), Err(BadAsk::Slot));
        assert_eq!(asks.open(5), Ok(()));
        assert_eq!(asks.open(5), Err(BadAsk::InUse));
        assert_eq!(asks.open(1 << 32 | 7), Ok(()));
        assert_eq!(asks.open(7), Err(BadAsk::Stale));
        assert!(asks.close(1 << 32 | 7));
        assert!(asks.close(5));
        assert!(!asks.close(5), "one question was answered twice");
        assert_eq!(asks.open(1 << 32 | 5), Ok(()));
        assert_eq!(asks.len(), 1);
    }

    #[test]
    fn a_cancelled_question_is_known_as_such_and_its_answer_goes_nowhere() {
        let asks = PeersAsks::default();
        asks.open(3).unwrap();
        assert!(!asks.is_cancelled(3));
        asks.cancel(3);
        asks.cancel(4);
        assert!(asks.is_cancelled(3));
        assert!(!asks.close(3));
        assert_eq!(asks.len(), 0);
    }
}
