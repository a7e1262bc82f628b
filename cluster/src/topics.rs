//! Publish and subscribe over all linked nodes.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use umbel_actors::codec::EncodeError;
use umbel_actors::wire::{
    self, ActorPath, Answers, Deliver, Imported, Pending, RouteError, Wire, WireError,
};
use umbel_actors::{
    Address, Forwarding, Message, Overflow, RemoteMessage, SUBSCRIPTION_CAPACITY, Subscription,
    Topic,
};
use umbel_protocol::{InterestInput, ReplicaError, TextError, Topic as TopicName};

use crate::home::NodeHome;
use crate::lane::{Home, Publication};
use crate::node::Node;

/// A topic over all linked nodes: what is published goes once to each node that has subscribers, and
/// there to each of them, in the publisher's order.
///
/// A subscriber hears what is published after its node's interest has reached the publisher's node;
/// what is published while two nodes are not linked does not reach the other one.
pub struct ClusterTopic<T: RemoteMessage + Clone> {
    home: Arc<NodeHome>,
    name: TopicName,
    here: Topic<T>,
    wire: Arc<dyn Wire>,
}

/// Why there is no such topic.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The name is not allowed.
    #[error("not allowed as a topic's name: {0}")]
    Name(#[from] TextError),
    /// The topic carries other messages on this node.
    #[error("topic {topic:?} carries messages of type {carries} here, not {wanted}")]
    OtherMessages {
        /// The topic.
        topic: String,
        /// What it carries.
        carries: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// This node subscribes to as many topics as it may.
    #[error(transparent)]
    TooMany(#[from] ReplicaError),
}

/// Why something was not published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It cannot be encoded, or is larger than a frame. Nobody was told.
    #[error("it was published to nobody: {0}")]
    Unencodable(#[from] EncodeError),
}

/// How far something that was published went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Subscribers on this node that have it in their queue.
    pub subscribers_here: usize,
    /// Other nodes that it was sent to.
    pub nodes: usize,
    /// Other nodes that were interested, and whose link was lost before it could be sent.
    pub nodes_lost: usize,
}

/// Where what is published elsewhere goes.
pub(crate) trait Sink: Send + Sync {
    fn publication(&self, publication: &Publication<'_>);
    /// The type of message and its fingerprint.
    fn schema(&self) -> (&'static str, u32);
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
}

struct TypedSink<T: RemoteMessage + Clone> {
    here: Topic<T>,
    wire: Arc<dyn Wire>,
}

impl Node {
    /// The topic of this name.
    ///
    /// # Errors
    /// [`TopicError`]
    pub fn topic<T: RemoteMessage + Clone>(
        &self,
        name: &str,
    ) -> Result<ClusterTopic<T>, TopicError> {
        let home = self.home().clone();
        let topic = TopicName::new(name)?;
        let wire: Arc<dyn Wire> = Arc::new(PublicWire(home.clone()));
        let mut sinks = home.sinks.lock();
        let sink = sinks
            .entry(name.to_owned())
            .or_insert_with(|| {
                Arc::new(TypedSink::<T> { here: Topic::new(name), wire: wire.clone() })
            })
            .clone();
        drop(sinks);
        let (carries, _) = sink.schema();
        let Ok(sink) = sink.as_any().downcast::<TypedSink<T>>() else {
            let (topic, wanted) = (name.to_owned(), T::NAME);
            return Err(TopicError::OtherMessages { topic, carries, wanted });
        };
        Ok(ClusterTopic { here: sink.here.clone(), home, name: topic, wire })
    }
}

impl<T: RemoteMessage + Clone> ClusterTopic<T> {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Publishes. Waits while an interested node gives no credit, until it does or its link is lost.
    ///
    /// # Errors
    /// [`PublishError`]; nobody was told.
    pub async fn publish(&self, message: T) -> Result<Published, PublishError> {
        let mut published = Published::default();
        let nodes = self.home.interested(self.name.as_str());
        if !nodes.is_empty() {
            let mut payload = Vec::new();
            let max = self.home.config.frame_bytes_max.saturating_sub(512);
            wire::scope(&self.wire, || umbel_actors::codec::encode(&message, &mut payload, max))?;
            for node in nodes {
                let peer = self.home.peer(&node);
                loop {
                    match peer.try_publish(self.name.as_str(), T::FINGERPRINT, &payload) {
                        Ok(()) => published.nodes += 1,
                        Err(RouteError::Full) => {
                            peer.room().await;
                            continue;
                        }
                        Err(_) => published.nodes_lost += 1,
                    }
                    break;
                }
            }
        }
        published.subscribers_here = self.here.publish(message);
        Ok(published)
    }

    /// Subscribes with a queue of [`SUBSCRIPTION_CAPACITY`] messages that drops the oldest.
    ///
    /// # Errors
    /// [`TopicError::TooMany`]
    pub fn subscribe(&self) -> Result<ClusterSubscription<T>, TopicError> {
        self.subscribe_with(SUBSCRIPTION_CAPACITY, Overflow::default())
    }

    /// Subscribes with a queue of `capacity` messages.
    ///
    /// # Errors
    /// [`TopicError::TooMany`]
    pub fn subscribe_with(
        &self,
        capacity: usize,
        overflow: Overflow,
    ) -> Result<ClusterSubscription<T>, TopicError> {
        let queue = self.here.subscribe_with(capacity, overflow);
        Ok(ClusterSubscription { queue, _interest: self.interest()? })
    }

    /// Has every message put into an actor's mailbox, as [`Topic::forward`] does.
    ///
    /// # Errors
    /// [`TopicError::TooMany`]
    pub fn forward<M: Message>(
        &self,
        to: &Address<M>,
        map: impl Fn(T) -> M + Send + 'static,
    ) -> Result<ClusterForwarding, TopicError> {
        let interest = self.interest()?;
        Ok(ClusterForwarding { forwarding: self.here.forward(to, map), _interest: interest })
    }

    fn interest(&self) -> Result<NodesInterest, TopicError> {
        self.home.interest(InterestInput::Subscribe { topic: self.name.clone() })?;
        Ok(NodesInterest { home: self.home.clone(), topic: self.name.clone() })
    }
}

/// Lets other nodes know for as long as it lives that this one wants to hear.
struct NodesInterest {
    home: Arc<NodeHome>,
    topic: TopicName,
}

impl Drop for NodesInterest {
    fn drop(&mut self) {
        // Taking away what is there cannot fail for want of room.
        let _ = self.home.interest(InterestInput::Unsubscribe { topic: self.topic.clone() });
    }
}

/// A queue of what is published to a topic, on any node. Dropping it unsubscribes.
pub struct ClusterSubscription<T> {
    queue: Subscription<T>,
    _interest: NodesInterest,
}

impl<T> ClusterSubscription<T> {
    /// The next message, or `None` when there will be no more: the subscriber was disconnected.
    ///
    /// Can be cancelled without losing a message.
    pub async fn recv(&mut self) -> Option<T> {
        self.queue.recv().await
    }

    /// The next message if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.queue.try_recv()
    }

    /// How many messages this subscriber lost because its queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }
}

/// A topic's messages on their way into an actor's mailbox. Dropping it unsubscribes.
pub struct ClusterForwarding {
    forwarding: Forwarding,
    _interest: NodesInterest,
}

impl ClusterForwarding {
    /// How many messages were dropped because the mailbox was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.forwarding.lost()
    }
}

impl<T: RemoteMessage + Clone> Sink for TypedSink<T> {
    fn publication(&self, publication: &Publication<'_>) {
        if publication.schema != T::FINGERPRINT {
            return tracing::debug!(
                target: "umbel", topic = self.here.name(),
                "a publication of another definition of the message was dropped"
            );
        }
        let decode = || umbel_actors::codec::decode::<T>(publication.payload, publication.limits);
        let decode = || wire::scope(&self.wire, decode);
        // A `Deserialize` that panics may not end the lane.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)) {
            Ok(Ok(message)) => {
                self.here.publish(message);
            }
            Ok(Err(why)) => {
                tracing::debug!(target: "umbel", topic = self.here.name(), %why, "undecodable");
            }
            Err(_) => {
                tracing::debug!(target: "umbel", topic = self.here.name(), "decoding panicked");
            }
        }
    }

    fn schema(&self) -> (&'static str, u32) {
        (T::NAME, T::FINGERPRINT)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }
}

/// What is published carries addresses, but no replies: who of many would answer?
struct PublicWire(Arc<NodeHome>);

impl Wire for PublicWire {
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath {
        self.0.export(actor)
    }

    fn import(&self, path: &ActorPath) -> Result<Imported, WireError> {
        self.0.import(path)
    }

    fn expect_answer(&self, _: Arc<dyn Pending>) -> Result<u64, WireError> {
        Err(WireError::Published)
    }

    fn answers(&self, _: u64) -> Result<Arc<dyn Answers>, WireError> {
        Err(WireError::Published)
    }
}

impl<T: RemoteMessage + Clone> Clone for ClusterTopic<T> {
    fn clone(&self) -> Self {
        Self {
            home: self.home.clone(),
            name: self.name.clone(),
            here: self.here.clone(),
            wire: self.wire.clone(),
        }
    }
}

impl<T: RemoteMessage + Clone> fmt::Debug for ClusterTopic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterTopic").field(&self.name).finish()
    }
}

impl<T> fmt::Debug for ClusterSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSubscription").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClusterForwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterForwarding").field("lost", &self.lost()).finish_non_exhaustive()
    }
}
