//! What goes into a replicated map and what comes out of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Change, ReplicaMessage};
use crate::NodeId;

/// Something that happened, for [`Replica::step`](crate::Replica::step) to take note of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaInput<K, V> {
    /// Writes an entry of this node's own, in place of the one with the same key.
    Put {
        /// The key.
        key: K,
        /// The value.
        value: V,
    },
    /// Takes an entry of this node's own away, if it is there.
    Remove {
        /// The key.
        key: K,
    },
    /// Makes several changes to entries of this node's own, all of them or none. They reach peers
    /// in messages of `message_entries_max` changes.
    Write {
        /// The changes, in order.
        changes: Vec<Change<K, V>>,
    },
    /// [`PeersOutput::PeerUp`](crate::PeersOutput::PeerUp).
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// [`PeersOutput::PeerDown`](crate::PeersOutput::PeerDown).
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// All that was to be sent to a peer is on its way: if it has not been sent the whole snapshot
    /// yet, here is room for the next part. So what waits for a peer is one part and the changes
    /// since, however many entries there are.
    Room {
        /// Who.
        peer: NodeId,
    },
    /// A message has arrived.
    Received {
        /// From the peer at the other end of the link, as authenticated by the link.
        from: NodeId,
        /// The message.
        message: ReplicaMessage<K, V>,
    },
    /// [`PeersOutput::Renewed`](crate::PeersOutput::Renewed): this node's own entries are those of its
    /// new life. No peer is up then.
    Renewed {
        /// Which life this is now.
        me: NodeId,
    },
}

/// Something to be done, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaOutput<K, V> {
    /// Send this to one peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: ReplicaMessage<K, V>,
    },
    /// Send this to all peers that are up.
    Broadcast(ReplicaMessage<K, V>),
    /// The map has changed.
    Event(ReplicaEvent<K, V>),
    /// A peer has more entries than `entries_max` allows; some are left out until its next snapshot.
    Overflow {
        /// Which peer.
        origin: NodeId,
        /// How many entries this message brought in vain.
        left_out: usize,
    },
}

/// A change to the map. Each entry's events alternate between added and removed, with any number of
/// changes in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaEvent<K, V> {
    /// Whose entry it is: a peer's or this node's own.
    pub origin: NodeId,
    /// The entry's key.
    pub key: K,
    /// What became of it.
    pub kind: ReplicaEventKind<V>,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaEventKind<V> {
    /// It is new.
    Added {
        /// Its value.
        value: V,
    },
    /// It has another value than before.
    Changed {
        /// The value now.
        value: V,
        /// The value before.
        was: V,
    },
    /// It is gone, by itself or with its node.
    Removed {
        /// Its last value.
        was: V,
    },
}

/// Why a step was refused. The map is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// This node has `entries_max` entries of its own. Tell whoever wanted one more.
    #[error("this node has {entries_max} entries, its limit: remove some, or raise the limit")]
    Full {
        /// The limit.
        entries_max: usize,
    },
    /// The key or the value is too large. Tell whoever wanted to put it, or close the link with the
    /// peer that sent it.
    #[error("the key or the value is larger than allowed")]
    TooLarge,
    /// All `origins_max` peers that are known are up. Close the link with this one.
    #[error("{origins_max} peers are up, the limit: raise it")]
    TooManyOrigins {
        /// The limit.
        origins_max: usize,
    },
    /// A peer speaks for another node. Close the link with it.
    #[error("{from} sent what only {origin} may send")]
    NotItsOwn {
        /// Who sent it.
        from: NodeId,
        /// Whom it is about.
        origin: NodeId,
    },
    /// The numbers in a message contradict one another. Close the link with the peer that sent it.
    #[error("{from} sent a message whose numbers contradict one another")]
    Malformed {
        /// Who sent it.
        from: NodeId,
    },
}
