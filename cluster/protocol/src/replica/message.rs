//! What copies of a replicated map say to one another.

use serde::{Deserialize, Serialize};

use super::Bounded;
use crate::NodeId;

/// A message between two copies of a [`Replica`](super::Replica).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaMessage<K, V> {
    /// Everything that `origin` wrote, in parts that follow one another in the order of keys. What
    /// it changes meanwhile comes between them as deltas, so that all parts and deltas together
    /// amount to its entries at the last part.
    Snapshot {
        /// Who wrote the entries, and sends them.
        origin: NodeId,
        /// The version of this part: that of the part before and of the deltas between.
        version: u64,
        /// Which part this is, from 0.
        part: u32,
        /// Whether it is the last one.
        last: bool,
        /// The entries of this part.
        entries: Vec<(K, V)>,
    },
    /// What `origin` has changed since.
    Delta {
        /// Who made the changes, and sends them.
        origin: NodeId,
        /// The version that they apply to.
        from: u64,
        /// The version that they lead to, above `from`.
        to: u64,
        /// The changes, in order.
        changes: Vec<Change<K, V>>,
    },
    /// The sender has missed something and wants `origin`, the receiver, to send a snapshot.
    SyncRequest {
        /// Whose entries are wanted: the receiver's.
        origin: NodeId,
        /// The version that the sender has.
        have: u64,
    },
}

/// One change to the entries of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change<K, V> {
    /// An entry is new, or has a new value.
    Put {
        /// Its key.
        key: K,
        /// Its value.
        value: V,
    },
    /// An entry is gone.
    Remove {
        /// Its key.
        key: K,
    },
}

impl<K, V> Change<K, V> {
    /// The key of the entry.
    #[must_use]
    pub fn key(&self) -> &K {
        match self {
            Self::Put { key, .. } | Self::Remove { key } => key,
        }
    }
}

impl<K, V> ReplicaMessage<K, V> {
    /// Whose entries the message is about.
    #[must_use]
    pub fn origin(&self) -> &NodeId {
        match self {
            Self::Snapshot { origin, .. }
            | Self::Delta { origin, .. }
            | Self::SyncRequest { origin, .. } => origin,
        }
    }

    pub(super) fn is_request(&self) -> bool {
        matches!(self, Self::SyncRequest { .. })
    }
}

impl<K: Bounded, V: Bounded> ReplicaMessage<K, V> {
    pub(super) fn is_within_bounds(&self) -> bool {
        let fits = |key: &K, value: &V| key.is_within_bounds() && value.is_within_bounds();
        match self {
            Self::Snapshot { entries, .. } => entries.iter().all(|(key, value)| fits(key, value)),
            Self::Delta { changes, .. } => changes.iter().all(|change| match change {
                Change::Put { key, value } => fits(key, value),
                Change::Remove { key } => key.is_within_bounds(),
            }),
            Self::SyncRequest { .. } => true,
        }
    }
}
