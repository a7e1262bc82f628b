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
    /// It bounds the stack: choose it so that `depth_max` times the frames of one level (measured
    /// in debug builds: 1 to 4 KiB, and more for types of several hundred bytes) fits well into
    /// the stacks of the threads that decode. Default: 64.
    pub depth_max: usize,

    /// How many elements of sequences and keys of maps, over the whole message, may take no bytes
    /// on the wire, as those of a `Vec<()>` do.
    ///
    /// It bounds the time a short message can cost. Default: 65,536, which takes well under a
    /// millisecond.
    pub empty_elements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, empty_elements_max: 65_536 }
    }
}
