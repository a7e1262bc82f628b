//! The questions that wait for one incarnation of an actor.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The least number of questions that are entered before the settled ones are struck off.
const STRIKE_OFF_AT: usize = 32;

/// Who waits for an answer.
pub(crate) trait Asker: Send + Sync {
    /// The actor took the question out of its mailbox.
    fn taken(&self);

    /// Whether the answer is there, or nobody waits for it any more.
    fn is_settled(&self) -> bool;

    /// When it is too late for an answer.
    fn until(&self) -> Instant;

    /// It is too late.
    fn expire(&self);

    /// The mailbox closed. A question that was taken out of it may still be answered (its reply may
    /// have been handed on); one that was not will not be.
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
    /// Told when the clerk must look earlier than it meant to.
    sooner: Notify,
    /// The actor's. Its end is the docket's too, while an asker's own might end before.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    open: Vec<Arc<dyn Asker>>,
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
            sooner: Notify::new(),
            runtime: Handle::current(),
        })
    }

    /// Enters a question that is in the mailbox.
    pub(crate) fn enter(self: &Arc<Self>, asker: Arc<dyn Asker>) {
        if asker.is_settled() {
            return;
        }
        let until = asker.until();
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            asker.closed();
            if asker.is_settled() {
                return;
            }
            state = self.state.lock();
        }
        if state.open.len() == state.open.capacity() {
            // A settled asker holds nothing of the user's that could be dropped under the lock.
            state.open.retain(|asker| !asker.is_settled());
            let room = state.open.capacity() - state.open.len();
            if room <= state.open.len() {
                let more = state.open.len().max(STRIKE_OFF_AT);
                state.open.reserve(more);
            }
        }
        state.open.push(asker);
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
    }

    /// Tells all whose question the actor has not taken that it will not be taken. The others are
    /// looked after until they are answered or late.
    pub(crate) fn close(&self) {
        let open = {
            let mut state = self.state.lock();
            state.closed = true;
            state.open.clone()
        };
        for asker in open {
            asker.closed();
        }
        self.state.lock().open.retain(|asker| !asker.is_settled());
        self.sooner.notify_one();
    }

    /// The clerk's work; it ends when no question is open.
    async fn look_after(self: Arc<Self>, first: Instant) {
        let mut next = Some(first);
        while let Some(then) = next {
            tokio::select! {
                biased;
                () = self.sooner.notified() => {
                    let mut state = self.state.lock();
                    if state.open.is_empty() {
                        state.next = None;
                    }
                    next = state.next;
                }
                () = sleep_until(then) => next = self.strike_off(Instant::now()),
            }
        }
    }

    fn strike_off(&self, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        let next = {
            let mut state = self.state.lock();
            state.open.retain(|asker| {
                let is_late = !asker.is_settled() && asker.until() <= now;
                if is_late {
                    late.push(asker.clone());
                }
                !is_late && !asker.is_settled()
            });
            // What a burst has left behind.
            let open = state.open.len();
            state.open.shrink_to(2 * open.max(STRIKE_OFF_AT));
            state.next = state.open.iter().map(|asker| asker.until()).min();
            state.next
        };
        for asker in late {
            asker.expire();
        }
        next
    }
}
