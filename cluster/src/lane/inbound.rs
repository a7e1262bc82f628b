//! The account of what a peer may send.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use umbel_actors::wire::{Charge, Credit};

use super::data::DataLane;
use super::frame;

/// The bytes of messages that a peer may have waiting in our mailboxes, over one lane. Four times
/// what a 10 Gbit/s link carries in a round trip of 0.2 ms; with small messages some 3,700 of them,
/// as each costs [`MESSAGE_COSTS_BYTES`](super::outbox::MESSAGE_COSTS_BYTES) beside its own.
pub(super) const WINDOW_BYTES: u64 = 1 << 20;

/// One actor's share of the window. When more than this lies in its mailbox, its senders are paused,
/// until half of it is left.
pub(super) const SHARE_BYTES: u64 = WINDOW_BYTES / 2;

/// What lies in the mailboxes of paused actors is lent by the lane, so that it keeps nobody else
/// waiting: at most so much, which is enough for four actors that take nothing at all. All mailboxes
/// together then hold [`WINDOW_BYTES`] more than this, at most, of one peer's messages.
///
/// Lent, not refused: what is under way when a pause is said is a window at most, and it has been
/// accepted.
pub(super) const LENT_BYTES_MAX: u64 = 4 * WINDOW_BYTES;

/// The account of what the peer may send.
///
/// Not a part of the lane: every message in a mailbox counts as an owner of it, and the actors that
/// let go of it would else take the lane's own cache lines away from the lane's task all the time.
pub(super) struct Inbound {
    lane: Weak<DataLane>,
    released: AtomicU64,
    granted: AtomicU64,
    lent: AtomicU64,
    /// What has come of messages and is delivered.
    received: AtomicU64,
    /// Whether the bulk lane waits for something to come.
    awaited: AtomicBool,
    waiting: AtomicWaker,
}

impl Inbound {
    pub(super) fn new(lane: Weak<DataLane>) -> Self {
        Self {
            lane,
            released: AtomicU64::new(0),
            granted: AtomicU64::new(WINDOW_BYTES),
            lent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }

    /// The bytes that the peer has been granted since the lane opened.
    #[inline]
    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }

    /// The bytes that actors have let go of, or that were lent, since the lane opened.
    #[cfg(test)]
    pub(super) fn released(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    /// So many bytes of messages have come since the lane opened, and are delivered.
    #[inline]
    pub(super) fn has_received(&self, bytes: u64) {
        // SeqCst here and in `awaits`: each writes one word and then reads the other's.
        self.received.store(bytes, Ordering::SeqCst);
        if self.awaited.load(Ordering::SeqCst) && self.awaited.swap(false, Ordering::SeqCst) {
            self.waiting.wake();
        }
    }

    /// Whether so many bytes are still to come; `waker` is then woken when more has.
    pub(super) fn awaits(&self, bytes: u64, waker: &Waker) -> bool {
        if self.received.load(Ordering::SeqCst) >= bytes {
            return false;
        }
        self.waiting.register(waker);
        self.awaited.store(true, Ordering::SeqCst);
        self.received.load(Ordering::SeqCst) < bytes
    }

    /// Lends as much of `bytes` as can be.
    fn lend(&self, bytes: u64) -> u64 {
        let lent = self.lent.load(Ordering::Relaxed);
        // Only the lane's own task lends, so nobody takes what is seen here.
        let lent = bytes.min(LENT_BYTES_MAX.saturating_sub(lent));
        self.lent.fetch_add(lent, Ordering::Relaxed);
        lent
    }

    fn release_all(&self, bytes: u64) {
        let released = self.released.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let grant = released + WINDOW_BYTES;
        let granted = self.granted.load(Ordering::Acquire);
        // One grant for each quarter window: it costs a frame.
        if grant >= granted + WINDOW_BYTES / 4
            && self
                .granted
                .compare_exchange(granted, grant, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && let Some(lane) = self.lane.upgrade()
        {
            lane.exempt(|buffer| {
                frame::credit(buffer, grant);
            });
        }
    }

    fn say(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(lane) = self.lane.upgrade() {
            lane.exempt(write);
        }
    }
}

impl Credit for Inbound {
    fn release(&self, bytes: u32) {
        self.release_all(u64::from(bytes));
    }
}

/// What lies in one actor's mailbox that came over this lane.
pub(super) struct Account {
    actor: u64,
    inbound: Arc<Inbound>,
    /// Pauses and resumptions are said under this lock, so that the peer hears them in order.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// Of these, what is lent.
    lent: u64,
    paused: bool,
}

impl Account {
    /// A charge for `bytes` that go into the actor's mailbox now.
    pub(super) fn charge(self: &Arc<Self>, bytes: u32) -> Charge {
        let mut held = self.held.lock();
        held.bytes += u64::from(bytes);
        if !held.paused && held.bytes > SHARE_BYTES {
            held.paused = true;
            self.inbound.say(|buffer| {
                frame::pause(buffer, self.actor);
            });
        }
        let lent = if held.paused { self.inbound.lend(held.bytes - held.lent) } else { 0 };
        held.lent += lent;
        drop(held);
        if lent > 0 {
            self.inbound.release_all(lent);
        }
        Charge::new(self.clone(), bytes)
    }
}

impl Credit for Account {
    fn release(&self, bytes: u32) {
        let bytes = u64::from(bytes);
        let mut held = self.held.lock();
        held.bytes -= bytes;
        let repaid = bytes.min(held.lent);
        held.lent -= repaid;
        if held.paused && held.bytes <= SHARE_BYTES / 2 {
            held.paused = false;
            self.inbound.say(|buffer| {
                frame::resume(buffer, self.actor);
            });
        }
        drop(held);
        if repaid > 0 {
            self.inbound.lent.fetch_sub(repaid, Ordering::Relaxed);
        }
        if bytes > repaid {
            self.inbound.release_all(bytes - repaid);
        }
    }
}

/// The accounts of the actors that something came for.
pub(super) struct Accounts {
    inbound: Arc<Inbound>,
    by_actor: BTreeMap<u64, Arc<Account>>,
    /// When so many are kept, those that hold nothing are forgotten.
    sweep_at: usize,
    /// The last one: messages come in runs.
    last: Option<Arc<Account>>,
}

impl Accounts {
    pub(super) fn new(inbound: Arc<Inbound>) -> Self {
        Self { inbound, by_actor: BTreeMap::new(), sweep_at: 0, last: None }
    }

    /// A charge for `bytes` that go into this actor's mailbox now.
    pub(super) fn charge(&mut self, actor: u64, bytes: u32) -> Charge {
        match &self.last {
            Some(account) if account.actor == actor => account.charge(bytes),
            _ => {
                let account = self.account(actor);
                let charge = account.charge(bytes);
                self.last = Some(account);
                charge
            }
        }
    }

    fn account(&mut self, actor: u64) -> Arc<Account> {
        if let Some(account) = self.by_actor.get(&actor) {
            return account.clone();
        }
        if self.by_actor.len() >= self.sweep_at.max(64) {
            // What holds something has charges that own it. The window bounds how many do.
            self.by_actor.retain(|_, account| Arc::strong_count(account) > 1);
            self.sweep_at = 2 * self.by_actor.len();
        }
        let (inbound, held) = (self.inbound.clone(), Mutex::default());
        let account = Arc::new(Account { actor, inbound, held });
        self.by_actor.insert(actor, account.clone());
        account
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
