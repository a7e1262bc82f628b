//! The questions that wait for an answer over one lane, ours and the peer's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;
use umbel_actors::wire::{Pending, Unanswered};

/// The most questions that may wait for their answers over one lane, each way.
///
/// A correlation id is a slot below this number, and the slot's generation in the upper 32 bits: an
/// answer that comes late finds another generation, and nobody.
pub(crate) const ASKS_MAX: usize = 1 << 16;

/// How many questions wait for their answers over the link with one node. At most 65,536 each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpenAsks {
    /// What actors and tasks of this node asked the other one.
    pub ours: usize,
    /// What the other node asked this one, and has not given up.
    pub theirs: usize,
}

fn slot_of(correlation: u64) -> usize {
    (correlation & 0xffff_ffff) as usize
}

fn correlation_of(generation: u32, slot: usize) -> u64 {
    u64::from(generation) << 32 | slot as u64
}

fn generation_of(correlation: u64) -> u32 {
    (correlation >> 32) as u32
}

/// Our questions.
#[derive(Default)]
pub(crate) struct OwnAsks {
    table: Mutex<Table>,
    open: AtomicUsize,
    /// How many were given up since the lane opened.
    given_up: AtomicU64,
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
        Some(correlation_of(entry.generation, slot as usize))
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

    /// As [`Self::close`], where the asker gives up. False where nobody asks any more.
    pub(crate) fn give_up(&self, correlation: u64) -> bool {
        let was_open = self.close(correlation).is_some();
        // After it is closed: who reads the count then finds it so.
        self.given_up.fetch_add(1, Ordering::Release);
        was_open
    }

