/// Why a value was not encoded. Nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its bytes would exceed the bound that was given.
    #[error("the message was not encoded: it takes more than {bytes_max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        bytes_max: usize,
    },

    /// More values stand inside one another than a receiver accepts.
    #[error("the message was not encoded: it is nested more than {depth_max} levels deep")]
    TooDeep {
        /// The bound, [`Limits::depth_max`](super::Limits::depth_max).
        depth_max: usize,
    },

    /// More elements take no bytes than a receiver accepts.
    #[error("the message was not encoded: over {empty_elements_max} of its elements take no bytes")]
    TooManyEmpty {
        /// The bound, [`Limits::empty_elements_max`](super::Limits::empty_elements_max).
        empty_elements_max: usize,
    },

    /// Its type uses serde in a way that this format cannot carry, or its own `Serialize` refused.
    #[error("the message was not encoded: {0}")]
    Unencodable(String),
}

/// Why bytes were refused. No value was made of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end, or a length in them claims more than there is, before the value is whole.
    #[error("the message was refused: it ends before its value does")]
    Truncated,

    /// They go on after the value.
    #[error("the message was refused: {bytes} bytes follow its value")]
    TrailingBytes {
        /// How many bytes follow.
        bytes: usize,
    },

    /// More values stand inside one another than the limits allow.
    #[error("the message was refused: it is nested more than {depth_max} levels deep")]
    TooDeep {
        /// The bound, [`Limits::depth_max`](super::Limits::depth_max).
        depth_max: usize,
    },

    /// More elements take no bytes than the limits allow.
    #[error("the message was refused: over {empty_elements_max} of its elements take no bytes")]
    TooManyEmpty {
        /// The bound, [`Limits::empty_elements_max`](super::Limits::empty_elements_max).
        empty_elements_max: usize,
    },

    /// They are no value of the type: an unknown variant, text that is not UTF-8, a `bool` of 2,
    /// or something its own `Deserialize` refused. The text is at most 256 bytes long.
    #[error("the message was refused: {0}")]
    Malformed(String),

    /// No bytes would do: the type asks the format what comes next, as serde's `untagged`, `tag`
    /// and `flatten` do, and this format cannot tell.
    #[error(
        "the message was refused: its type {0}, which this format cannot answer: take serde's \
         `untagged`, `tag` or `flatten` out of it"
    )]
    Undecodable(&'static str),
}
