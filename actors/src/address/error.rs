use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::codec::EncodeError;
use crate::wire::Unanswered;

/// Why a message was not sent. It is handed back: nothing was lost.
#[derive(Error)]
#[non_exhaustive]
pub enum TellError<M> {
    /// There is no room: the mailbox is full, or the receiving node has given no credit. Only
    /// [`Address::try_tell`](crate::Address::try_tell) says so; [`Address::tell`](crate::Address::tell) waits.
    ///
    /// A message that is large, and for another node, was encoded before that was known: a
    /// [`Reply`](crate::Reply) within it is spent, and its asker told that it was dropped.
    #[error("there is no room for the message, which was not sent; wait for room with `tell`")]
    Full(M),
    /// The actor is between two lives. Only [`Address::try_tell`](crate::Address::try_tell) says so.
    #[error("the actor is being restarted; the message was not sent")]
    Restarting(M),
    /// The actor has ended and will not come back.
    #[error("the actor has ended; the message was not sent")]
    Closed(M),
    /// There is no link to that life of the actor's node. Where the node was restarted since, the
    /// address is of an actor that is gone: resolve its name again.
    #[error(
        "node {node} cannot be reached, or was restarted since: then resolve the name again; the \
         message was not sent"
    )]
    Unreachable {
        /// The message. A [`Reply`](crate::Reply) within it may be spent.
        message: M,
        /// The node.
        node: String,
    },
    /// The message is larger than one may be, or its `Serialize` failed.
    #[error("the message was not sent: {why}")]
    Unencodable {
        /// The message. A [`Reply`](crate::Reply) within it may be spent.
        message: M,
        /// The cause.
        why: EncodeError,
    },
    /// Too many asks wait for their answers over this link.
    #[error("{max} asks over this link already wait; the message was not sent")]
    TooManyAsks {
        /// The message. A [`Reply`](crate::Reply) within it may be spent.
        message: M,
        /// The bound.
        max: usize,
    },
}

impl<M> TellError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message)
            | Self::Restarting(message)
            | Self::Closed(message)
            | Self::Unreachable { message, .. }
            | Self::Unencodable { message, .. }
            | Self::TooManyAsks { message, .. } => message,
        }
    }
}

impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Restarting(_) => "Restarting",
            Self::Closed(_) => "Closed",
            Self::Unreachable { .. } => "Unreachable",
            Self::Unencodable { .. } => "Unencodable",
            Self::TooManyAsks { .. } => "TooManyAsks",
        })
    }
}

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The actor's life ended before it took the question, which will not be handled. It is safe to
    /// ask again: where a supervisor starts the actor anew, its next life answers.
    #[error("the actor ended before it took the question, which will not be handled")]
    Closed,
    /// The deadline passed. Whether the question was handled is unknown; where the actor has not taken
    /// it yet, it will not be.
    #[error("no answer within {0:?}; whether the question was handled is unknown")]
    TimedOut(Duration),
    /// The deadline passed before there was room for the question in the mailbox, credit on the link,
    /// or a life of the actor to take it. It was not sent.
    #[error("no room for the question within {0:?}; it was not sent")]
    NoRoom(Duration),
    /// The actor took the question and dropped the reply: it crashed, or chose not to answer.
    #[error("the actor dropped the reply without an answer")]
    Dropped,
    /// There is no such actor on its node; the question was not handled.
    #[error("there is no such actor on its node")]
    NoSuchActor,
    /// The question or the answer could not be decoded, and why.
    #[error("it could not be decoded: {0}")]
    Undecodable(String),
    /// The question could not be encoded, or is too large for a frame; it was not sent.
    #[error("the question could not be encoded and was not sent: {0}")]
    Unencodable(String),
    /// The actor has answered, but the answer could not be encoded, or is too large for a frame.
    #[error("the question was answered, but the answer could not be encoded: {0}")]
    AnswerUnencodable(String),
    /// The actor or the link has more questions waiting than it may; this one was not handled.
    #[error("the actor or the link to it is overloaded; the question was not handled")]
    Overloaded,
    /// There is no link to that life of the node; the question was not sent. Where the node was
    /// restarted since, the address is of an actor that is gone: resolve its name again.
    #[error(
        "node {0} cannot be reached, or was restarted since: then resolve the name again; the \
         question was not sent"
    )]
    Unreachable(String),
    /// The link was lost while the question was under way.
    #[error("the link to node {0} was lost; whether the question was handled is unknown")]
    LinkLost(String),
    /// The actor, on another node, is between two lives; the question was not handled.
    #[error("the actor is being restarted; the question was not handled")]
    Restarting,
}

impl AskError {
    /// What the asker is told who would have waited so long.
    pub(crate) fn unanswered(why: Unanswered, within: Duration) -> Self {
        match why {
            Unanswered::Dropped => Self::Dropped,
            Unanswered::NoSuchActor => Self::NoSuchActor,
            Unanswered::Undecodable(why) => Self::Undecodable(why),
            Unanswered::Unencodable(why) => Self::AnswerUnencodable(why),
            Unanswered::Overloaded => Self::Overloaded,
            Unanswered::LinkLost(node) => Self::LinkLost(node),
            Unanswered::Restarting => Self::Restarting,
            Unanswered::Expired => Self::TimedOut(within),
        }
    }
}

impl<M> From<TellError<M>> for AskError {
    fn from(why: TellError<M>) -> Self {
        match why {
            TellError::Closed(_) | TellError::Restarting(_) => Self::Closed,
            TellError::Full(_) | TellError::TooManyAsks { .. } => Self::Overloaded,
            TellError::Unreachable { node, .. } => Self::Unreachable(node),
            TellError::Unencodable { why, .. } => Self::Unencodable(why.to_string()),
        }
    }
}
