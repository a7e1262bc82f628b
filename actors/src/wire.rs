//! The seam between actors and the links of a cluster: what `umbel-cluster` implements so that
//! addresses and replies mean the same on every node.
//!
//! Nothing here is needed to use actors on one machine.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::codec::{EncodeError, Limits};
pub use crate::parcel::{Charge, Credit, current_trace, published, traced};
use crate::watch::Watch;

/// What a message from another node counts for beside the bytes of its frame, while it lies in a mailbox. A
/// part of the protocol: both ends count with it.
///
/// In memory it is less: ractor's envelope, and the boxes that it points at, some 256 bytes. But without it,
/// the credit of 4 MiB would be 140,000 messages of 16 bytes, and 100 ms of waiting in the mailbox of an actor
/// that is kept busy, where now there are 1 to 3; for a rate that is lower, since what waits there falls out
/// of the cache.
pub const MESSAGE_COSTS_BYTES: u64 = 1280;

/// Writes one value behind what the buffer holds, using at most so many bytes.
pub type Encode<'a> = &'a mut dyn FnMut(&mut Vec<u8>, usize) -> Result<(), EncodeError>;

/// Where an actor lives: which life of which node, and which actor there.
///
/// `actor` names an actor of that life only. (Entities, named by type and key, will be a second
/// kind of target in the envelope.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorPath {
    /// The node's name.
    pub node: Arc<str>,
    /// Which life of the node.
    pub incarnation: u64,
    /// The actor's number in that life.
    pub actor: u64,
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}/{}", self.node, self.incarnation, self.actor)
    }
}

/// The link that a message is being encoded for, or decoded from.
pub trait Wire: Send + Sync {
    /// Makes a local actor reachable for other nodes, and says under which path.
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath;

    /// What the path of an actor means here.
    ///
    /// # Errors
    /// Where no such node can be.
    fn import(&self, path: &ActorPath) -> Result<Imported, WireError>;

    /// Notes that the message asks a question, and under which correlation id.
    ///
    /// # Errors
    /// [`WireError::TooManyAsks`] where the link's bound on open questions is reached.
    fn expect_answer(&self, pending: Arc<dyn Pending>) -> Result<u64, WireError>;

    /// The way back for the answer to a question that came in this message.
    ///
    /// # Errors
    /// [`WireError::UnknownCorrelation`] where the message's header does not name it.
    fn answers(&self, correlation: u64) -> Result<Arc<dyn Answers>, WireError>;
}

/// What is found at a path.
#[derive(Clone)]
pub enum Imported {
    /// An actor of this node.
    Here(Arc<dyn Deliver>),
    /// An actor of this node that is gone.
    Gone,
    /// An actor of another node.
    There(Arc<dyn Route>),
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here",
            Self::Gone => "Gone",
            Self::There(_) => "There",
        })
    }
}

/// Why an address or a reply could not become part of a frame, or come out of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bound on questions that wait for an answer over one link is reached.
    #[error("{max} asks over this link already wait for their answers")]
    TooManyAsks {
        /// The bound.
        max: usize,
    },
    /// The frame's header does not name the correlation id that its body uses.
    #[error("correlation id {0} is not in the frame's header")]
    UnknownCorrelation(u64),
    /// What is published goes to many: none of them could be the one to answer.
    #[error("a reply cannot travel in what is published")]
    Published,
    /// The path names no node that could be.
    #[error("the address names an impossible node: {0}")]
    BadNode(String),
}

/// The way to the actors of one other node.
pub trait Route: Send + Sync + 'static {
    /// Encodes one message and puts it on its way, or says why not. Never waits.
    ///
    /// # Errors
    /// [`RouteError`]; nothing was sent.
    fn try_send(&self, to: &ActorPath, schema: u32, encode: Encode<'_>) -> Result<(), RouteError>;

    /// Ends when it is worth trying again after [`RouteError::Full`]; polled by the task that tries.
    fn room(&self, to: &ActorPath) -> BoxFuture<'_, ()>;

    /// Watches an actor of that node.
    fn watch(&self, to: &ActorPath) -> Watch;
}

/// Why a message could not be put on its way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The receiver's credit is used up.
    #[error("the receiving node has not yet worked off what it was sent")]
    Full,
    /// It is large, encoded, and waits for the receiver's credit.
    #[error("the receiving node has not yet worked off what it was sent")]
    Waits(Waits),
    /// There is no link to the node.
    #[error("node {0} cannot be reached")]
    Unreachable(String),
    /// The message cannot be encoded, or not within the link's limit on messages.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The bound on open questions is reached.
    #[error("{max} asks over this link already wait for their answers")]
    TooManyAsks {
        /// The bound.
        max: usize,
    },
}

