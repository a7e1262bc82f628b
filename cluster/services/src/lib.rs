//! Services of all nodes, found through the cluster's registry: a [`Directory`] of
//! [`umbel_services`] over a [`Node`].
//!
//! A crate of its own: who wants nodes need not compile what services are made of, and services know
//! nothing of clusters.
//!
//! ```no_run
//! # use serde::{Deserialize, Serialize};
//! # use umbel_services::{Context, Failure, Handle, Method, Methods, Service};
//! # #[derive(Clone, Serialize, Deserialize)]
//! # struct Price { item: String }
//! # impl Method for Price { const NAME: &'static str = "price"; type Answer = u64; }
//! # struct Catalog;
//! # impl Service for Catalog {
//! #     fn methods(methods: Methods<Self>) -> Methods<Self> { methods.on::<Price>() }
//! # }
//! # impl Handle<Price> for Catalog {
//! #     async fn handle(&self, _: Price, _: &Context) -> Result<u64, Failure> { Ok(250) }
//! # }
//! # async fn two() -> Result<(), Box<dyn std::error::Error>> {
//! use umbel_cluster::Node;
//! use umbel_cluster_services::ClusterDirectory;
//! use umbel_services::{ServiceHost, ServiceManager};
//!
//! let node = Node::dev("a").listen("127.0.0.1:7401").start().await?;         // one process
//! let services = ServiceManager::builder(node.system())
//!     .directory(ClusterDirectory::new(&node))
//!     .build();
//! services.start(ServiceHost::new("catalog", || Catalog)).await?;
//!
//! let node = Node::dev("b").join(["127.0.0.1:7401"]).start().await?;         // another
//! let services = ServiceManager::builder(node.system())
//!     .directory(ClusterDirectory::new(&node))
//!     .build();
//! assert_eq!(services.call("catalog", Price { item: "tea".into() }).await?, 250);
//! # Ok(())
//! # }
//! ```
//!
//! A service stands in the registry under its own name, tagged [`SERVICE_TAG`], and is handed out as
//! long as [it is well](ServiceView::is_well) and its node lives. The node's own services are called
//! without encoding anything.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use umbel_cluster::{Discovery, HealthCheck, Node, Offer, Query};
use umbel_services::{Directory, DirectoryError, Follow, Instance, ServiceMessage, ServiceView};

/// What all services are tagged with in the registry.
pub const SERVICE_TAG: &str = "umbel.service";

/// The piece of metadata that says what an instance is known by when work is given out by key.
const PLACE: &str = "umbel.place";

/// The services of all nodes that are linked with one. Cheap to clone.
#[derive(Clone)]
pub struct ClusterDirectory {
    node: Node,
}

impl ClusterDirectory {
    /// The directory as this node knows it.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self { node: node.clone() }
    }
}

impl Directory for ClusterDirectory {
    fn follow(&self, service: &str) -> Box<dyn Follow> {
        let discovery = self.node.watch(Query::name(service).tag(SERVICE_TAG));
        Box::new(Followed { discovery, listed: None })
    }

    fn register(&self, view: ServiceView) -> BoxFuture<'_, Result<(), DirectoryError>> {
        Box::pin(async move {
            let place = format!("{:016x}", self.node.system().random());
            let checked = view.clone();
            let offer = Offer {
                tags: [SERVICE_TAG.to_owned()].into(),
                metadata: [(PLACE.to_owned(), place)].into(),
                check: HealthCheck::custom(move || {
                    let is_well = checked.is_well();
                    async move { is_well }
                }),
                ..Offer::default()
            };
            let registered = self.node.register_with(view.name(), view.address(), offer).await;
            registered.map_err(|why| match why {
                umbel_cluster::RegisterError::Ended => DirectoryError::Ended,
                why => DirectoryError::Refused(why.to_string()),
            })
        })
    }

    fn deregister(&self, view: ServiceView) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.node.unregister(view.name(), view.address()).await })
    }
}

struct Followed {
    discovery: Discovery<ServiceMessage>,
    /// `None` where there may be others than it last was.
    listed: Option<Arc<[Instance]>>,
}

impl Follow for Followed {
    fn instances(&mut self) -> Arc<[Instance]> {
        while self.discovery.changed().now_or_never().is_some() {
            self.listed = None;
        }
        let Self { discovery, listed } = self;
        listed.get_or_insert_with(|| discovery.instances().iter().map(instance).collect()).clone()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.discovery.changed().await;
            self.listed = None;
        })
    }
}

fn instance(found: &umbel_cluster::Instance<ServiceMessage>) -> Instance {
    let place = found.metadata.get(PLACE).and_then(|place| u64::from_str_radix(place, 16).ok());
    Instance {
        address: found.address.clone(),
        node: found.address.node().map(Into::into),
        place: place.unwrap_or_default(),
    }
}

impl fmt::Debug for ClusterDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterDirectory").field(&self.node.id()).finish()
    }
}
