//! What goes wrong with real processes, and when.

use std::time::Duration;

use super::bounds::{FAULT_AFTER, PEACE_AFTER};
use crate::chance::Chance;
use crate::fault::Fault;

/// Draws faults from a seed. Of those of a simulated world all but the clocks' can be had: several
/// processes share this machine's.
pub(super) struct Faults {
    chance: Chance,
    nodes: usize,
}

impl Faults {
    pub(super) fn new(chance: Chance, nodes: usize) -> Self {
        Self { chance, nodes }
    }

    /// How long until the next.
    pub(super) fn pause(&mut self) -> Duration {
        self.chance.between(FAULT_AFTER.0, FAULT_AFTER.1)
    }

    /// How long until the next peace.
    pub(super) fn time(&mut self) -> Duration {
        self.chance.between(PEACE_AFTER.0, PEACE_AFTER.1)
    }

    /// The next.
    pub(super) fn draw(&mut self) -> Fault {
        let (chance, nodes) = (&mut self.chance, self.nodes);
        let node = chance.below(nodes);
        let other = (node + 1 + chance.below(nodes - 1)) % nodes;
        let mut up_to = |most: usize| 1 + chance.below(most) as u64;
        let (short, long) = (up_to(2_000), up_to(8_000));
        let (from, to, a, b) = (node, other, node, other);
        match chance.below(27) {
            0..4 => Fault::Kill { node, down_ms: short },
            4..6 => Fault::PowerLoss { node, down_ms: long },
            6 => Fault::Leave { node, down_ms: short },
            7..11 => Fault::Pause { node, ms: long },
            11 => Fault::Slow { node, turn_ms: 50 + chance.below(200) as u64, ms: long },
            12..15 => Fault::Cut { from, to, ms: long },
            15 => Fault::Partition { side: vec![node], ms: long },
            16..18 => Fault::Stall { from, to, ms: long },
            18..21 => Fault::Reset { a, b },
            21..23 => Fault::Blackhole { a, b },
            23..25 => Fault::HalfOpen { from, to, ms: long },
            25 => Fault::Delay { from, to, extra_ms: 1 + chance.below(500) as u64, ms: long },
            _ => Fault::SlowLink {
                from,
                to,
                bytes_per_second: 1_000 + chance.below(100_000) as u64,
                ms: long,
            },
        }
    }
}

/// What kind of a fault it is, in one word.
pub(super) fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Kill { .. } => "kill",
        Fault::PowerLoss { .. } => "power_loss",
        Fault::Leave { .. } => "leave",
        Fault::Pause { .. } => "pause",
        Fault::Slow { .. } => "slow",
        Fault::ClockJump { .. } => "clock_jump",
        Fault::ClockDrift { .. } => "clock_drift",
        Fault::DiskFull { .. } => "disk_full",
        Fault::DiskFails { .. } => "disk_fails",
        Fault::DiskSlow { .. } => "disk_slow",
        Fault::Cut { .. } => "cut",
        Fault::Partition { .. } => "partition",
        Fault::Stall { .. } => "stall",
        Fault::Reset { .. } => "reset",
        Fault::Blackhole { .. } => "blackhole",
        Fault::HalfOpen { .. } => "half_open",
        Fault::Delay { .. } => "delay",
        Fault::SlowLink { .. } => "slow_link",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_of_every_kind_but_the_clocks_and_among_the_nodes() {
        let draw = |seed| {
            let mut faults = Faults::new(Chance::new(seed), 3);
            (0..500).map(|_| faults.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|fault| fault.highest() < 3));
        assert_eq!(draw(1).iter().map(kind).collect::<BTreeSet<_>>().len(), 13);
    }
}
