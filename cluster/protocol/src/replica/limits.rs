//! How much a replicated map holds.

use serde::{Deserialize, Serialize};

use crate::Text;

/// How much a [`Replica`](crate::Replica) holds: at most `origins_max * entries_max` entries of
/// peers, each within its [`Bounded`] size, besides its own `entries_max`; and while a snapshot
/// arrives, twice as much of that one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaLimits {
    /// How many entries one node may write. Default 65,536. Give all nodes the same: what a peer has
    /// beyond this is left out here, and said so by
    /// [`ReplicaOutput::Overflow`](crate::ReplicaOutput::Overflow).
    pub entries_max: usize,
    /// How many peers are known at most, up or remembered for their incarnation. Default 1024.
    pub origins_max: usize,
    /// How many entries one message carries at most, at least 1. Default 256.
    pub message_entries_max: usize,
}

impl Default for ReplicaLimits {
    fn default() -> Self {
        Self { entries_max: 65_536, origins_max: 1024, message_entries_max: 256 }
    }
}

/// A key or a value that knows whether it is small enough to be kept. What comes from a peer is asked
/// before it is stored.
pub trait Bounded {
    /// Whether this is within the size that its documentation states.
    fn is_within_bounds(&self) -> bool;
}

macro_rules! always_bounded {
    ($($type:ty),*) => { $(impl Bounded for $type {
        fn is_within_bounds(&self) -> bool { true }
    })* };
}

always_bounded!((), u8, u16, u32, u64);

impl<const MAX: usize> Bounded for Text<MAX> {
    fn is_within_bounds(&self) -> bool {
        true
    }
}
