//! Five nodes, twenty seconds, twelve faults.

use std::time::Duration;

use super::standard;
use crate::fault::Faults;
use crate::world::World;

pub(super) const NAME: &str = "churn";

/// Five nodes, twenty seconds, twelve faults: rather a bad day.
pub(super) fn world(seed: u64) -> World {
    let world = standard::stage(seed, 5).named(NAME);
    world.faults(Faults::Random(12)).lasts(Duration::from_secs(20))
}
