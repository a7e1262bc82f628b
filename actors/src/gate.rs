//! The bound on a mailbox.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

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
/// Waiting senders go in first-in, first-out order. One is woken when the mailbox is half empty
/// again, and wakes the next while there is room: a burst of messages costs one wake-up.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Messages that took a place and wait, and [`CLOSED`].
    word: AtomicU64,
    /// Messages that wait and took no place: a link's credit bounds them, and they must not keep
    /// those out who wait for a place.
    beside: AtomicU64,
    /// Senders that wait.
    waiting: AtomicUsize,
    capacity: u64,
    room: Notify,
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
            word: AtomicU64::new(0),
            beside: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            capacity: capacity.max(1) as u64,
            room: Notify::new(),
        }
    }

    /// Takes a place, if there is one and nobody waits for it.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<(), Barred> {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return Err(if self.is_closed() { Barred::Closed } else { Barred::Full });
        }
        self.take()
    }

    #[inline]
    fn take(&self) -> Result<(), Barred> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(Barred::Closed);
            }
            if word >= self.capacity {
                return Err(Barred::Full);
            }
            match self.word.compare_exchange_weak(
                word,
                word + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(seen) => word = seen,
            }
        }
    }

    /// Lets a message in beside the places: what another bound (a link's credit) already holds in
    /// check. False where the gate is closed.
    pub(crate) fn enter_beside(&self) -> bool {
        if self.is_closed() {
            return false;
        }
        self.beside.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// A message that came in beside the places was taken.
    pub(crate) fn leave_beside(&self) {
        self.beside.fetch_sub(1, Ordering::AcqRel);
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
            match self.take() {
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
        let before = self.word.fetch_sub(1, Ordering::SeqCst) & !CLOSED;
        debug_assert!(before > 0, "a place was given back that nobody had taken");
        if self.waiting.load(Ordering::SeqCst) > 0 && before - 1 <= self.capacity / 2 {
            self.room.notify_one();
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
        if self.word.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0 {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// The messages that wait, those beside the places included.
    pub(crate) fn depth(&self) -> u64 {
        self.placed() + self.beside.load(Ordering::Relaxed)
    }

    fn placed(&self) -> u64 {
        self.word.load(Ordering::SeqCst) & !CLOSED
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
        assert!(!gate.enter_beside());
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
    async fn what_comes_in_beside_the_places_keeps_nobody_out() {
        let gate = Gate::new(2);
        for _ in 0..100 {
            assert!(gate.enter_beside());
        }
        assert_eq!(gate.try_enter(), Ok(()));
        assert_eq!(gate.depth(), 101);
        for _ in 0..100 {
            gate.leave_beside();
        }
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