/// A large message that is encoded and waits for the receiver's credit: awaited, it is put on its way
/// as soon as there is some; dropped, it is not sent.
pub struct Waits(BoxFuture<'static, Result<(), RouteError>>);

impl Waits {
    /// What is done when there is credit.
    pub fn new(sent: impl Future<Output = Result<(), RouteError>> + Send + 'static) -> Self {
        Self(Box::pin(sent))
    }
}

impl Future for Waits {
    type Output = Result<(), RouteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waits")
    }
}

/// A local actor as a link sees it.
pub trait Deliver: Any + Send + Sync {
    /// The actor's number in its system.
    fn id(&self) -> u64;

    /// The name and the fingerprint of the messages that it takes.
    fn schema(&self) -> (&'static str, u32);

    /// Decodes a run of messages, one behind the other, and puts them into the mailbox. Runs in the link's
    /// [`scope`]. Their charge is dropped when the actor takes the last of them, or does not get it. Says of
    /// each that it does not get why.
    fn deliver(
        &self,
        run: &[&[u8]],
        schema: u32,
        limits: Limits,
        charge: Charge,
    ) -> Vec<Unanswered>;

    /// Watches the actor's present incarnation.
    fn watch(&self) -> Watch;

    /// Ends when the actor gets on with its work: at once where it would take the next message now,
    /// else when the hook that runs has ended, or, between two lives, when the next one has begun.
    fn gets_on(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// How many messages wait for it.
    fn depth(&self) -> u64;

    /// Kills the actor's present incarnation. False where there is none.
    fn kill(&self) -> bool;

    /// Runs `then` when the actor is gone for good, restarts included; at once if it is already.
    fn on_gone(&self, then: Box<dyn FnOnce() + Send>);

    /// For downcasting.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A question that waits for its answer on this node.
pub trait Pending: Send + Sync {
    /// Here is the answer.
    fn answer(&self, bytes: &[u8], limits: Limits);

    /// There will be none.
    fn fail(&self, why: Unanswered);

    /// Leaves word what to do when the asker gives up.
    fn on_cancel(&self, cancel: Box<dyn FnOnce() + Send>);

    /// When the asker gives up by itself, where that is known. It travels with the question.
    fn until(&self) -> Option<Instant> {
        None
    }
}

/// The way back over a link.
pub trait Answers: Send + Sync {
    /// Sends an answer.
    fn answer(&self, correlation: u64, encode: Encode<'_>);

    /// Says that there will be none.
    fn refuse(&self, correlation: u64, why: Unanswered);

    /// Whether the asker is known to have given up.
    fn is_cancelled(&self, correlation: u64) -> bool;

    /// When the asker gives up by itself, where that is known: the deadline that came with the
    /// question, by this node's clock.
    fn until(&self, _correlation: u64) -> Option<Instant> {
        None
    }

    /// Leaves word what to do when the asker gives up before it is answered, or the way back is lost.
    /// A link that cannot tell drops it.
    fn on_cancel(&self, _correlation: u64, _cancel: Box<dyn FnOnce() + Send>) {}
}

/// Why a question that reached its node, or was on its way there, got no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Unanswered {
    /// The actor dropped the reply: it crashed, stopped, or did not care to answer.
    #[error("the reply was dropped without an answer")]
    Dropped,
    /// There is no such actor.
    #[error("there is no such actor")]
    NoSuchActor,
    /// The question or the answer could not be decoded.
    #[error("it could not be decoded: {0}")]
    Undecodable(String),
    /// The answer could not be encoded, or is too large.
    #[error("the answer could not be encoded: {0}")]
    Unencodable(String),
    /// The actor has more waiting than it may.
    #[error("the actor is overloaded")]
    Overloaded,
    /// The link to the node was lost while the question was under way.
    #[error("the link to node {0} was lost")]
    LinkLost(String),
    /// The actor is between two lives.
    #[error("the actor is being restarted")]
    Restarting,
    /// Its deadline had passed, or its asker was gone, before an actor took it: it was not handled.
    #[error("its deadline passed before it was taken")]
    Expired,
}

impl Unanswered {
    /// The user's code panicked while it was decoded.
    #[must_use]
    pub fn panicked() -> Self {
        Self::Undecodable("decoding it panicked".to_owned())
    }
}

scoped_tls::scoped_thread_local!(static WIRE: Arc<dyn Wire>);

/// Encodes or decodes within a link: addresses and replies find their way through `wire`.
///
/// Scopes nest; the inner one counts.
pub fn scope<R>(wire: &Arc<dyn Wire>, work: impl FnOnce() -> R) -> R {
    WIRE.set(wire, work)
}

pub(crate) fn with<R>(work: impl FnOnce(&dyn Wire) -> R) -> Option<R> {
    if WIRE.is_set() { Some(WIRE.with(|wire| work(&**wire))) } else { None }
}
