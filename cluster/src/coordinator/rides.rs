//! What rides on the links that are up.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::time::Instant;
use umbel_protocol::{Endpoint, Held, Hello, Lane, LinkId, NodeId, PeersConfig, Refusal};

use crate::greeting::{self, DialError};
use crate::home::NodeHome;
use crate::rider::{Ride, Rider, RiderError};
use crate::task::OwnedTask;
use crate::transport::{ByteStream, Transport};

/// What rides on the links that are up, if the node carries a rider. A ride ends when its link is
/// taken out.
pub(super) struct Rides {
    rider: Option<Arc<dyn Rider>>,
    links: BTreeMap<LinkId, Riding>,
}

struct Riding {
    peer: NodeId,
    dialled_by_us: bool,
    /// At the dialler it dials, rides, and dials again; at the acceptor it is the present ride.
    task: Option<OwnedTask>,
}

/// A ride that panicked.
#[derive(Debug, Error)]
#[error("the rider panicked")]
struct Panicked;

impl Rides {
    pub(super) fn new(rider: Option<Arc<dyn Rider>>) -> Self {
        Self { rider, links: BTreeMap::new() }
    }

    /// A link is up; `dialled` says where this node has dialled it, if it has.
    pub(super) fn link_up(
        &mut self,
        link: LinkId,
        peer: NodeId,
        dialled: Option<Endpoint>,
        home: &Arc<NodeHome>,
        transport: &Arc<dyn Transport>,
    ) {
        let Some(rider) = &self.rider else { return };
        let dialled_by_us = dialled.is_some();
        let task = dialled.map(|endpoint| {
            let dialler = Dialler {
                link,
                peer: peer.clone(),
                endpoint,
                rider: rider.clone(),
                home: home.clone(),
                transport: transport.clone(),
            };
            OwnedTask::spawn(dialler.run())
        });
        self.links.insert(link, Riding { peer, dialled_by_us, task });
    }

    /// Whether a rider's lane is let in: only for a link that is up, from the side that dialled it,
    /// in the life that it is up with.
    pub(super) fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        if self.rider.is_none() {
            return Err(Refusal::NoRider);
        }
        match self.links.get(&hello.link) {
            Some(riding) if !riding.dialled_by_us && riding.peer == hello.node => Ok(()),
            _ => Err(Refusal::UnknownLink),
        }
    }

    /// The welcome for a rider's lane was said. A ride that is still there has been lost by the peer.
    pub(super) fn opened(
        &mut self,
        link: LinkId,
        stream: Box<dyn ByteStream>,
        home: &Arc<NodeHome>,
    ) {
        let (Some(rider), Some(riding)) = (&self.rider, self.links.get_mut(&link)) else { return };
        let ride = Ride { stream, peer: riding.peer.clone(), link, dialled_by_us: false };
        let (rider, home) = (rider.clone(), home.clone());
        riding.task = Some(OwnedTask::spawn(async move { carry(&*rider, ride, &home).await }));
    }

    pub(super) fn link_down(&mut self, link: LinkId) {
        self.links.remove(&link);
    }
}

/// The side that opens the lane, and opens it again.
struct Dialler {
    link: LinkId,
    peer: NodeId,
    endpoint: Endpoint,
    rider: Arc<dyn Rider>,
    home: Arc<NodeHome>,
    transport: Arc<dyn Transport>,
}

impl Dialler {
    /// Ends when the peer carries no rider.
    async fn run(self) {
        let config = &self.home.config.peers;
        let mut failures = 0;
        loop {
            let since = Instant::now();
            match self.dial().await {
                Ok(stream) => {
                    let (peer, link) = (self.peer.clone(), self.link);
                    let ride = Ride { stream, peer, link, dialled_by_us: true };
                    carry(&*self.rider, ride, &self.home).await;
                }
                Err(DialError::Refused { refusal: Refusal::NoRider, .. }) => {
                    tracing::debug!(target: "umbel", peer = %self.peer, "it carries no rider");
                    return;
                }
                Err(why) => self.home.refusals.note("rider", &format!("{}: {why}", self.peer)),
            }
            // As with links: one that does not last counts as a failure.
            failures = if since.elapsed() >= config.backoff_max { 1 } else { failures + 1 };
            tokio::time::sleep(wait(config, failures, self.home.system.random())).await;
        }
    }

    async fn dial(&self) -> Result<Box<dyn ByteStream>, DialError> {
        let admitted = greeting::dial_lane(
            &*self.transport,
            &self.home,
            Lane::Rider,
            self.link,
            &self.endpoint,
            &self.peer,
            &Held::default(),
        )
        .await?;
        Ok(admitted.stream)
    }
}

/// The wait after `failures` in a row: full jitter, below a ceiling that doubles.
fn wait(config: &PeersConfig, failures: u32, draw: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let ceiling = config.backoff_min.saturating_mul(1 << doublings).min(config.backoff_max);
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(draw % nanos.max(1))
}

/// One ride; why it ended is noted.
async fn carry(rider: &dyn Rider, ride: Ride, home: &NodeHome) {
    let peer = ride.peer.clone();
    tracing::debug!(target: "umbel", %peer, link = %ride.link, "a ride begins");
    // The call is caught too: a rider may do all its work there.
    let riding = AssertUnwindSafe(async { rider.ride(ride).await });
    let end = riding.catch_unwind().await.unwrap_or_else(|_| Err(RiderError::new(Panicked)));
    match end {
        Ok(()) => tracing::debug!(target: "umbel", %peer, "the ride has ended"),
        Err(why) => home.refusals.note("rider", &format!("{peer}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_ceiling_that_doubles_up_to_the_bound() {
        let config = PeersConfig::default();
        for (failures, ceiling) in [(1, 100), (2, 200), (4, 800), (9, 5000), (u32::MAX, 5000)] {
            let ceiling = Duration::from_millis(ceiling);
            let longest = (0..64).map(|bit| wait(&config, failures, u64::MAX >> bit)).max();
            assert!(longest < Some(ceiling));
            assert_eq!(
                wait(&config, failures, ceiling.as_nanos() as u64 - 1),
                ceiling - Duration::from_nanos(1)
            );
        }
    }
}
