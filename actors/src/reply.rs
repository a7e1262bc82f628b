//! The right to answer a question, once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

use crate::address::AskError;
use crate::codec::{self, Limits};
use crate::docket::Asker;
use crate::wire::{self, Answers, Encode, Pending, Unanswered};

/// The right to answer an [`ask`](crate::Address::ask), once.
///
/// It is an ordinary field of a message, and of a message that crosses nodes too: there it becomes
/// a correlation id, and the answer finds its way back over the same link. Dropped without an
/// answer, it tells the asker so at once.
///
/// ```
/// # use umbel_actors::{Message, Reply};
/// #[derive(Message)]
/// enum Greet { Hello(String, Reply<String>) }
/// # fn handle(Greet::Hello(name, reply): Greet) {
/// reply.send(format!("hello {name}"));
/// # }
/// ```
pub struct Reply<T> {
    // `Serialize` has only `&self`, and encoding hands the right over to the link.
    right: Mutex<Option<Right<T>>>,
}

enum Right<T> {
    Local(Arc<ReplyCell<T>>),
    Remote(RemoteRight<T>),
}

struct RemoteRight<T> {
    answers: Arc<dyn Answers>,
    correlation: u64,
    encode: fn(&T, &mut Vec<u8>, usize) -> Result<(), codec::EncodeError>,
}

impl<T> Reply<T> {
    pub(crate) fn local(cell: Arc<ReplyCell<T>>) -> Self {
        Self { right: Mutex::new(Some(Right::Local(cell))) }
    }

    /// Answers. Where the asker no longer waits, the answer is dropped; where an answer cannot be
    /// encoded or is too large for the link, the asker gets an error that says so.
    pub fn send(mut self, answer: T) {
        match self.right.get_mut().take() {
            Some(Right::Local(cell)) => cell.resolve(Ok(answer)),
            Some(Right::Remote(RemoteRight { answers, correlation, encode })) => {
                let mut encode: Encode<'_> = &mut |buffer, max| encode(&answer, buffer, max);
                answers.answer(correlation, &mut encode);
            }
            None => {}
        }
    }

    /// Whether the asker is known to have given up: a long job need not go on.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &*self.right.lock() {
            Some(Right::Local(cell)) => cell.abandoned.load(Ordering::Acquire),
            Some(Right::Remote(right)) => right.answers.is_cancelled(right.correlation),
            None => true,
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        match self.right.get_mut().take() {
            Some(Right::Local(cell)) => cell.resolve(Err(AskError::Dropped)),
            Some(Right::Remote(right)) => {
                right.answers.refuse(right.correlation, Unanswered::Dropped);
            }
            None => {}
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.right.lock() {
            Some(Right::Local(_)) => "local",
            Some(Right::Remote(_)) => "remote",
            None => "spent",
        };
        f.debug_tuple("Reply").field(&state).finish()
    }
}

impl<T: DeserializeOwned + Send + 'static> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::with(|wire| {
            let mut right = self.right.lock();
            let pending: Arc<dyn Pending> = match right.take() {
                Some(Right::Local(cell)) => cell,
                // The asker is elsewhere: this node stands between and passes the answer on as it is.
                Some(Right::Remote(right)) => {
                    Arc::new(Relay::new(right.answers, right.correlation))
                }
                None => return Err(S::Error::custom("this reply was already sent elsewhere")),
            };
            let correlation = wire.expect_answer(pending).map_err(S::Error::custom)?;
            serializer.serialize_u64(correlation)
        })
        .unwrap_or_else(|| {
            Err(S::Error::custom("a reply can travel only in a message to an actor"))
        })
    }
}

impl<'de, T: Serialize + Send + 'static> Deserialize<'de> for Reply<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let correlation = <u64 as Deserialize>::deserialize(deserializer)?;
        wire::with(|wire| {
            let answers = wire.answers(correlation).map_err(D::Error::custom)?;
            let right = RemoteRight { answers, correlation, encode: codec::encode::<T> };
            Ok(Self { right: Mutex::new(Some(Right::Remote(right))) })
        })
        .unwrap_or_else(|| {
            Err(D::Error::custom("a reply can travel only in a message to an actor"))
        })
    }
}

