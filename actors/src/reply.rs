//! The right to answer a question, once.

mod cell;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    // `Serialize` has only `&self`, and encoding hands the right over to the link.
    right: Mutex<Option<Right<T>>>,
}

enum Right<T> {
    Local(Arc<ReplyCell<T>>),
    /// Boxed, for a message is moved many times on its way, and most stay here.
    Remote(Box<RemoteRight<T>>),
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
            Some(Right::Remote(right)) => {
                let RemoteRight { answers, correlation, encode } = *right;
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
            Some(Right::Local(cell)) => cell.is_abandoned(),
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
            Ok(Self { right: Mutex::new(Some(Right::Remote(Box::new(right)))) })
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
