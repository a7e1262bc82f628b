//! Rendezvous hashing: to which of several a key belongs, as all nodes and all builds see it.
//!
//! None of these may ever change: a key must belong to the same one in every build on every machine.

use std::cmp::Reverse;

/// Where something stands among others, or a key: FNV-1a, 64 bits.
#[must_use]
pub fn place(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The index among those (each with its place) to which the key belongs; of several at one place, the
/// first. `None` where there are none.
pub fn owner(key: &[u8], among: impl IntoIterator<Item = (usize, u64)>) -> Option<usize> {
    let key = place(key);
    let weigh = |(index, place)| (mixed(place ^ key), Reverse(index));
    let (_, Reverse(index)) = among.into_iter().map(weigh).max()?;
    Some(index)
}

/// The finalizer of MurmurHash3, 64 bits, which leaves no trace of what was similar.
#[must_use]
pub fn mixed(mut bits: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    bits ^ (bits >> 33)
}
