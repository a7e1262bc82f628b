//! What came over links for an actor that was between two lives.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::kept::Contents;
use crate::wire::MESSAGE_COSTS_BYTES;

/// The bytes that may wait for an actor's next life, each message counted as its encoding and
/// [`MESSAGE_COSTS_BYTES`] more: a quarter of a link's usual window, so that an actor which takes long
/// to come back does not use up what its senders' nodes may send to all others.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What came over links for an actor that was between two lives, in its order: the next life gets it.
///
/// A local sender waits for the next life with its message in its own hands. What came over a link
/// cannot: whoever waits there is the link's task, and with it everybody else's messages. So it waits
/// here, holding its link's credit as it would in a mailbox, and up to a bound of its own. (What an ending
/// actor has refused waits without, and so does what fits of a run that does not all fit.)
pub(crate) struct Arrivals<M>(Mutex<Waiting<M>>);

struct Waiting<M> {
    messages: VecDeque<(Contents<M>, usize)>,
    bytes: usize,
}

/// Where a message cannot go in, or not now.
pub(crate) enum Barrier {
    /// The actor is between two lives.
    Absent,
    /// It will not come back.
    Gone,
}

/// Why a message was not taken. It comes back.
pub(crate) enum NotTaken<M> {
    /// So much waits already.
    Full(Contents<M>),
    /// The actor will not come back.
    Gone(Contents<M>),
}

impl<M> Arrivals<M> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Waiting { messages: VecDeque::new(), bytes: 0 }))
    }

    /// Takes a message of so many bytes that `send` has no place for.
    ///
    /// `send` is tried once more under the lock, which [`Self::pass_on`] holds while a new life gets
    /// what waits: so nothing overtakes that, and nothing is left behind. Nothing of the user's may
    /// run in it.
    pub(crate) fn take(
        &self,
        contents: Contents<M>,
        bytes: usize,
        send: impl FnOnce(Contents<M>) -> Result<(), (Contents<M>, Barrier)>,
    ) -> Result<(), NotTaken<M>> {
        let mut waiting = self.0.lock();
        let Err((contents, barrier)) = send(contents) else { return Ok(()) };
        let bytes = bytes + MESSAGE_COSTS_BYTES as usize;
        match barrier {
            Barrier::Gone => Err(NotTaken::Gone(contents)),
            Barrier::Absent if waiting.bytes + bytes > WAITING_BYTES_MAX => {
                Err(NotTaken::Full(contents))
            }
            Barrier::Absent => {
                waiting.bytes += bytes;
                waiting.messages.push_back((contents, bytes));
                Ok(())
            }
        }
    }

    /// Sends to a new life what waits, until it takes no more; `then` makes it known to all.
    pub(crate) fn pass_on(
        &self,
        mut send: impl FnMut(Contents<M>) -> Result<(), Contents<M>>,
        then: impl FnOnce(),
    ) {
        let mut waiting = self.0.lock();
        while let Some((contents, bytes)) = waiting.messages.pop_front() {
            if let Err(contents) = send(contents) {
                waiting.messages.push_front((contents, bytes));
                break;
            }
            waiting.bytes -= bytes;
        }
        if waiting.messages.is_empty() {
            waiting.messages = VecDeque::new();
        }
        then();
    }

    /// Takes all out: there will be no next life.
    pub(crate) fn close(&self) -> VecDeque<(Contents<M>, usize)> {
        let mut waiting = self.0.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.messages)
    }
}
