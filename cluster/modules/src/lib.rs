//! Modules on the nodes of a cluster: services and events of [`umbel_modules`] over a [`Node`].
//!
//! A crate of its own: modules know nothing of clusters, and who wants nodes need not compile what
//! modules are made of.
//!
//! ```no_run
//! # use umbel_modules::Module;
//! # struct Catalog;
//! # impl Module for Catalog { fn name(&self) -> &str { "catalog" } }
//! # struct Ordering;
//! # impl Module for Ordering { fn name(&self) -> &str { "ordering" } }
//! # async fn two() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use umbel_cluster::Node;
//! use umbel_cluster_modules::OnNode;
//! use umbel_modules::Runtime;
//!
//! let node = Node::dev("a").listen("127.0.0.1:7401").start().await?;         // one process
//! let runtime = Runtime::builder("shop").node(&node).module(|| Catalog).start().await?;
//!
//! let node = Node::dev("b").join(["127.0.0.1:7401"]).start().await?;         // another
//! let runtime = Runtime::builder("shop")
//!     .node(&node)
//!     .module(|| Ordering)
//!     .elsewhere("catalog")          // which `ordering` may require all the same
//!     .start()
//!     .await?;
//!
//! runtime.shutdown(Duration::from_secs(5)).await;
//! node.leave(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The same modules run in one process or in several: their services are found in the cluster's registry
//! (by [`ClusterDirectory`]), and their events go over its topics (by [`ClusterEvents`]), one copy to each
//! node where somebody listens.

use std::fmt;

use futures_util::future::BoxFuture;
use umbel_actors::Overflow;
use umbel_cluster::{ClusterSubscription, Node};
use umbel_cluster_services::ClusterDirectory;
use umbel_modules::{EventBus, EventError, EventSource, Occurrence, RuntimeBuilder};

/// Puts a runtime on a node.
pub trait OnNode {
    /// Runs on the node's system, with the services and the events of all nodes that are linked with
    /// it. The runtime does not end the node: shut it down, then have the node
    /// [leave](Node::leave).
    #[must_use]
    fn node(self, node: &Node) -> Self;
}

impl OnNode for RuntimeBuilder {
    fn node(self, node: &Node) -> Self {
        self.system(node.system())
            .directory(ClusterDirectory::new(node))
            .events(ClusterEvents::new(node))
    }
}

/// The events of all nodes that are linked with one. Cheap to clone.
///
/// Who subscribes hears what is published on another node once that one has heard of it; what is
/// published while two nodes are not linked does not reach the other one.
#[derive(Clone)]
pub struct ClusterEvents {
    node: Node,
}

impl ClusterEvents {
    /// The events as this node hears them.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self { node: node.clone() }
    }
}

impl EventBus for ClusterEvents {
    fn publish<'a>(
        &'a self,
        topic: &'a str,
        event: Occurrence,
    ) -> BoxFuture<'a, Result<usize, EventError>> {
        Box::pin(async move {
            let published = self.node.topic(topic).map_err(|why| no_topic(topic, &why))?;
            let published = published.publish(event).await;
            let published = published.map_err(|why| EventError::Unpublished {
                topic: topic.to_owned(),
                why: why.to_string(),
            })?;
            Ok(published.subscribers_here + published.nodes)
        })
    }

    fn subscribe(&self, topic: &str, capacity: usize) -> Result<Box<dyn EventSource>, EventError> {
        let wrong = |why: umbel_cluster::TopicError| no_topic(topic, &why);
        let subscribed = self.node.topic::<Occurrence>(topic).map_err(wrong)?;
        let subscription = subscribed.subscribe_with(capacity, Overflow::DropOldest);
        Ok(Box::new(Subscribed(subscription.map_err(wrong)?)))
    }
}

fn no_topic(topic: &str, why: &umbel_cluster::TopicError) -> EventError {
    EventError::Topic { topic: topic.to_owned(), why: why.to_string() }
}

struct Subscribed(ClusterSubscription<Occurrence>);

impl EventSource for Subscribed {
    fn next(&mut self) -> BoxFuture<'_, Option<Occurrence>> {
        Box::pin(self.0.recv())
    }

    fn lost(&self) -> u64 {
        self.0.lost()
    }
}

impl fmt::Debug for ClusterEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterEvents").field(&self.node.id()).finish()
    }
}
