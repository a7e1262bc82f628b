//! The questions that wait for one incarnation of an actor.

mod open;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::open::Open;

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
/// and the list of waiters twice. Here a question is entered in a list, struck off when a later one takes
/// its place there, and one task with one timer looks after all of them.
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
    open: Open,
    /// When the clerk looks next; `None` while there is none.
    next: Option<Instant>,
    closed: bool,
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
        // Declared before the lock, so it is freed when that is free.
        let _struck_off;
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
        let until = asker.until();
        _struck_off = state.open.enter(number, asker.clone());
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
        // What is settled before it was taken was given up; and so was what is struck off.
        self.state.lock().open.has(number)
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
        let unread = {
            let mut state = self.state.lock();
            state.closed = true;
            state.open.split_off(self.taken.load(Ordering::Acquire))
        };
        for asker in unread {
            asker.closed();
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
        let (late, next) = {
            let mut state = self.state.lock();
            let late = state.open.late(now);
            state.next = state.open.next();
            (late, state.next)
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
