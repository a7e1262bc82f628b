//! What waits to be written to a peer.

use serde::{Deserialize, Serialize};

/// How many bytes wait to be written to one peer. What is being written just now does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unsent {
    /// Of what nodes say to one another. Beyond 64 MiB the link is given up.
    pub control_bytes: usize,
    /// Of messages, answers and publications, large ones aside. Messages wait for the peer's credit
    /// elsewhere, with whoever sends them, so of these it is 4 MiB and one message for each thread, or
    /// 16 MiB where the peer grants more. Of answers it is 16 MiB; beyond twice as much the link is
    /// given up.
    pub data_bytes: usize,
}