/// What a deadline further off than the clock can say comes down to.
const FAR_OFF: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Where an answer waits for its asker.
pub(crate) struct ReplyCell<T> {
    state: Mutex<State<T>>,
    within: Duration,
    until: Instant,
    /// Set when nothing can come any more, and all that came from elsewhere was let go.
    settled: AtomicBool,
    abandoned: AtomicBool,
    taken: AtomicBool,
}

struct State<T> {
    outcome: Option<Result<T, AskError>>,
    resolved: bool,
    waker: Option<Waker>,
    /// Where the question went, if it left this node: the slot that it holds there can be freed.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> ReplyCell<T> {
    pub(crate) fn new(within: Duration) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            within,
            until: now.checked_add(within).unwrap_or_else(|| now + FAR_OFF),
            settled: AtomicBool::new(false),
            state: Mutex::new(State { outcome: None, resolved: false, waker: None, cancel: None }),
            abandoned: AtomicBool::new(false),
            taken: AtomicBool::new(false),
        })
    }

    /// Sets the outcome; a second one is dropped.
    fn resolve(&self, outcome: Result<T, AskError>) {
        let mut state = self.state.lock();
        if state.resolved {
            // The value may be the user's: drop it outside the lock.
            drop(state);
            drop(outcome);
            return;
        }
        state.resolved = true;
        state.outcome = Some(outcome);
        let cancel = state.cancel.take();
        let waker = state.waker.take();
        self.settled.store(true, Ordering::Release);
        drop(state);
        drop(cancel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When it is too late for an answer.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, AskError>> {
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

    /// The asker waits no more.
    pub(crate) fn abandon(&self) {
        self.give_up(None);
    }

    /// Ends the wait from within (`None`) or with an error from without.
    fn give_up(&self, why: Option<AskError>) {
        let mut state = self.state.lock();
        if state.resolved && why.is_some() {
            return;
        }
        self.abandoned.store(true, Ordering::Release);
        let cancel = if state.resolved { None } else { state.cancel.take() };
        state.resolved = true;
        let outcome = std::mem::replace(&mut state.outcome, why.map(Err));
        let waker = state.waker.take();
        self.settled.store(true, Ordering::Release);
        drop(state);
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(cancel) = cancel {
            cancel();
        }
    }
}

impl<T: Send> Asker for ReplyCell<T> {
    fn taken(&self) {
        self.taken.store(true, Ordering::Release);
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    fn until(&self) -> Instant {
        self.until
    }

    fn expire(&self) {
        self.give_up(Some(AskError::TimedOut(self.within)));
    }

    fn closed(&self) {
        if !self.taken.load(Ordering::Acquire) {
            self.give_up(Some(AskError::Closed));
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Pending for ReplyCell<T> {
    fn answer(&self, bytes: &[u8], limits: Limits) {
        let outcome = codec::decode(bytes, limits);
        self.resolve(outcome.map_err(|why| AskError::Undecodable(why.to_string())));
    }

    fn fail(&self, why: Unanswered) {
        self.resolve(Err(why.into()));
    }

    fn on_cancel(&self, cancel: Box<dyn FnOnce() + Send>) {
        let mut state = self.state.lock();
        if !state.resolved {
            state.cancel = Some(cancel);
        } else {
            let gone = self.abandoned.load(Ordering::Acquire);
            drop(state);
            if gone {
                cancel();
            }
        }
    }
}

/// An answer that this node passes on to another without decoding it.
struct Relay {
    answers: Arc<dyn Answers>,
    correlation: u64,
    done: AtomicBool,
}

impl Relay {
    fn new(answers: Arc<dyn Answers>, correlation: u64) -> Self {
        Self { answers, correlation, done: AtomicBool::new(false) }
    }
}

impl Pending for Relay {
    fn answer(&self, bytes: &[u8], _: Limits) {
        if !self.done.swap(true, Ordering::AcqRel) {
            let mut encode: Encode<'_> = &mut |buffer, max| {
                if bytes.len() > max {
                    return Err(codec::EncodeError::TooLarge { bytes_max: max });
                }
                buffer.extend_from_slice(bytes);
                Ok(())
            };
            self.answers.answer(self.correlation, &mut encode);
        }
    }

    fn fail(&self, why: Unanswered) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.answers.refuse(self.correlation, why);
        }
    }

    fn on_cancel(&self, _: Box<dyn FnOnce() + Send>) {}
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !*self.done.get_mut() {
            self.answers.refuse(self.correlation, Unanswered::Dropped);
        }
    }
}
