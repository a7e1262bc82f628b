//! What goes wrong in a run, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// Something that goes wrong. Nodes are named by their number, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The process is killed; its machine resets its connections.
    Kill {
        /// Which.
        node: usize,
    },
    /// The machine loses its power: nobody is told.
    PowerLoss {
        /// Which.
        node: usize,
    },
    /// The node is started as a new incarnation, after being killed if it runs.
    Restart {
        /// Which.
        node: usize,
        /// Whether it listens elsewhere from now on.
        elsewhere: bool,
    },
    /// The node does nothing for a while, then goes on with all that has come meanwhile.
    Pause {
        /// Which.
        node: usize,
        /// For how long.
        millis: u64,
    },
    /// Nothing gets through one way. What is sent meanwhile arrives afterwards, as TCP would have it.
    Cut {
        /// From this node.
        from: usize,
        /// To this one.
        to: usize,
        /// For how long.
        millis: u64,
    },
    /// Nothing gets through between these nodes and the others, either way.
    Partition {
        /// Those on one side.
        side: Vec<usize>,
        /// For how long.
        millis: u64,
    },
    /// All connections between two nodes are reset.
    Reset {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
    },
    /// The node says goodbye and ends.
    Leave {
        /// Which.
        node: usize,
    },
}

/// A fault and when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When, in milliseconds from the start.
    pub at_millis: u64,
    /// What.
    pub fault: Fault,
}

impl Planned {
    /// When.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_millis)
    }
}

/// Draws the faults of a run, in order, all before `end`.
pub(crate) fn plan(chance: &mut Chance, nodes: usize, end: Duration) -> Vec<Planned> {
    let count = 3 + chance.below(10);
    let mut plan: Vec<_> = (0..count)
        .map(|_| Planned {
            at_millis: chance.below(end.as_millis() as usize) as u64,
            fault: draw(chance, nodes),
        })
        .collect();
    plan.sort_by_key(|planned| planned.at_millis);
    plan
}

fn draw(chance: &mut Chance, nodes: usize) -> Fault {
    let node = chance.below(nodes);
    let other = (node + 1 + chance.below(nodes - 1)) % nodes;
    let millis = 1 + chance.below(12_000) as u64;
    match chance.below(16) {
        0..2 => Fault::Kill { node },
        2..4 => Fault::PowerLoss { node },
        4..8 => Fault::Restart { node, elsewhere: chance.one_in(2) },
        8..10 => Fault::Pause { node, millis },
        10 => Fault::Cut { from: node, to: other, millis },
        11..13 => {
            let side = (0..nodes).filter(|_| chance.one_in(2)).collect();
            Fault::Partition { side, millis }
        }
        13..15 => Fault::Reset { a: node, b: other },
        _ => Fault::Leave { node },
    }
}
