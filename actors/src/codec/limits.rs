/// How much of a message's shape may be decided by whoever wrote its bytes.
///
/// They are part of the protocol in all but name: a message that one node may send and another
/// refuses is lost, so change them on all nodes of a cluster or on none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many values may stand inside one another. Every struct with fields, tuple, newtype,
    /// enum, `Some`, sequence and map on the way from the message to its innermost part counts as
    /// one; `Box` and `Arc` do not, and neither do plain values.
    ///
    /// It bounds the stack. A level of a recursive type takes 0.5 to 1 KiB of it in a debug build,
    /// and about ten times the size of the type where that is more (measured; a third of it when
    /// optimized). Default: 64, with which a type of 1 KiB needs 0.6 MiB, where tokio's threads
    /// have 2. A long list that refers to itself does not fit: send a `Vec`.
    pub depth_max: usize,

    /// How many elements of sequences and keys of maps, over the whole message, may take no bytes
    /// on the wire, as those of a `Vec<()>` do.
    ///
    /// It bounds the time a short message can cost. Default: 65,536, which takes less than a
    /// millisecond when optimized.
    pub empty_elements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, empty_elements_max: 65_536 }
    }
}
