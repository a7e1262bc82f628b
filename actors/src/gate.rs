//! The bound on a mailbox.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use crate::parcel::Entry;

const CLOSED: u64 = 1 << 63;

/// Counts the messages that wait in one incarnation's mailbox, and makes senders wait for room.
///
/// What is done for each message is `#[inline]`: the generic code around it is compiled in the
/// user's crate, where it would be a call otherwise.
///
/// ractor's own mailbox is unbounded, so the bound stands before it: a sender takes a place, the
/// actor gives it back when it takes the message. A place belongs to a *message* (it travels with
/// it, see [`crate::parcel`]), so raw casts and timers, which take none, give none back.
///
/// A sender that waits is woken, first in, first out, when the mailbox is half empty again, and
/// wakes the next while there is room. Others may pass it meanwhile: kept out, all senders would
/// wait anew for each of their messages. So a burst costs one wake-up.
#[derive(Debug)]
pub(crate) struct Gate {
    entries: CachePadded<Entries>,
    exits: CachePadded<Exits>,
    /// Senders that wait.
    waiting: AtomicUsize,
    capacity: u64,
    room: Notify,
}

/// What senders write. Apart from what the actor writes: a line of memory that two cores write for
/// each message costs more than all else that is done here.
#[derive(Debug)]
struct Entries {
    /// Places that were taken so far, and [`CLOSED`].
    placed: AtomicU64,
    /// [`Exits::placed`] as a sender saw it last, never more than it is. While it says that there
    /// is room, senders need not look at what the actor writes.
    left: AtomicU64,
    /// Messages that took no place: a link's credit bounds them, and they must not keep those out
    /// who wait for a place.
    beside: AtomicU64,
}

/// What the actor writes, and a sender whose message is refused behind the gate.
#[derive(Debug)]
struct Exits {
    /// Places that were given back so far.
    placed: AtomicU64,
    /// Messages without a place that were taken.
    beside: AtomicU64,
}

/// Why a gate let nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// There is no room, or others wait already.
    Full,
    /// The actor has ended or is ending.
    Closed,
}

