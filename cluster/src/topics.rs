//! Publish and subscribe over all linked nodes.

use std::fmt;
use std::sync::{Arc, Weak};

use thiserror::Error;
use umbel_actors::codec::EncodeError;
use umbel_actors::wire::{
    self, ActorPath, Answers, Charge, Deliver, Imported, Pending, RouteError, Wire, WireError,
};
use umbel_actors::{
    Address, Forwarding, Message, Overflow, RemoteMessage, SUBSCRIPTION_CAPACITY, Subscription,
    Topic,
};
use umbel_protocol::{InterestInput, ReplicaError, TextError, Topic as TopicName};

use crate::home::NodeHome;
use crate::lane::{Home, Publication, Target};
use crate::node::Node;

/// A topic over all linked nodes: what is published goes once to each node that has subscribers, and
/// there to each of them, in the publisher's order.
///
/// A subscriber hears what is published after its node's interest has reached the publisher's node;
/// what is published while two nodes are not linked does not reach the other one.
///
/// The node forgets a topic when the last handle, subscription and forwarding of it here is dropped;
/// its name may then carry other messages.
pub struct ClusterTopic<T: RemoteMessage + Clone> {
    name: TopicName,
    sink: Arc<TypedSink<T>>,
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
    /// It cannot be encoded, or is larger than a message may be. Nobody was told.
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
    /// Other nodes that were interested, and whose link was lost before it could be sent, or that
    /// take no message so large.
    pub nodes_lost: usize,
}

/// Where what is published elsewhere goes.
pub(crate) trait Sink: Send + Sync {
    fn publication(&self, publication: &Publication<'_>, charge: Charge);
    /// The type of message and its fingerprint.
    fn schema(&self) -> (&'static str, u32);
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
}

/// A topic on this node: it lasts as long as anybody here publishes to it or subscribes.
struct TypedSink<T: RemoteMessage + Clone> {
    home: Arc<NodeHome>,
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
        let home = self.home();
        let topic = TopicName::new(name)?;
        let sink = {
            let mut sinks = home.sinks.lock();
            sinks.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let sink: Arc<dyn Sink> = Arc::new(TypedSink::<T>::new(home.clone(), name));
                sinks.insert(name.to_owned(), Arc::downgrade(&sink));
                sink
            })
        };
        let (carries, _) = sink.schema();
        let Ok(sink) = sink.as_any().downcast::<TypedSink<T>>() else {
            let (topic, wanted) = (name.to_owned(), T::NAME);
            return Err(TopicError::OtherMessages { topic, carries, wanted });
        };
        Ok(ClusterTopic { name: topic, sink })
    }
}

impl<T: RemoteMessage + Clone> ClusterTopic<T> {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Publishes. Waits while an interested node gives no credit, until it does or its link is lost;
    /// and while a subscriber here has no room and [has others wait](Overflow::Wait) for it.
    ///
    /// # Errors
    /// [`PublishError`]; nobody was told.
    pub async fn publish(&self, message: T) -> Result<Published, PublishError> {
        let mut published = Published::default();
        let TypedSink { home, here, wire } = &*self.sink;
        let nodes = home.interested(self.name.as_str());
        if !nodes.is_empty() {
            let mut payload = Vec::new();
            let max = home.config.message_bytes_max;
            wire::scope(wire, || umbel_actors::codec::encode(&message, &mut payload, max))?;
            let payload = Arc::new(payload);
            for node in nodes {
                let peer = home.peer(&node);
                loop {
                    match peer.try_publish(self.name.as_str(), T::FINGERPRINT, &payload) {
                        Ok(()) => published.nodes += 1,
                        Err(RouteError::Full) => {
                            peer.room(&Target::Topic(self.name.as_str().into())).await;
                            continue;
                        }
                        Err(RouteError::Waits(waits)) => match waits.await {
                            Ok(()) => published.nodes += 1,
                            Err(_) => published.nodes_lost += 1,
                        },
                        Err(_) => published.nodes_lost += 1,
                    }
                    break;
                }
            }
        }
        published.subscribers_here = here.publish_wait(message).await;
        Ok(published)
    }

