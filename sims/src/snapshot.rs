//! How things stand in a whole world, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use umbel_protocol::NodeId;

use crate::shared::Shared;
use crate::standing::Standing;

/// How things stand in a whole world, at one moment.
pub struct Snapshot<'a> {
    /// The time since the start.
    pub now: Duration,
    /// The nodes that are up, in the order of their machines.
    pub nodes: &'a [Standing],
    /// When each life that is over ended.
    pub deaths: &'a BTreeMap<NodeId, Duration>,
    pub(crate) shared: Option<&'a Shared>,
}

impl Snapshot<'_> {
    /// The longest silence that any of its nodes bears in a peer.
    pub(crate) fn silence_max(&self) -> Duration {
        self.nodes.iter().map(|node| node.silence_max).max().unwrap_or_default()
    }

    /// What [`Host::oracle`](crate::Host::oracle) gave to the programs of this world.
    ///
    /// # Panics
    /// Where there is no world, but a history of real processes: they have no oracles.
    #[must_use]
    pub fn oracle<T: Default + Send + 'static>(&self) -> Arc<Mutex<T>> {
        self.shared.expect("only a simulated world has oracles").oracle()
    }
}
