//! Messages that were accepted and that no actor handled.

use std::fmt;
use std::sync::Arc;

use crate::watch::Exit;

/// One or more messages that were accepted, and that no actor handled.
///
/// A message that could not be sent is no dead letter: its sender has it back, in the error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The name of the actor, or its address.
    pub to: Arc<str>,
    /// The messages' type.
    pub message: Arc<str>,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: DeadLetterReason,
}

/// Why a message was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// It lay unread in the mailbox when the actor ended.
    Unread(Exit),
    /// A timer fired when the message could not be sent.
    Timer(&'static str),
    /// The other node says why it did not deliver it.
    Refused(crate::wire::Unanswered),
    /// It came from another node, for a reason that the sender was told too.
    Undeliverable(crate::wire::Unanswered),
}

/// What an ended actor left in its mailbox.
pub(crate) struct Unread<'a> {
    pub(crate) to: &'a Arc<str>,
    pub(crate) message: &'static str,
    pub(crate) count: u64,
    pub(crate) why: &'a Exit,
}

impl DeadLetter {
    /// A dead letter to `to`.
    pub fn new(
        to: impl Into<Arc<str>>,
        message: impl Into<Arc<str>>,
        count: u64,
        why: DeadLetterReason,
    ) -> Self {
        Self { to: to.into(), message: message.into(), count, why }
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} to {}: {}", self.count, self.message, self.to, self.why)
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(exit) => write!(f, "unread when the actor ended ({exit})"),
            Self::Timer(why) => write!(f, "sent by a timer, but {why}"),
            Self::Refused(why) => write!(f, "refused by the other node: {why}"),
            Self::Undeliverable(why) => write!(f, "came from another node, but {why}"),
        }
    }
}