    /// Subscribes with a queue of [`SUBSCRIPTION_CAPACITY`] messages that drops the oldest.
    ///
    /// What other nodes publish comes once they have heard of the subscription, which takes the way
    /// over the link: what they publish at the same moment may still pass it by.
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
        let queue = self.sink.here.subscribe_with(capacity, overflow);
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
        Ok(ClusterForwarding { forwarding: self.sink.here.forward(to, map), _interest: interest })
    }

    fn interest(&self) -> Result<NodesInterest, TopicError> {
        let home = self.sink.home.clone();
        home.interest(InterestInput::Subscribe { topic: self.name.clone() })?;
        Ok(NodesInterest { home, topic: self.name.clone(), _sink: self.sink.clone() })
    }
}

/// Lets other nodes know for as long as it lives that this one wants to hear.
struct NodesInterest {
    home: Arc<NodeHome>,
    topic: TopicName,
    /// What is published there comes here.
    _sink: Arc<dyn Sink>,
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

impl<T: RemoteMessage + Clone> TypedSink<T> {
    fn new(home: Arc<NodeHome>, name: &str) -> Self {
        let wire = Arc::new(PublicWire(home.clone()));
        Self { home, here: Topic::new(name), wire }
    }
}

impl<T: RemoteMessage + Clone> Drop for TypedSink<T> {
    fn drop(&mut self) {
        let mut sinks = self.home.sinks.lock();
        // Another may have been made under the name since nobody held this one.
        if sinks.get(self.here.name()).is_some_and(|sink| sink.strong_count() == 0) {
            sinks.remove(self.here.name());
        }
    }
}

impl<T: RemoteMessage + Clone> Sink for TypedSink<T> {
    fn publication(&self, publication: &Publication<'_>, charge: Charge) {
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
                self.here.publish_charged(message, charge);
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
        Self { name: self.name.clone(), sink: self.sink.clone() }
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

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use umbel_protocol::Identity;

    use super::*;
    use crate::transport::MemoryNetwork;

    #[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
    #[message(remote)]
    struct News(u64);

    #[derive(Clone, Message, Serialize, Deserialize)]
    #[message(remote)]
    struct Weather(u64);

    async fn start(network: &MemoryNetwork, name: &str, seeds: &[&str]) -> Node {
        let identity = Identity::new("house".parse().unwrap(), name.parse().unwrap());
        let builder = Node::builder().transport(network.transport(identity)).listen(name);
        builder.join(seeds.iter().copied()).start().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_is_forgotten_when_nobody_holds_it_any_more() {
        let node = start(&MemoryNetwork::new(), "a", &[]).await;
        let other = || node.topic::<Weather>("news").map(drop);
        let topic = node.topic::<News>("news").unwrap();
        let second = topic.clone();
        let subscription = topic.subscribe().unwrap();
        drop((topic, second));
        assert!(matches!(other(), Err(TopicError::OtherMessages { .. })), "somebody subscribes");
        let again = node.topic::<News>("news").unwrap();
        drop(subscription);
        assert!(matches!(other(), Err(TopicError::OtherMessages { .. })), "somebody may publish");
        drop(again);
        assert!(other().is_ok());
        for number in 0..10_000 {
            let topic = node.topic::<News>(&format!("news of {number}")).unwrap();
            drop(topic.subscribe().unwrap());
            topic.publish(News(number)).await.unwrap();
        }
        assert_eq!(node.home().sinks.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_hears_other_nodes_after_its_topic_was_let_go_of() {
        let network = MemoryNetwork::new();
        let a = start(&network, "a", &[]).await;
        let b = start(&network, "b", &["a"]).await;
        let mut subscription = a.topic::<News>("news").unwrap().subscribe().unwrap();
        let topic = b.topic::<News>("news").unwrap();
        while topic.publish(News(1)).await.unwrap().nodes == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(subscription.recv().await, Some(News(1)));
    }
}
