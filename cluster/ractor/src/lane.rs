//! The lane of a node on which ractor_cluster runs.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{ActorRef, SpawnErr};
use ractor_cluster::{DEFAULT_MAX_INBOUND_FRAME_SIZE, NodeServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use umbel_actors::{SpawnError, SpawnOptions, System};
use umbel_cluster::{ByteStream, Ride, Rider, RiderError};
use umbel_protocol::{Identity, NodeId};

use crate::error::LaneError;
use crate::introduction::Introduction;
use crate::keeper::{Keeper, full_name};
use crate::lent::Lent;
use crate::sessions::Sessions;

/// What either end says first: who rides, in which version of ractor_cluster's protocol. It is said
/// when that end has forgotten the last session with the other.
const WHO_RIDES: [u8; 16] = *b"ractor_cluster/1";

/// How long either end waits for the other's [`WHO_RIDES`], and then for the session to be ready.
/// What is slow here is a peer with many actors to tell of, or a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The lane of a node on which ractor_cluster runs. See the [crate]'s documentation.
///
/// Cheap to clone; clones are the same lane. Give one to
/// [`NodeBuilder::rider`](umbel_cluster::NodeBuilder::rider).
#[derive(Clone, Debug)]
pub struct RactorCluster {
    frame_bytes_max: u64,
    sessions: Arc<Sessions>,
}

impl RactorCluster {
    /// A lane for one node.
    #[must_use]
    pub fn new() -> Self {
        Self { frame_bytes_max: DEFAULT_MAX_INBOUND_FRAME_SIZE, sessions: Arc::default() }
    }

    /// The largest frame that is taken from a peer, in bytes. A session ends with whoever sends a
    /// larger one, so all nodes should have the same. Default: ractor_cluster's, 16 MiB.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: u64) -> Self {
        self.frame_bytes_max = bytes;
        self
    }

    /// The peers with which the lane is ready, by name: their actors and process groups are known
    /// here, and those of this node there.
    #[must_use]
    pub fn ready(&self) -> Vec<NodeId> {
        self.sessions.ready()
    }

    /// Waits until others are ready than those in `known`, which is as [`RactorCluster::ready`] told
    /// it; those that are.
    pub async fn ready_changed(&self, known: &[NodeId]) -> Vec<NodeId> {
        let mut changes = self.sessions.changed();
        loop {
            let ready = self.ready();
            if ready != known {
                return ready;
            }
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    /// ractor_cluster's own server, for `GetSessions` and `SubscribeToEvents`; `None` before the
    /// node has started and after it has ended. Do not open connections with it: they would pass by
    /// certificates and fencing.
    #[must_use]
    pub fn node_server(&self) -> Option<ActorRef<NodeServerMessage>> {
        self.sessions.server()
    }
}

impl Default for RactorCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Rider for RactorCluster {
    fn start(&self, system: System, me: Identity) -> BoxFuture<'_, Result<(), RiderError>> {
        let keeper =
            Keeper { me, frame_bytes_max: self.frame_bytes_max, sessions: self.sessions.clone() };
        let options = SpawnOptions {
            name: Some("umbel.ractor_cluster".to_owned()),
            throughput: Some(NonZeroUsize::MIN),
            ..SpawnOptions::default()
        };
        async move {
            let started = system.spawn_with(options, keeper, ()).await;
            started.map(drop).map_err(|why| RiderError::new(not_started(why)))
        }
        .boxed()
    }

    fn ride(&self, ride: Ride) -> BoxFuture<'static, Result<(), RiderError>> {
        let sessions = self.sessions.clone();
        async move { carry(&sessions, ride).await.map_err(RiderError::new) }.boxed()
    }
}

/// What the keeper said, if it was the keeper.
fn not_started(why: SpawnError) -> LaneError {
    match why {
        SpawnError::Failed(SpawnErr::StartupFailed(cause)) => match cause.downcast::<LaneError>() {
            Ok(cause) => *cause,
            Err(cause) => LaneError::System(SpawnError::Failed(SpawnErr::StartupFailed(cause))),
        },
        why => LaneError::System(why),
    }
}

/// One session, from its beginning to its end.
async fn carry(sessions: &Arc<Sessions>, ride: Ride) -> Result<(), LaneError> {
    let Ride { mut stream, peer, link, dialled_by_us, .. } = ride;
    let place = sessions.enter(&peer, link).await?;
    let not_ready = |_| LaneError::NotReady(READY_WITHIN);
    timeout(READY_WITHIN, agree(&mut stream)).await.map_err(not_ready)??;
    let name = full_name(&Identity::new(place.cluster().clone(), peer.name.clone()));
    let introduction = Introduction::new(name, dialled_by_us);
    let (lent, lease) = Lent::new(stream, introduction, place.label().to_owned());
    place.hand_over(lent, lease.clone(), !dialled_by_us).await?;
    if timeout(READY_WITHIN, place.is_ready()).await.map_err(not_ready)? {
        tracing::info!(target: "umbel", %peer, %link, "ractor_cluster is ready");
        place.ended().await;
    }
    Err(lease.refused().map_or(LaneError::Ended, LaneError::Introduction))
}

/// Both ends say who rides.
async fn agree(stream: &mut Box<dyn ByteStream>) -> Result<(), LaneError> {
    stream.write_all(&WHO_RIDES).await.map_err(LaneError::Broken)?;
    stream.flush().await.map_err(LaneError::Broken)?;
    let mut said = [0; WHO_RIDES.len()];
    stream.read_exact(&mut said).await.map_err(LaneError::Broken)?;
    if said == WHO_RIDES { Ok(()) } else { Err(LaneError::OtherRider) }
}
