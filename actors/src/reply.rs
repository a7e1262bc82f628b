//! The right to answer a question, once.

mod cell;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::Instant;

pub(crate) use self::cell::ReplyCell;
use crate::address::AskError;
use crate::codec::{self, Limits};
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
    // Small, and of two words: it is in a message that is moved many times. `Serialize` has only `&self`,
    // and encoding hands the right over to the link; so that is noted behind the pointer, where whoever
    // answers looks anyway, and not by a lock in here.
    right: Right<T>,
}

enum Right<T> {
    Local(Arc<ReplyCell<T>>),
    /// Behind a pointer, for a message is moved many times on its way, and most stay here; shared
    /// with the mailbox, which looks whether anybody still waits.
    Remote(Arc<RemoteRight<T>>),
}

struct RemoteRight<T> {
    answers: Arc<dyn Answers>,
    correlation: u64,
    until: Option<Instant>,
    /// Whether it was used, or handed over to a link.
    spent: AtomicBool,
    encode: fn(&T, &mut Vec<u8>, usize) -> Result<(), codec::EncodeError>,
}

/// A question in a message, as the mailbox sees it.
pub(crate) trait Question: Send + Sync {
    /// Whether nobody waits for its answer any more.
    fn is_over(&self) -> bool;
}

impl<T> Question for RemoteRight<T> {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
            || self.answers.is_cancelled(self.correlation)
    }
}

thread_local! {
    /// How many questions were found in the message that this thread decodes just now, if it decodes
    /// one. A look at [`FOUND`], which has a destructor, costs more, and most messages ask nothing.
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
    /// These questions.
    static FOUND: RefCell<Vec<Arc<dyn Question>>> = const { RefCell::new(Vec::new()) };
    /// What the askers are told whose replies this thread drops just now; `None`: that they were
    /// dropped.
    static DROPPED_AS: Cell<Option<&'static Unanswered>> = const { Cell::new(None) };
}

/// Decodes a message by `decode`; the questions that it asks from another node go to the caller.
#[inline]
pub(crate) fn finding<R>(decode: impl FnOnce() -> R) -> (R, Vec<Arc<dyn Question>>) {
    struct Finding;
    impl Drop for Finding {
        fn drop(&mut self) {
            // Something is left where the decoding panicked.
            if COUNTED.take().is_some_and(|found| found > 0) {
                drop(FOUND.take());
            }
        }
    }
    COUNTED.set(Some(0));
    let _finding = Finding;
    let decoded = decode();
    let found = if COUNTED.get() == Some(0) { Vec::new() } else { FOUND.take() };
    (decoded, found)
}

/// Drops what holds replies: their askers are told `why`.
pub(crate) fn dropped_as<T>(why: &'static Unanswered, holding: T) {
    struct Until(Option<&'static Unanswered>);
    impl Drop for Until {
        fn drop(&mut self) {
            DROPPED_AS.set(self.0);
        }
    }
    let _until = Until(DROPPED_AS.replace(Some(why)));
    drop(holding);
}

impl<T> Reply<T> {
    pub(crate) fn local(cell: Arc<ReplyCell<T>>) -> Self {
        Self { right: Right::Local(cell) }
    }

    /// Answers. Where the asker no longer waits, the answer is dropped; where an answer cannot be
    /// encoded or is too large for the link, the asker gets an error that says so.
    #[inline]
    pub fn send(self, answer: T) {
        match &self.right {
            _ if self.is_spent() => {}
            Right::Local(cell) => cell.resolve(|| Ok(answer)),
            Right::Remote(right) => {
                right.spent.store(true, Ordering::Release);
                let mut encode: Encode<'_> =
                    &mut |buffer, max| (right.encode)(&answer, buffer, max);
                right.answers.answer(right.correlation, &mut encode);
            }
        }
    }

    /// Whether the right to answer is no longer here.
    fn is_spent(&self) -> bool {
        self.right.spent().load(Ordering::Acquire)
    }

    /// Whether the asker is known to have given up: a long job need not go on.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.right {
            _ if self.is_spent() => true,
            Right::Local(cell) => cell.is_abandoned(),
            Right::Remote(right) => right.answers.is_cancelled(right.correlation),
        }
    }

    /// When the asker waits no more: the deadline of its [`ask`](crate::Address::ask). `None` where it
    /// is not known: the asker's node does not say it, or the reply was sent elsewhere.
    ///
    /// An asker on another node gives its question the time that was left when the question was put
    /// on its way, after any wait for credit, and this node counts from when it read it. The time
    /// between, in buffers and on the wire, is not counted: the asker is the first to give up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.right {
            _ if self.is_spent() => None,
            Right::Local(cell) => Some(cell.until()),
            Right::Remote(right) => right.until,
        }
    }

    /// How long the asker still waits, none at all once its [deadline](Self::deadline) has passed; of
    /// use to bound what is asked on its behalf. `None` where the deadline is not known.
    ///
    /// ```
    /// # use umbel_actors::{ASK_DEADLINE, Address, AskError, Message, Reply};
    /// # #[derive(Message)]
    /// # enum Stock { Count(Reply<u64>) }
    /// # async fn handle(stock: Address<Stock>, reply: Reply<u64>) -> Result<(), AskError> {
    /// let within = reply.remaining().unwrap_or(ASK_DEADLINE);
    /// reply.send(stock.ask_within(within, Stock::Count).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl<T> Right<T> {
    /// Whether it was handed over to a link; set once.
    fn spent(&self) -> &AtomicBool {
        match self {
            Self::Local(cell) => cell.spent(),
            Self::Remote(right) => &right.spent,
        }
    }

    /// Tells the asker that there will be no answer.
    #[cold]
    fn give_back(&self) {
        let why = DROPPED_AS.get().unwrap_or(&Unanswered::Dropped).clone();
        match self {
            Self::Local(cell) => cell.resolve(|| Err(AskError::unanswered(why, cell.within()))),
            Self::Remote(right) => right.answers.refuse(right.correlation, why),
        }
    }
}

