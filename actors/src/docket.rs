//! The questions that wait for one incarnation of an actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The least number of questions that are entered before the settled ones are struck off. Small:
/// allocators keep only a few freed blocks of a size at hand, and this many are freed at once.
const STRIKE_OFF_AT: usize = 6;

/// How soon after the actor begins to end, and after it has, the clerk looks whether the questions are
/// answered that it had taken; then after twice that, and so on. Most are when its state is dropped.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Who waits for an answer.
pub(crate) trait Asker: Send + Sync {
    /// Whether the answer is there, or nobody waits for it any more.
    fn is_settled(&self) -> bool;

    /// When it is too late for an answer.
    fn until(&self) -> Instant;

    /// It is too late.
    fn expire(&self);

    /// The mailbox closed with the question in it: it will not be handled.
    fn closed(&self);
}

/// Tells those who ask one incarnation that they waited too long, or that it has ended.
///
/// A tokio timer and a `Notify` for each question would do the same, and cost more than all the
/// rest of an ask: most are answered within microseconds, and each would lock the runtime's timers
/// and the list of waiters twice. Here a question is entered by one push, struck off with others
/// when the list would grow, and one task with one timer looks after all of them.
#[derive(Debug)]
pub(crate) struct Docket {
    state: Mutex<State>,
    /// How many questions the actor has taken out of its mailbox. They are in the mailbox in the
    /// order in which they were entered, so this tells of each whether it was taken. Only the actor
    /// writes it, in a line of memory that askers do not write.
    taken: CachePadded<AtomicU64>,
    /// How many questions had been entered when an asker last gave up. Of these, the actor looks in the
    /// list which are still waited for; of later ones all are. In a line of its own, that is seldom
    /// written.
    doubtful: CachePadded<AtomicU64>,
    /// Told when the clerk must look earlier than it meant to.
    sooner: Notify,
    /// The actor's. Its end is the docket's too, while an asker's own might end before.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    /// How many questions were put into the mailbox.
    entered: u64,
    open: Vec<Entry>,
    /// When the clerk looks next; `None` while there is none.
    next: Option<Instant>,
    closed: bool,
}

struct Entry {
    /// How many questions were put into the mailbox before it.
    number: u64,
    asker: Arc<dyn Asker>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl Docket {
    /// The docket of an actor that runs on the present runtime.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            taken: CachePadded::new(AtomicU64::new(0)),
            doubtful: CachePadded::new(AtomicU64::new(0)),
            sooner: Notify::new(),
            runtime: Handle::current(),
        })
    }

    /// Puts a question into the mailbox by `send`, and enters it unless that fails.
    ///
    /// Under the lock, so that questions are entered in the order in which they lie in the mailbox.
    /// Nothing of the user's runs there: a send is a push, and an asker that is settled holds
    /// nothing of the user's.
    pub(crate) fn enter<A: Asker + 'static, E>(
        self: &Arc<Self>,
        asker: &Arc<A>,
        send: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state.lock();
        send()?;
        let number = state.entered;
        state.entered += 1;
        if asker.is_settled() {
            return Ok(());
        }
        if state.closed && number >= self.taken.load(Ordering::Acquire) {
            drop(state);
            asker.closed();
            return Ok(());
        }
        if state.open.len() == state.open.capacity() {
            state.open.retain(|entry| !entry.asker.is_settled());
            let room = state.open.capacity() - state.open.len();
            if room <= state.open.len() {
                let more = state.open.len().max(STRIKE_OFF_AT);
                state.open.reserve(more);
            }
        }
        let until = asker.until();
        state.open.push(Entry { number, asker: asker.clone() });
        match state.next {
            Some(next) if next <= until => {}
            Some(_) => {
                state.next = Some(until);
                self.sooner.notify_one();
            }
            None => {
                state.next = Some(until);
                self.runtime.spawn(self.clone().look_after(until));
            }
        }
        Ok(())
    }

    /// The actor took the next question out of its mailbox. Called by the actor alone. Says whether
    /// anybody still waits for the answer.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        let number = self.taken.load(Ordering::Relaxed);
        let is_waited_for =
            number >= self.doubtful.load(Ordering::Acquire) || self.is_waited_for(number);
        self.taken.store(number + 1, Ordering::Release);
        is_waited_for
    }

    #[cold]
    fn is_waited_for(&self, number: u64) -> bool {
        let open = &self.state.lock().open;
        let found = open.binary_search_by_key(&number, |entry| entry.number);
        // What is settled before it was taken was given up; and so was what is struck off.
        found.is_ok_and(|index| !open[index].asker.is_settled())
    }

    /// One who asked has given up.
    #[cold]
    pub(crate) fn gave_up(&self) {
        let entered = self.state.lock().entered;
        self.doubtful.fetch_max(entered, Ordering::Release);
    }

    /// Tells all whose question the actor has not taken that it will not be taken. The others are
    /// looked after until they are answered or late: their replies may have been handed on.
    pub(crate) fn close(&self) {
        let unread: Vec<_> = {
            let mut state = self.state.lock();
            state.closed = true;
            let taken = self.taken.load(Ordering::Acquire);
            let first = state.open.partition_point(|entry| entry.number < taken);
            let unread = state.open.drain(first..).collect();
            // Or the clerk would wait for the deadlines of what has long been answered.
            state.open.retain(|entry| !entry.asker.is_settled());
            unread
        };
        for entry in unread {
            entry.asker.closed();
        }
        // An actor that drains takes on what it was sent; but whoever asked was told otherwise.
        self.gave_up();
        self.sooner.notify_one();
    }

    /// The clerk's work; it ends when no question is open.
    async fn look_after(self: Arc<Self>, first: Instant) {
        let (mut next, mut pause) = (Some(first), LOOK_AGAIN);
        while let Some(then) = next {
            tokio::select! {
                biased;
                () = self.sooner.notified() => {
                    pause = LOOK_AGAIN;
                    let mut state = self.state.lock();
                    if state.open.is_empty() {
                        state.next = None;
                    }
                    next = state.next;
                }
                () = sleep_until(then) => next = self.strike_off(Instant::now()),
            }
            if self.state.lock().closed {
                // Or it would be there until the last of their deadlines.
                next = next.map(|next| next.min(Instant::now() + pause));
                pause = pause.saturating_mul(2);
            }
        }
    }

    fn strike_off(&self, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        let next = {
            let mut state = self.state.lock();
            state.open.retain(|Entry { asker, .. }| {
                let is_late = !asker.is_settled() && asker.until() <= now;
                if is_late {
                    late.push(asker.clone());
                }
                !is_late && !asker.is_settled()
            });
            // What a burst has left behind.
            let open = state.open.len();
            state.open.shrink_to(2 * open.max(STRIKE_OFF_AT));
            state.next = state.open.iter().map(|entry| entry.asker.until()).min();
            state.next
        };
        if !late.is_empty() {
            for asker in late {
                asker.expire();
            }
            self.gave_up();
        }
        next
    }
}

#[cfg(test)]
mod tests;
