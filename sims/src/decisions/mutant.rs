//! Bugs on purpose: what the invariants must catch.

/// A bug that is planted in what surrounds the machines, or in the network. An invariant that catches
/// none would be worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Nobody tells the registry that a peer is down.
    KeepsEntries,
    /// The network brings back a dead life of a node, and what it had registered.
    Ghost,
    /// The network loses a message now and then, on a connection that goes on.
    LosesMessages,
    /// Nodes never wake up to look at the time.
    NeverWakes,
    /// Nobody takes note that a peer is down.
    ForgetsDown,
    /// What goes to all peers goes to them in the order of a hash table with random keys.
    HashOrder,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::KeepsEntries,
        Self::Ghost,
        Self::LosesMessages,
        Self::NeverWakes,
        Self::ForgetsDown,
        Self::HashOrder,
    ];
}
