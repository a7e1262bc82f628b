//! The seam to other libraries' protocols, which ride on the links of nodes.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use umbel_actors::System;
use umbel_protocol::{Identity, LinkId, NodeId};

use crate::transport::ByteStream;

/// A protocol of another library that rides on a node's links, on a lane of its own.
///
/// With each linked peer that carries a rider, too, there is one ride at a time: a connection by
/// mutual TLS, opened by the side that dialled the link, and ended with the link, whether that was
/// lost, replaced, or ended by a later life of the peer. A ride that ends while its link is up is
/// begun anew, after a back-off that is [`PeersConfig`](umbel_protocol::PeersConfig)'s for dials. So
/// a rider needs neither addresses, certificates, a failure detector, nor a way to reconnect.
///
/// Whatever a rider does, and whatever is sent to it, is between it and the peer's rider: the link
/// and the node go on.
///
/// Give it to [`NodeBuilder::rider`](crate::NodeBuilder::rider). A ride that sends back what it hears:
///
/// ```
/// use futures_util::FutureExt;
/// use futures_util::future::BoxFuture;
/// use umbel_actors::System;
/// use umbel_cluster::{Ride, Rider, RiderError};
/// use umbel_protocol::Identity;
///
/// struct Echo;
///
/// impl Rider for Echo {
///     fn start(&self, _: System, _: Identity) -> BoxFuture<'_, Result<(), RiderError>> {
///         async { Ok(()) }.boxed()
///     }
///
///     fn ride(&self, ride: Ride) -> BoxFuture<'static, Result<(), RiderError>> {
///         async move {
///             let (mut read, mut write) = tokio::io::split(ride.stream);
///             tokio::io::copy(&mut read, &mut write).await.map_err(RiderError::new)?;
///             Ok(())
///         }
///         .boxed()
///     }
/// }
/// ```
pub trait Rider: Send + Sync + 'static {
    /// Starts what all rides share, once, before the node listens. What it spawns in `system` ends
    /// with the system, and so with the node. `me` is what the node's certificate says.
    ///
    /// # Errors
    /// [`RiderError`]: the node does not start. Nothing may be left behind.
    fn start(&self, system: System, me: Identity) -> BoxFuture<'_, Result<(), RiderError>>;

    /// One ride, from its beginning to its end: `Ok` where the peer ended it in order.
    ///
    /// When the link ends, the future is dropped, and with it all must end that the ride has begun,
    /// the stream before all. A ride with the same peer may begin at once, with the next link, and be
    /// polled before the last one is dropped: whoever must not have two waits for the end of the first.
    ///
    /// # Errors
    /// [`RiderError`]: why it ended. It is counted and logged.
    fn ride(&self, ride: Ride) -> BoxFuture<'static, Result<(), RiderError>>;
}

/// A lane that a rider is given.
pub struct Ride {
    /// The connection, on which nothing was said yet by either rider.
    pub stream: Box<dyn ByteStream>,
    /// Which life of which node is at the other end, proven by its certificate.
    pub peer: NodeId,
    /// The link that the ride belongs to.
    pub link: LinkId,
    /// Whether this end dialled. The other end has the opposite.
    pub dialled_by_us: bool,
}

impl fmt::Debug for Ride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ride")
            .field("peer", &self.peer)
            .field("link", &self.link)
            .field("dialled_by_us", &self.dialled_by_us)
            .finish_non_exhaustive()
    }
}

/// Why a rider did not start, or a ride ended. It says and has for its source what the rider gave.
#[derive(Clone, Debug)]
pub struct RiderError(Arc<dyn Error + Send + Sync>);

impl RiderError {
    /// An error of the rider's own.
    pub fn new(why: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(why))
    }

    /// The rider's own error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for RiderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for RiderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
