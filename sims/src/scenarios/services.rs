//! Three nodes with services that are killed, and calls of them.

use crate::fault::Faults;
use crate::office::{self, CLERK};
use crate::world::World;

pub(super) const NAME: &str = "services";

const NODES: usize = 3;

/// Three nodes, ten seconds, four faults.
pub(super) fn world(seed: u64) -> World {
    World::new(seed)
        .named(NAME)
        .nodes(NODES, office::with_clerk)
        .workload(|host, node| office::close(host, node, NODES, &[CLERK]))
        .faults(Faults::Random(4))
        .limits(office::LIMITS)
}
