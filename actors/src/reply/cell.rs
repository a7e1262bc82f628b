use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::address::AskError;
use crate::codec::{self, Limits};
use crate::docket::Asker;
use crate::wire::{Pending, Unanswered};

/// What a deadline further off than the clock can say comes down to.
const FAR_OFF: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Where an answer waits for its asker.
pub(crate) struct ReplyCell<T> {
    within: Duration,
    until: Instant,
    /// Set, under the lock, when nothing can come any more.
    settled: AtomicBool,
    abandoned: AtomicBool,
    /// Whether the right to answer was handed over to a link.
    spent: AtomicBool,
    state: Mutex<State<T>>,
}

struct State<T> {
    outcome: Option<Result<T, AskError>>,
    waker: Option<Waker>,
    /// Where the question went, if it left this node: the slot that it holds there can be freed.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> ReplyCell<T> {
    /// A cell for the task that `cx` wakes.
    pub(crate) fn new(within: Duration, cx: &Context<'_>) -> Arc<Self> {
        let now = Instant::now();
        let waker = Some(cx.waker().clone());
        Arc::new(Self {
            within,
            until: now.checked_add(within).unwrap_or_else(|| now + FAR_OFF),
            settled: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            spent: AtomicBool::new(false),
            state: Mutex::new(State { outcome: None, waker, cancel: None }),
        })
    }

    /// How long the asker waits.
    pub(crate) fn within(&self) -> Duration {
        self.within
    }

    /// When it is too late for an answer.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Whether the asker is known to wait no more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Whether the right to answer was handed over to a link; set once, by the one reply.
    pub(super) fn spent(&self) -> &AtomicBool {
        &self.spent
    }

    /// Whether the answer is there, or nobody waits for it any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, AskError>> {
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The asker waits no more. Says whether it had no answer yet.
    pub(crate) fn abandon(&self) -> bool {
        self.abandoned.store(true, Ordering::Release);
        let mut state = self.state.lock();
        let was_open = !self.is_settled();
        let cancel = if was_open { state.cancel.take() } else { None };
        self.settled.store(true, Ordering::Release);
        // The value is the user's, and the waker's task may be: drop them outside the lock.
        let leftovers = (state.outcome.take(), state.waker.take());
        drop(state);
        drop(leftovers);
        if let Some(cancel) = cancel {
            cancel();
        }
        was_open
    }

    /// Sets the outcome; a second one is not made.
    #[inline]
    pub(super) fn resolve(&self, outcome: impl FnOnce() -> Result<T, AskError>) {
        self.settle(outcome, false);
    }

    /// Sets the outcome, unless there is one. It is made where it stays: made before, it would be moved
    /// in, for some 5 ns each time. What makes it is ours, and runs under the lock. Returns how to cancel what is now of no use.
    #[inline]
    fn settle(
        &self,
        outcome: impl FnOnce() -> Result<T, AskError>,
        gives_up: bool,
    ) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = self.state.lock();
        if self.is_settled() {
            // The value may be the user's: drop it outside the lock.
            drop(state);
            drop(outcome);
            return None;
        }
        if gives_up {
            // Under the lock: whoever sees it and drops the reply for it comes behind this outcome.
            self.abandoned.store(true, Ordering::Release);
        }
        self.settled.store(true, Ordering::Release);
        state.outcome = Some(outcome());
        let (waker, cancel) = (state.waker.take(), state.cancel.take());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        cancel
    }

    /// Ends the wait with an error from without.
    fn give_up(&self, why: AskError) {
        if self.is_settled() {
            return;
        }
        if let Some(cancel) = self.settle(|| Err(why), true) {
            cancel();
        }
    }
}

impl<T: Send> Asker for ReplyCell<T> {
    fn is_settled(&self) -> bool {
        self.is_settled()
    }

    fn until(&self) -> Instant {
        self.until
    }

    fn expire(&self) {
        self.give_up(AskError::TimedOut(self.within));
    }

    fn closed(&self) {
        self.give_up(AskError::Closed);
    }
}

impl<T: DeserializeOwned + Send + 'static> Pending for ReplyCell<T> {
    fn answer(&self, bytes: &[u8], limits: Limits) {
        let outcome = codec::decode(bytes, limits);
        self.resolve(|| outcome.map_err(|why| AskError::Undecodable(why.to_string())));
    }

    fn fail(&self, why: Unanswered) {
        self.resolve(|| Err(AskError::unanswered(why, self.within)));
    }

    fn on_cancel(&self, cancel: Box<dyn FnOnce() + Send>) {
        let mut state = self.state.lock();
        if !self.is_settled() {
            state.cancel = Some(cancel);
            return;
        }
        drop(state);
        if self.is_abandoned() {
            cancel();
        }
    }

    fn until(&self) -> Option<Instant> {
        Some(self.until)
    }
}