    /// How many were given up since the lane opened.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether the question still waits.
    pub(crate) fn is_open(&self, correlation: u64) -> bool {
        let table = self.table.lock();
        let entry = table.slots.get(slot_of(correlation));
        entry.is_some_and(|entry| {
            entry.generation == generation_of(correlation) && entry.pending.is_some()
        })
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

    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// The peer's questions. What it has given up is gone from here, and an id that is not here belongs
/// to nobody who waits.
#[derive(Default)]
pub(crate) struct PeersAsks {
    table: Mutex<PeersTable>,
    open: AtomicUsize,
}

#[derive(Default)]
struct PeersTable {
    slots: Vec<PeersSlot>,
    /// What is to be done when the peer gives up, where something is: those of its questions that were
    /// handed on to a third node.
    wills: BTreeMap<u64, Will>,
    closed: bool,
}

/// What is to be done when a question is given up.
type Will = Box<dyn FnOnce() + Send>;

#[derive(Clone, Copy, Default)]
struct PeersSlot {
    generation: u32,
    open: bool,
    /// When its asker waits no more, by our clock.
    until: Option<Instant>,
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
    /// Notes a question of the peer's, which waits until then.
    pub(crate) fn open(&self, correlation: u64, until: Option<Instant>) -> Result<(), BadAsk> {
        let slot = slot_of(correlation);
        if slot >= ASKS_MAX {
            return Err(BadAsk::Slot);
        }
        let mut table = self.table.lock();
        if table.slots.len() <= slot {
            table.slots.resize(slot + 1, PeersSlot::default());
        }
        let entry = &mut table.slots[slot];
        let new = PeersSlot { generation: generation_of(correlation), open: true, until };
        let old = *entry;
        if old.open {
            // What still comes for one that was given up finds another generation. A large question
            // may come after it was given up, and after a later one in its slot: the lanes are not
            // ordered among themselves, nor are the threads of the peer.
            let age = new.generation.wrapping_sub(old.generation);
            if age == 0 {
                return Err(BadAsk::InUse);
            }
            if age > u32::MAX / 2 {
                return Err(BadAsk::Stale);
            }
        }
        *entry = new;
        if !old.open {
            self.open.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // The peer has given up the one before; word of that is still under way, for it does not keep
        // a slot until the cancel frame is behind all that other threads send.
        let will = table.wills.remove(&correlation_of(old.generation, slot));
        drop(table);
        if let Some(will) = will {
            will();
        }
        Ok(())
    }

    /// Whether the question waits for its answer, and until when.
    pub(crate) fn find(&self, correlation: u64) -> Option<Option<Instant>> {
        self.table.lock().find(correlation).map(|slot| slot.until)
    }

    /// Takes the question out: it is about to be answered or refused. False where nobody waits.
    pub(crate) fn close(&self, correlation: u64) -> bool {
        self.take(correlation).is_some()
    }

    /// The peer has given up: the slot is free at once.
    pub(crate) fn cancel(&self, correlation: u64) {
        if let Some(Some(will)) = self.take(correlation) {
            will();
        }
    }

    fn take(&self, correlation: u64) -> Option<Option<Will>> {
        let mut table = self.table.lock();
        table.find(correlation)?.open = false;
        self.open.fetch_sub(1, Ordering::Relaxed);
        Some(table.wills.remove(&correlation))
    }

    /// Leaves word what to do when the peer gives the question up, or the lane ends; it is done at once
    /// if that was before.
    pub(crate) fn on_cancel(&self, correlation: u64, will: Will) {
        let mut table = self.table.lock();
        if !table.closed && table.find(correlation).is_some() {
            table.wills.insert(correlation, will);
            return;
        }
        drop(table);
        will();
    }

    /// The lane has ended: nobody waits any more.
    pub(crate) fn cancel_all(&self) {
        let wills = {
            let mut table = self.table.lock();
            table.closed = true;
            table.slots = Vec::new();
            self.open.store(0, Ordering::Relaxed);
            std::mem::take(&mut table.wills)
        };
        for will in wills.into_values() {
            will();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl PeersTable {
    fn find(&mut self, correlation: u64) -> Option<&mut PeersSlot> {
        let slot = self.slots.get_mut(slot_of(correlation))?;
        (slot.open && slot.generation == generation_of(correlation)).then_some(slot)
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
        assert_eq!(asks.open(ASKS_MAX as u64, None), Err(BadAsk::Slot));
        assert_eq!(asks.open(5, None), Ok(()));
        assert_eq!(asks.open(5, None), Err(BadAsk::InUse));
        assert_eq!(asks.len(), 1);
        assert_eq!(asks.open(1 << 32 | 7, None), Ok(()));
        assert_eq!(asks.open(7, None), Err(BadAsk::Stale));
        assert!(asks.close(1 << 32 | 7));
        assert!(asks.close(5));
        assert!(!asks.close(5), "one question was answered twice");
        assert_eq!(asks.open(1 << 32 | 5, None), Ok(()));
        assert_eq!(asks.len(), 1);
    }

    #[test]
    fn a_slot_that_is_used_again_was_given_up_though_word_of_it_comes_later() {
        let asks = PeersAsks::default();
        let done = Arc::new(AtomicUsize::new(0));
        asks.open(3, None).unwrap();
        let will = done.clone();
        asks.on_cancel(3, Box::new(move || will.store(1, Ordering::Relaxed)));
        let again = correlation_of(1, 3);
        assert_eq!(asks.open(again, None), Ok(()));
        assert_eq!((asks.len(), done.load(Ordering::Relaxed)), (1, 1));
        asks.cancel(3);
        assert!(asks.find(3).is_none() && asks.find(again).is_some());
    }

    #[test]
    fn a_cancelled_question_is_gone_at_once_and_what_was_left_for_it_is_done_once() {
        let asks = PeersAsks::default();
        let done = Arc::new(AtomicUsize::new(0));
        let will = || {
            let done = done.clone();
            Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let so_far = || done.load(Ordering::Relaxed);
        asks.open(3, None).unwrap();
        asks.on_cancel(3, will());
        asks.cancel(4);
        assert!(asks.find(3).is_some() && so_far() == 0);
        asks.cancel(3);
        asks.cancel(3);
        assert!(asks.find(3).is_none() && !asks.close(3));
        assert_eq!((asks.len(), so_far()), (0, 1));
        // One that is gone already, one that is answered, and one that the lane's end finds.
        asks.on_cancel(3, will());
        assert_eq!(so_far(), 2);
        asks.open(1 << 32 | 3, None).unwrap();
        asks.on_cancel(1 << 32 | 3, will());
        assert!(asks.close(1 << 32 | 3));
        asks.open(7, None).unwrap();
        asks.on_cancel(7, will());
        asks.cancel_all();
        assert_eq!((asks.len(), so_far()), (0, 3));
        asks.on_cancel(7, will());
        assert_eq!(so_far(), 4);
    }
}
