//! Where the nodes to join through are found.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use umbel_actors::{Address, System};
use umbel_protocol::Endpoint;

use crate::coordinator::Coordinate;
use crate::task::OwnedTask;

/// How often a [`SeedSource`] is asked, unless it says otherwise.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// Finds nodes to join through: a list that is not known when the node is configured, and that changes
/// while it runs.
///
/// Whatever it names is dialled, for as long as it names it. Where it names this node itself, or
/// members that are known already, no harm is done.
pub trait SeedSource: fmt::Debug + Send + Sync + 'static {
    /// The endpoints now. Asked again after [`Self::interval`], and sooner if it fails.
    ///
    /// # Errors
    /// Why they cannot be told just now; those that it named before are kept.
    fn seeds(&self) -> impl Future<Output = io::Result<Vec<Endpoint>>> + Send;

    /// How long its answer holds.
    fn interval(&self) -> Duration {
        RESOLVE_INTERVAL
    }
}

/// A name in the DNS that stands for all nodes, such as a headless service of Kubernetes: each address
/// that it has is a seed.
#[derive(Clone, Debug)]
pub struct Dns {
    name: String,
    interval: Duration,
}

impl Dns {
    /// The addresses of `name`, which is `host:port`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), interval: RESOLVE_INTERVAL }
    }

    /// How often the name is looked up. Default [`RESOLVE_INTERVAL`].
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

impl SeedSource for Dns {
    async fn seeds(&self) -> io::Result<Vec<Endpoint>> {
        let addresses = tokio::net::lookup_host(&self.name).await?;
        // An address has neither spaces nor is it too long.
        let mut seeds: Vec<_> =
            addresses.filter_map(|address| Endpoint::new(address.to_string()).ok()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        Ok(seeds)
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

/// A source behind a pointer.
pub(crate) trait AnySource: fmt::Debug + Send + Sync {
    fn seeds(&self) -> BoxFuture<'_, io::Result<Vec<Endpoint>>>;
    fn interval(&self) -> Duration;
}

impl<S: SeedSource> AnySource for S {
    fn seeds(&self) -> BoxFuture<'_, io::Result<Vec<Endpoint>>> {
        Box::pin(SeedSource::seeds(self))
    }

    fn interval(&self) -> Duration {
        SeedSource::interval(self)
    }
}

/// The least time between two questions to a source.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks a source again and again, and has the coordinator dial what it names, until the system ends.
/// `number` tells one source of a node from another.
pub(crate) fn follow(
    number: usize,
    source: Box<dyn AnySource>,
    coordinator: Address<Coordinate>,
    system: System,
) {
    let asking = OwnedTask::spawn(async move {
        let mut failures = 0_u32;
        loop {
            match source.seeds().await {
                Ok(seeds) => {
                    failures = 0;
                    if coordinator.tell(Coordinate::Seeds(number, seeds)).await.is_err() {
                        return;
                    }
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    // The first of a row is news; the others tell nothing more.
                    if failures == 1 {
                        tracing::warn!(target: "umbel", ?source, %why, "no seeds: asking again");
                    } else {
                        tracing::debug!(target: "umbel", ?source, %why, failures, "no seeds");
                    }
                }
            }
            let interval = source.interval().max(PAUSE);
            let sooner = PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
            let wait = if failures > 0 { sooner.min(interval) } else { interval };
            tokio::time::sleep(wait).await;
        }
    });
    tokio::spawn(async move {
        system.stopped().await;
        drop(asking);
    });
}
