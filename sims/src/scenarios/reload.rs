//! Three nodes with modules that are replaced while they are used.

use crate::fault::Faults;
use crate::office::{self, LEDGER, ORDERS};
use crate::world::World;

pub(super) const NAME: &str = "reload";

const NODES: usize = 3;

/// Three nodes, ten seconds, four faults.
pub(super) fn world(seed: u64) -> World {
    World::new(seed)
        .named(NAME)
        .nodes(NODES, office::with_departments)
        .workload(|host, node| office::close(host, node, NODES, &[LEDGER, ORDERS]))
        .faults(Faults::Random(4))
        .limits(office::LIMITS)
}