impl Gate {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: CachePadded::new(Entries {
                placed: AtomicU64::new(0),
                left: AtomicU64::new(0),
                beside: AtomicU64::new(0),
            }),
            exits: CachePadded::new(Exits { placed: AtomicU64::new(0), beside: AtomicU64::new(0) }),
            waiting: AtomicUsize::new(0),
            capacity: capacity.max(1) as u64,
            room: Notify::new(),
        }
    }

    /// Takes a place, if there is one.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<(), Barred> {
        let mut taken = self.entries.placed.load(Ordering::Relaxed);
        loop {
            if taken & CLOSED != 0 {
                return Err(Barred::Closed);
            }
            // More may have left than had been taken when `taken` was read: the exchange fails then.
            if taken.saturating_sub(self.entries.left.load(Ordering::Relaxed)) >= self.capacity {
                let left = self.exits.placed.load(Ordering::SeqCst);
                self.entries.left.store(left, Ordering::Relaxed);
                if taken.saturating_sub(left) >= self.capacity {
                    return Err(Barred::Full);
                }
            }
            match self.entries.placed.compare_exchange_weak(
                taken,
                taken + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(seen) => taken = seen,
            }
        }
    }

    /// Lets so many messages in beside the places: what another bound (a link's credit) already holds in
    /// check. False where the gate is closed.
    #[inline]
    pub(crate) fn enter_beside(&self, messages: usize) -> bool {
        // SeqCst, as in `close`, `is_closed` and `depth`: either it sees that the gate is closed, or who has
        // closed it and counts what is lost counts it.
        self.entries.beside.fetch_add(messages as u64, Ordering::SeqCst);
        if self.is_closed() {
            self.leave_beside(messages);
            return false;
        }
        true
    }

    /// So many messages that came in beside the places were taken, or refused behind the gate.
    #[inline]
    pub(crate) fn leave_beside(&self, messages: usize) {
        self.exits.beside.fetch_add(messages as u64, Ordering::AcqRel);
    }

    /// Lets a message in that another incarnation had let in before.
    pub(crate) fn readmit(&self, entry: Entry) {
        match entry {
            Entry::Raw => {}
            Entry::Placed | Entry::Asked => {
                self.entries.placed.fetch_add(1, Ordering::AcqRel);
            }
            Entry::Beside => {
                self.entries.beside.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// A message that had come in so was taken, or was refused behind the gate.
    #[inline]
    pub(crate) fn leave_by(&self, entry: Entry) {
        match entry {
            Entry::Raw => {}
            Entry::Placed | Entry::Asked => self.leave(),
            Entry::Beside => self.leave_beside(1),
        }
    }

    /// Waits for a place. False where the gate is closed.
    pub(crate) async fn enter(&self) -> bool {
        match self.try_enter() {
            Ok(()) => return true,
            Err(Barred::Closed) => return false,
            Err(Barred::Full) => {}
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            // Room that came before this registration woke nobody: wake whoever is first now.
            self.relieve();
            if self.is_closed() {
                return false;
            }
            room.await;
            match self.try_enter() {
                Ok(()) => {
                    self.pass_on();
                    return true;
                }
                Err(Barred::Closed) => return false,
                Err(Barred::Full) => {}
            }
        }
    }

    /// Gives a place back.
    #[inline]
    pub(crate) fn leave(&self) {
        // SeqCst here and where a sender starts to wait: each writes one word and then reads the
        // other's, and on a weaker order both could miss the other.
        let left = self.exits.placed.fetch_add(1, Ordering::SeqCst) + 1;
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let half_empty = self.taken() - left <= self.capacity / 2;
            // Those who pass may keep it fuller than that for ever.
            if half_empty || left.is_multiple_of(4 * self.capacity) {
                self.room.notify_one();
            }
        }
    }

    /// Wakes a waiting sender if there is any room at all. Called when a handler suspends: it may
    /// be waiting for what that sender has to say.
    pub(crate) fn relieve(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 && self.placed() < self.capacity {
            self.room.notify_one();
        }
    }

    /// Lets nobody in any more and wakes all who wait.
    pub(crate) fn close(&self) {
        if self.entries.placed.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0 {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.entries.placed.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// The messages that wait, those beside the places included.
    pub(crate) fn depth(&self) -> u64 {
        // What has left first: read later, it could be more than had come.
        let left = self.exits.beside.load(Ordering::Acquire);
        self.placed() + (self.entries.beside.load(Ordering::SeqCst) - left)
    }

    /// The messages that wait and have a place.
    fn placed(&self) -> u64 {
        let left = self.exits.placed.load(Ordering::SeqCst);
        self.taken() - left
    }

    /// The places that were taken so far.
    fn taken(&self) -> u64 {
        self.entries.placed.load(Ordering::SeqCst) & !CLOSED
    }

    fn pass_on(&self) {
        // The caller itself still counts as waiting.
        if self.waiting.load(Ordering::Acquire) > 1 && self.placed() < self.capacity {
            self.room.notify_one();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_last_place_is_given_and_the_next_sender_waits() {
        let gate = Gate::new(2);
        assert_eq!(gate.try_enter(), Ok(()));
        assert_eq!(gate.try_enter(), Ok(()));
        assert_eq!(gate.try_enter(), Err(Barred::Full));
        gate.leave();
        assert_eq!(gate.try_enter(), Ok(()));
    }

    #[tokio::test]
    async fn closing_wakes_everyone_who_waits() {
        let gate = Arc::new(Gate::new(1));
        assert!(gate.enter().await);
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move { gate.enter().await })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.close();
        for waiter in waiters {
            assert!(!waiter.await.unwrap());
        }
        assert_eq!(gate.try_enter(), Err(Barred::Closed));
        assert!(!gate.enter_beside(1));
    }

    #[tokio::test]
    async fn a_cancelled_wait_neither_keeps_a_place_nor_loses_a_wake_up() {
        let gate = Arc::new(Gate::new(1));
        assert!(gate.enter().await);
        let cancelled = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.enter().await })
        };
        let patient = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.enter().await })
        };
        tokio::task::yield_now().await;
        gate.leave();
        cancelled.abort();
        let _ = cancelled.await;
        // Whether or not the aborted one had its turn, its place comes back or was never taken.
        if gate.depth() == 1 && !patient.is_finished() {
            tokio::task::yield_now().await;
            if !patient.is_finished() {
                gate.leave();
            }
        }
        assert!(patient.await.unwrap());
    }

    #[tokio::test]
    async fn one_who_waits_is_let_in_though_others_keep_the_mailbox_more_than_half_full() {
        let gate = Arc::new(Gate::new(8));
        for _ in 0..8 {
            assert_eq!(gate.try_enter(), Ok(()));
        }
        let patient = {
            let gate = gate.clone();
            tokio::spawn(async move { gate.enter().await })
        };
        tokio::task::yield_now().await;
        gate.leave();
        let mut turns = 0;
        while !patient.is_finished() {
            gate.leave();
            tokio::task::yield_now().await;
            assert_eq!(gate.try_enter(), Ok(()), "there is room for one who passes");
            turns += 1;
            assert!(turns <= 4 * 8, "others pass for ever");
        }
        assert!(patient.await.unwrap());
    }

    #[tokio::test]
    async fn what_comes_in_beside_the_places_keeps_nobody_out() {
        let gate = Gate::new(2);
        assert!(gate.enter_beside(100));
        assert_eq!(gate.try_enter(), Ok(()));
        assert_eq!(gate.depth(), 101);
        gate.leave_beside(1);
        gate.leave_beside(99);
        assert_eq!(gate.depth(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn under_contention_the_depth_never_exceeds_the_capacity_and_ends_at_zero() {
        let gate = Arc::new(Gate::new(8));
        let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
        let producers: Vec<_> = (0..8)
            .map(|_| {
                let (gate, sent) = (gate.clone(), sent.clone());
                tokio::spawn(async move {
                    for turn in 0..5_000u32 {
                        if turn % 7 == 0 {
                            // A sender that gives up half way.
                            let waiting =
                                tokio::time::timeout(std::time::Duration::ZERO, gate.enter());
                            if let Ok(entered) = waiting.await {
                                assert!(entered);
                                sent.send(()).unwrap();
                            }
                        } else {
                            assert!(gate.enter().await);
                            sent.send(()).unwrap();
                        }
                    }
                })
            })
            .collect();
        drop(sent);
        while received.recv().await.is_some() {
            assert!(gate.depth() <= 8);
            gate.leave();
        }
        for producer in producers {
            producer.await.unwrap();
        }
        assert_eq!(gate.depth(), 0);
    }
}
