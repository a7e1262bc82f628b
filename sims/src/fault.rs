//! What goes wrong in a world, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// Something that goes wrong. Machines are named by their number, from 0; times are in milliseconds of
/// the world's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The process is killed; its machine closes its connections. It is started again afterwards.
    Kill {
        /// Which.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// The machine loses its power: nobody is told, and its disk loses what was not synced.
    PowerLoss {
        /// Which.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// The node says goodbye and ends, and is started again afterwards.
    Leave {
        /// Which.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// The process does nothing for a while, then goes on with all that has come meanwhile.
    Pause {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// The machine has time for the process only now and then.
    Slow {
        /// Which.
        node: usize,
        /// It gets a turn every so many milliseconds.
        turn_ms: u64,
        /// For how long.
        ms: u64,
    },
    /// The machine's wall clock is set.
    ClockJump {
        /// Which.
        node: usize,
        /// By how much: forward, or back where it is negative.
        by_ms: i64,
    },
    /// The machine's clocks, that of its timers too, run too fast, or too slow where it is negative.
    ClockDrift {
        /// Which.
        node: usize,
        /// By how many millionths.
        millionths: i64,
        /// For how long.
        ms: u64,
    },
    /// The machine's disk takes nothing more.
    DiskFull {
        /// Which.
        node: usize,
        /// For how long.
        ms: u64,
    },
    /// The machine's disk fails the next writes, or syncs: what was to be synced is lost with a power cut.
    DiskFails {
        /// Which.
        node: usize,
        /// How many writes.
        writes: u32,
        /// How many syncs.
        syncs: u32,
        /// For how long at most.
        ms: u64,
    },
    /// The machine's disk takes its time.
    DiskSlow {
        /// Which.
        node: usize,
        /// How much longer each operation takes.
        extra_ms: u64,
        /// For how long.
        ms: u64,
    },
    /// Nothing gets through one way. What is sent meanwhile arrives afterwards, as TCP would have it.
    Cut {
        /// From this machine.
        from: usize,
        /// To this one.
        to: usize,
        /// For how long.
        ms: u64,
    },
    /// Nothing gets through between these machines and all others, clients too, either way.
    Partition {
        /// Those on one side.
        side: Vec<usize>,
        /// For how long.
        ms: u64,
    },
    /// The connections that there are stand still one way; new ones do not.
    Stall {
        /// From this machine.
        from: usize,
        /// To this one.
        to: usize,
        /// For how long.
        ms: u64,
    },
    /// All connections between two machines are reset.
    Reset {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
    },
    /// The connections that there are between two machines swallow what is sent, for ever, and nobody is
    /// told; new ones do not.
    Blackhole {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Whoever dials one way finds the door open and nobody behind it: the connection never carries
    /// anything, also when this is over. Those that there are go on.
    HalfOpen {
        /// From this machine.
        from: usize,
        /// To this one.
        to: usize,
        /// For how long.
        ms: u64,
    },
    /// All takes longer one way.
    Delay {
        /// From this machine.
        from: usize,
        /// To this one.
        to: usize,
        /// How much longer.
        extra_ms: u64,
        /// For how long.
        ms: u64,
    },
    /// Few bytes get through one way.
    SlowLink {
        /// From this machine.
        from: usize,
        /// To this one.
        to: usize,
        /// How many a second.
        bytes_per_second: u64,
        /// For how long.
        ms: u64,
    },
}

impl Fault {
    /// The highest number of a machine in it.
    pub(crate) fn highest(&self) -> usize {
        match self {
            Self::Kill { node, .. }
            | Self::PowerLoss { node, .. }
            | Self::Leave { node, .. }
            | Self::Pause { node, .. }
            | Self::Slow { node, .. }
            | Self::ClockJump { node, .. }
            | Self::ClockDrift { node, .. }
            | Self::DiskFull { node, .. }
            | Self::DiskFails { node, .. }
            | Self::DiskSlow { node, .. } => *node,
            Self::Cut { from: a, to: b, .. }
            | Self::Stall { from: a, to: b, .. }
            | Self::HalfOpen { from: a, to: b, .. }
            | Self::Delay { from: a, to: b, .. }
            | Self::SlowLink { from: a, to: b, .. }
            | Self::Reset { a, b }
            | Self::Blackhole { a, b } => *a.max(b),
            Self::Partition { side, .. } => side.iter().copied().max().unwrap_or(0),
        }
    }

    /// The same fault, shorter or milder: what a shrinking run tries next. Empty where it is as small as
    /// it gets.
    pub(crate) fn milder(&self) -> Vec<Self> {
        let mut milder = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut fault = self.clone();
            change(&mut fault);
            if fault != *self {
                milder.push(fault);
            }
        };
        let halve = |value: &mut u64| *value = (*value / 2).max(1);
        with(&|fault| match fault {
            Self::Kill { down_ms: ms, .. }
            | Self::PowerLoss { down_ms: ms, .. }
            | Self::Leave { down_ms: ms, .. }
            | Self::Pause { ms, .. }
            | Self::Slow { ms, .. }
            | Self::ClockDrift { ms, .. }
            | Self::DiskFull { ms, .. }
            | Self::DiskFails { ms, .. }
            | Self::DiskSlow { ms, .. }
            | Self::Cut { ms, .. }
            | Self::Partition { ms, .. }
            | Self::Stall { ms, .. }
            | Self::HalfOpen { ms, .. }
            | Self::Delay { ms, .. }
            | Self::SlowLink { ms, .. } => halve(ms),
            Self::ClockJump { by_ms, .. } => *by_ms /= 2,
            Self::Reset { .. } | Self::Blackhole { .. } => {}
        });
        with(&|fault| match fault {
            Self::PowerLoss { node, down_ms } | Self::Leave { node, down_ms } => {
                *fault = Self::Kill { node: *node, down_ms: *down_ms };
            }
            Self::Blackhole { a, b } => *fault = Self::Reset { a: *a, b: *b },
            Self::Slow { turn_ms, .. } => halve(turn_ms),
            Self::ClockDrift { millionths, .. } => *millionths /= 2,
            Self::Delay { extra_ms, .. } | Self::DiskSlow { extra_ms, .. } => halve(extra_ms),
            _ => {}
        });
        milder
    }
}

/// A fault and when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

impl Planned {
    /// When.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }
}

/// Which faults a world meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// So many, drawn from the seed, over all kinds.
    Random(usize),
    /// These.
    Planned(Vec<Planned>),
}

/// What is no list of faults.
#[derive(Debug, thiserror::Error)]
#[error("not a list of faults in JSON: {0}")]
pub struct NotFaults(#[from] serde_json::Error);

/// From JSON: a list as failing runs print it.
impl std::str::FromStr for Faults {
    type Err = NotFaults;

    fn from_str(json: &str) -> Result<Self, NotFaults> {
        Ok(Self::Planned(serde_json::from_str(json)?))
    }
}

impl Faults {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::Planned(Vec::new())
    }

    pub(crate) fn plan(&self, chance: &mut Chance, nodes: usize, end: Duration) -> Vec<Planned> {
        let mut plan = match self {
            Self::Planned(plan) => plan.clone(),
            // There is nobody to draw; `admit` says so.
            Self::Random(_) if nodes == 0 => Vec::new(),
            Self::Random(count) => {
                let span = end.as_millis() as usize;
                let draw =
                    |_| Planned { at_ms: chance.below(span) as u64, fault: draw(chance, nodes) };
                (0..*count).map(draw).collect()
            }
        };
        plan.sort_by_key(|planned| planned.at_ms);
        plan
    }
}

/// One fault of any kind. A world of one machine has no network to fail.
fn draw(chance: &mut Chance, nodes: usize) -> Fault {
    let node = chance.below(nodes);
    let other = (node + 1 + chance.below(nodes.saturating_sub(1).max(1))) % nodes;
    let mut up_to = |most: usize| 1 + chance.below(most) as u64;
    let (short, long) = (up_to(2_000), up_to(8_000));
    let (from, to, a, b) = (node, other, node, other);
    match chance.below(if nodes > 1 { 28 } else { 14 }) {
        0..3 => Fault::Kill { node, down_ms: short },
        3..6 => Fault::PowerLoss { node, down_ms: long },
        6 => Fault::Leave { node, down_ms: short },
        7 => Fault::Pause { node, ms: long },
        8 => Fault::Slow { node, turn_ms: 2 + chance.below(200) as u64, ms: long },
        9 => Fault::ClockJump { node, by_ms: chance.below(4_000) as i64 - 2_000 },
        10 => {
            let millionths = chance.below(20_000) as i64 - 10_000;
            Fault::ClockDrift { node, millionths, ms: long }
        }
        11 => Fault::DiskFull { node, ms: long },
        12 => {
            let (writes, syncs) = (chance.below(3) as u32, 1 + chance.below(3) as u32);
            Fault::DiskFails { node, writes, syncs, ms: long }
        }
        13 => Fault::DiskSlow { node, extra_ms: 1 + chance.below(300) as u64, ms: long },
        14..17 => Fault::Cut { from, to, ms: long },
        17..20 => {
            // Somebody on either side.
            let side = (0..nodes).filter(|one| *one == node || *one != other && chance.one_in(2));
            Fault::Partition { side: side.collect(), ms: long }
        }
        20 => Fault::Stall { from, to, ms: long },
        21..23 => Fault::Reset { a, b },
        23 => Fault::Blackhole { a, b },
        24 => Fault::HalfOpen { from, to, ms: long },
        25 => Fault::Delay { from, to, extra_ms: 1 + chance.below(500) as u64, ms: long },
        _ => Fault::SlowLink {
            from,
            to,
            bytes_per_second: 1_000 + chance.below(100_000) as u64,
            ms: long,
        },
    }
}