impl<T> Drop for Reply<T> {
    #[inline]
    fn drop(&mut self) {
        let is_answered = matches!(&self.right, Right::Local(cell) if cell.is_settled());
        if !is_answered && !self.is_spent() {
            self.right.give_back();
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.right {
            _ if self.is_spent() => "spent",
            Right::Local(_) => "local",
            Right::Remote(_) => "remote",
        };
        f.debug_tuple("Reply").field(&state).finish()
    }
}

impl<T: DeserializeOwned + Send + 'static> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::with(|wire| {
            if self.right.spent().swap(true, Ordering::AcqRel) {
                return Err(S::Error::custom("this reply was already sent elsewhere"));
            }
            let pending: Arc<dyn Pending> = match &self.right {
                Right::Local(cell) => cell.clone(),
                // The asker is elsewhere: this node stands between and passes the answer on as it is.
                Right::Remote(right) => Arc::new(Relay::new(right)),
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
            let until = answers.until(correlation);
            let (spent, encode) = (AtomicBool::new(false), codec::encode::<T>);
            let right = RemoteRight { answers, correlation, until, spent, encode };
            let right = Arc::new(right);
            if let Some(found) = COUNTED.get() {
                COUNTED.set(Some(found + 1));
                FOUND.with_borrow_mut(|found| found.push(right.clone()));
            }
            Ok(Self { right: Right::Remote(right) })
        })
        .unwrap_or_else(|| {
            Err(D::Error::custom("a reply can travel only in a message to an actor"))
        })
    }
}

/// An answer that this node passes on to another without decoding it.
struct Relay {
    answers: Arc<dyn Answers>,
    correlation: u64,
    until: Option<Instant>,
    done: AtomicBool,
}

impl Relay {
    fn new<T>(right: &RemoteRight<T>) -> Self {
        let RemoteRight { answers, correlation, until, .. } = right;
        Self {
            answers: answers.clone(),
            correlation: *correlation,
            until: *until,
            done: AtomicBool::new(false),
        }
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

    fn on_cancel(&self, cancel: Box<dyn FnOnce() + Send>) {
        self.answers.on_cancel(self.correlation, cancel);
    }

    fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !*self.done.get_mut() {
            self.answers.refuse(self.correlation, Unanswered::Dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_right_that_was_handed_over_is_not_given_back_when_the_message_is_dropped() {
        for is_handed_over in [false, true] {
            let cell =
                ReplyCell::<u8>::new(Duration::from_secs(1), &Context::from_waker(Waker::noop()));
            let reply = Reply::local(cell.clone());
            cell.spent().store(is_handed_over, Ordering::Release);
            assert_eq!(reply.deadline().is_none(), is_handed_over);
            drop(reply);
            assert_eq!(cell.is_settled(), !is_handed_over);
        }
    }

    #[tokio::test]
    async fn an_answer_stands_though_its_reply_is_dropped_with_it() {
        let cx = Context::from_waker(Waker::noop());
        let cell = ReplyCell::new(Duration::from_secs(1), &cx);
        Reply::local(cell.clone()).send(7);
        let outcome = cell.poll(&cx);
        assert!(matches!(outcome, std::task::Poll::Ready(Ok(7))), "{outcome:?}");
    }
}
