//! The account of what a peer may send.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use umbel_actors::wire::{Charge, Credit};

use super::data::DataLane;
use super::frame;

/// The bytes of messages that a peer may have waiting in our mailboxes, over one lane. More than a 10 Gbit/s
/// link carries in 3 ms. As each costs [`MESSAGE_COSTS_BYTES`](super::outbox::MESSAGE_COSTS_BYTES) beside its
/// own, that is some 3,200 small messages, and 1,800 of 1 KiB: with more of those that are small, they fall
/// out of the cache (14,000 were a tenth slower); with 800 of 1 KiB a sender waited for what had just gone.
pub(super) const WINDOW_BYTES: u64 = 4 << 20;

/// A grant goes out for so much that is released: it costs a frame, and a peer may send that much less
/// meanwhile.
const GRANT_BYTES: u64 = WINDOW_BYTES / 8;

/// When more than this of the window is used up, it is [short](Inbound::is_short). A peer that may send
/// nothing more has used up all of it but less than a grant, so it has always come to that before.
const SHORT_BYTES: u64 = WINDOW_BYTES / 16 * 13;

/// Where the window is short, senders to the actor in whose mailbox most lies are paused, if that is more than
/// this, until half of it is left; so are, short or not, those to an actor with more than [`SHORT_BYTES`].
///
/// Where that was done when half of the window lay in one mailbox, it came over an actor that takes all there
/// is as fast as it can, too: both ends then waited for one another in turn, for a fifth of the rate.
pub(super) const SHARE_BYTES: u64 = WINDOW_BYTES / 8;

const _: () = assert!(SHORT_BYTES + GRANT_BYTES < WINDOW_BYTES);

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

    /// Whether a peer that has sent so many bytes since the lane opened may send little more.
    fn is_short(&self, received: u64) -> bool {
        received.saturating_sub(self.released.load(Ordering::Relaxed)) > SHORT_BYTES
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
        // The larger one counts, whoever says it first.
        if grant >= granted + GRANT_BYTES
            && self.granted.fetch_max(grant, Ordering::AcqRel) < grant
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
    /// Senders are paused until no more than this is left.
    paused_until: Option<u64>,
}

impl Account {
    /// A charge for `bytes` that go into the actor's mailbox now.
    fn charge(self: &Arc<Self>, bytes: u32) -> Charge {
        let mut held = self.held.lock();
        held.bytes += u64::from(bytes);
        if held.paused_until.is_some() {
            self.lend(held);
        }
        Charge::new(self.clone(), bytes)
    }

    /// What lies in the actor's mailbox; nothing, where it is paused.
    fn held_unpaused(&self) -> u64 {
        let held = self.held.lock();
        if held.paused_until.is_some() { 0 } else { held.bytes }
    }

    fn pause(&self) {
        let mut held = self.held.lock();
        held.paused_until = Some(held.bytes.min(SHORT_BYTES) / 2);
        self.inbound.say(|buffer| {
            frame::pause(buffer, self.actor);
        });
        self.lend(held);
    }

    fn lend(&self, mut held: MutexGuard<'_, Held>) {
        let lent = self.inbound.lend(held.bytes - held.lent);
        held.lent += lent;
        drop(held);
        if lent > 0 {
            self.inbound.release_all(lent);
        }
    }
}

impl Credit for Account {
    fn release(&self, bytes: u32) {
        let bytes = u64::from(bytes);
        let mut held = self.held.lock();
        held.bytes -= bytes;
        let left = held.bytes;
        let repaid = bytes.min(held.lent);
        held.lent -= repaid;
        if held.paused_until.take_if(|until| left <= *until).is_some() {
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
    /// All in whose mailboxes more than a share lies, and a few in which it did. The window, and what is lent,
    /// bound how many there are: some forty.
    large: Vec<Arc<Account>>,
    /// The bytes of messages that came since the lane opened.
    received: u64,
    /// The last one: messages come in runs.
    last: Option<Arc<Account>>,
}

impl Accounts {
    pub(super) fn new(inbound: Arc<Inbound>) -> Self {
        Self {
            inbound,
            by_actor: BTreeMap::new(),
            sweep_at: 0,
            large: Vec::new(),
            received: 0,
            last: None,
        }
    }

    /// So many bytes of a message have come.
    pub(super) fn receive(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// The bytes of messages that came since the lane opened.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// A charge for `bytes` that go into this actor's mailbox now.
    pub(super) fn charge(&mut self, actor: u64, bytes: u32) -> Charge {
        let account = match &self.last {
            Some(account) if account.actor == actor => account,
            _ => {
                let account = self.account(actor);
                self.last.insert(account)
            }
        };
        let charge = account.charge(bytes);
        let held = account.held_unpaused();
        if held > SHARE_BYTES && !self.large.iter().any(|large| large.actor == actor) {
            self.large.retain(|large| large.held.lock().bytes > SHARE_BYTES);
            self.large.push(account.clone());
        }
        if held > SHORT_BYTES {
            account.pause();
        } else {
            self.make_room();
        }
        charge
    }

    /// Something came: where the window is short, pauses the actor in whose mailbox most of it lies.
    pub(super) fn make_room(&self) {
        if !self.inbound.is_short(self.received) {
            return;
        }
        let held = self.large.iter().map(|account| (account.held_unpaused(), account));
        let largest = held.max_by_key(|(held, _)| *held);
        if let Some((_, largest)) = largest.filter(|(held, _)| *held > SHARE_BYTES) {
            largest.pause();
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
