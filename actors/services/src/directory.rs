//! Where services are found.

mod local;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use thiserror::Error;
use umbel_actors::Address;

use crate::host::ServiceView;
use crate::message::ServiceMessage;

pub use self::local::LocalDirectory;

/// Where services are found by name, and made known: the seam to a cluster's registry.
///
/// [`LocalDirectory`] is that of one system; `umbel-cluster-services` has one over the registry of a
/// node, so that the services of all nodes are found.
pub trait Directory: Send + Sync + 'static {
    /// The instances of a service that can be given work, kept up to date.
    fn follow(&self, service: &str) -> Box<dyn Follow>;

    /// Makes an instance that runs here known, as long as it [is well](ServiceView::is_well). It is
    /// forgotten when it has ended for good.
    fn register(&self, view: ServiceView) -> BoxFuture<'_, Result<(), DirectoryError>>;

    /// Has an instance that runs here be given no more work.
    fn deregister(&self, view: ServiceView) -> BoxFuture<'_, ()>;
}

impl<D: Directory + ?Sized> Directory for Arc<D> {
    fn follow(&self, service: &str) -> Box<dyn Follow> {
        (**self).follow(service)
    }

    fn register(&self, view: ServiceView) -> BoxFuture<'_, Result<(), DirectoryError>> {
        (**self).register(view)
    }

    fn deregister(&self, view: ServiceView) -> BoxFuture<'_, ()> {
        (**self).deregister(view)
    }
}

/// The instances of a service that can be given work, kept up to date.
pub trait Follow: Send {
    /// Those that there are now, in an order that is the same while they are. The same list as before
    /// where nothing has changed.
    fn instances(&mut self) -> Arc<[Instance]>;

    /// Waits until there may be others than [`Follow::instances`] last told. Can be cancelled.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
}

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its address.
    pub address: Address<ServiceMessage>,
    /// The node that it runs on; `None` for this one.
    pub node: Option<Arc<str>>,
    /// What it is known by when work is given out by key: the same on every node.
    pub place: u64,
}

/// Why an instance was not made known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// It has ended.
    #[error("the service has ended")]
    Ended,
    /// The directory would not have it.
    #[error("the directory refuses it: {0}")]
    Refused(String),
}
