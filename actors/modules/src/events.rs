//! What modules tell each other without knowing who listens.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use umbel_actors::{Message, Overflow, SUBSCRIPTION_CAPACITY, Subscription, System};
use umbel_services::Payload;

/// Something that happened, and that modules may want to know of, wherever they run.
///
/// It reaches who subscribed before, at most once, in its publisher's order. On one machine it is the
/// value itself; between nodes it is JSON, so a field that one version lacks is an error there and
/// never misread.
pub trait Event: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The topic that it is published to, such as `orders.placed`. One type of event for each.
    const TOPIC: &'static str;
}

/// An event of any type, on its way.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(remote, name = "umbel.Occurrence")]
pub struct Occurrence(
    /// The event.
    pub Payload,
);

/// Where events are published and heard: the seam to a cluster's topics.
///
/// [`LocalEvents`] are those of one system; `umbel-cluster-modules` has those of all nodes.
pub trait EventBus: Send + Sync + 'static {
    /// Publishes, and returns to how many subscribers here, or nodes, it went.
    fn publish<'a>(
        &'a self,
        topic: &'a str,
        event: Occurrence,
    ) -> BoxFuture<'a, Result<usize, EventError>>;

    /// Subscribes, with a queue of so many events that drops the oldest.
    ///
    /// # Errors
    /// [`EventError`]
    fn subscribe(&self, topic: &str, capacity: usize) -> Result<Box<dyn EventSource>, EventError>;
}

/// Events that were subscribed to. Dropping it unsubscribes.
pub trait EventSource: Send {
    /// The next one, or `None` when there will be no more. Can be cancelled without losing one.
    fn next(&mut self) -> BoxFuture<'_, Option<Occurrence>>;

    /// How many were lost because the queue was full.
    fn lost(&self) -> u64;
}

/// Why an event was not published or cannot be heard.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The topic cannot be had.
    #[error("topic '{topic}': {why}")]
    Topic {
        /// The topic.
        topic: String,
        /// Why.
        why: String,
    },
    /// The event cannot be published; nobody was told.
    #[error("an event of topic '{topic}' was published to nobody: {why}")]
    Unpublished {
        /// The topic.
        topic: String,
        /// Why.
        why: String,
    },
}

/// The events of one system.
#[derive(Clone, Debug)]
pub struct LocalEvents {
    system: System,
}

impl LocalEvents {
    /// Those of a system.
    #[must_use]
    pub fn new(system: &System) -> Self {
        Self { system: system.clone() }
    }

    fn topic(&self, topic: &str) -> Result<umbel_actors::Topic<Occurrence>, EventError> {
        let wrong = |why: umbel_actors::TopicTypeError| EventError::Topic {
            topic: topic.to_owned(),
            why: why.to_string(),
        };
        self.system.topic(topic).map_err(wrong)
    }
}

impl EventBus for LocalEvents {
    fn publish<'a>(
        &'a self,
        topic: &'a str,
        event: Occurrence,
    ) -> BoxFuture<'a, Result<usize, EventError>> {
        Box::pin(async move { Ok(self.topic(topic)?.publish_wait(event).await) })
    }

    fn subscribe(&self, topic: &str, capacity: usize) -> Result<Box<dyn EventSource>, EventError> {
        let subscription = self.topic(topic)?.subscribe_with(capacity, Overflow::DropOldest);
        Ok(Box::new(Local(subscription)))
    }
}

struct Local(Subscription<Occurrence>);

impl EventSource for Local {
    fn next(&mut self) -> BoxFuture<'_, Option<Occurrence>> {
        Box::pin(self.0.recv())
    }

    fn lost(&self) -> u64 {
        self.0.lost()
    }
}

/// Publishes events and subscribes to them. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    bus: Arc<dyn EventBus>,
}

impl Events {
    pub(crate) fn new(bus: Arc<dyn EventBus>) -> Self {
        Self { bus }
    }

    /// Publishes an event; returns how many subscribers here, and other nodes, it went to. Waits where
    /// a link to a node that listens has no room.
    ///
    /// # Errors
    /// [`EventError`]; nobody was told.
    pub async fn publish<E: Event>(&self, event: E) -> Result<usize, EventError> {
        self.bus.publish(E::TOPIC, Occurrence(Payload::new(event))).await
    }

    /// The events of a topic from now on, in a queue of [`SUBSCRIPTION_CAPACITY`] that drops the oldest.
    ///
    /// # Errors
    /// [`EventError`]
    pub fn subscribe<E: Event>(&self) -> Result<EventStream<E>, EventError> {
        let source = self.source(E::TOPIC)?;
        Ok(EventStream { source, refused: 0, event: PhantomData })
    }

    pub(crate) fn source(&self, topic: &str) -> Result<Box<dyn EventSource>, EventError> {
        self.bus.subscribe(topic, SUBSCRIPTION_CAPACITY)
    }
}

/// The events of one topic, as they come. Dropping it unsubscribes.
pub struct EventStream<E> {
    source: Box<dyn EventSource>,
    refused: u64,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> EventStream<E> {
    /// The next event, or `None` when there will be no more. What is none of this type, as a node of
    /// another version may publish it, is passed over, counted and logged.
    ///
    /// Can be cancelled without losing one.
    pub async fn next(&mut self) -> Option<E> {
        loop {
            match read(self.source.next().await?) {
                Ok(event) => return Some(event),
                Err(_) => self.refused += 1,
            }
        }
    }

    /// How many were lost because the queue was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.source.lost()
    }

    /// How many were passed over.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// The event that this is, which is logged where it is none.
pub(crate) fn read<E: Event>(
    Occurrence(event): Occurrence,
) -> Result<E, umbel_services::PayloadError> {
    event.take().inspect_err(|why| {
        tracing::warn!(target: "umbel::module", topic = E::TOPIC, %why, "not an event of this type");
    })
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl<E: Event> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("topic", &E::TOPIC)
            .field("lost", &self.lost())
            .field("refused", &self.refused)
            .finish()
    }
}
