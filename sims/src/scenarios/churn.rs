//! Five nodes, twenty seconds, twelve faults.

use std::time::Duration;

use super::standard;
use crate::cast::{self, PLAYERS, Staging};
use crate::fault::Faults;
use crate::world::World;

pub(super) const NAME: &str = "churn";

const NODES: usize = 5;

/// Five nodes, twenty seconds, twelve faults: rather a bad day.
pub(super) fn world(seed: u64) -> World {
    World::new(seed)
        .named(NAME)
        .nodes(NODES, |host| async move {
            let staging = Staging { mutant: host.mutant(), ..Staging::default() };
            cast::start(host.node(), standard::recorder(&host), staging).await
        })
        .workload(|host, node| async move {
            host.wait_for_end_of_faults().await;
            standard::all_answer(&node, NODES * PLAYERS).await
        })
        .faults(Faults::Random(12))
        .lasts(Duration::from_secs(20))
        .limits(cast::LIMITS)
}
