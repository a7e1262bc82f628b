//! How much an actor has to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much waits for an actor, in powers of two: 0, 1, 2 to 3, 4 to 7 messages, and so on. So
/// coarse, it seldom changes, and who picks by it sees the difference that matters.
///
/// Any number that a peer may send is a load; one beyond 64 counts as more than all others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Load(u8);

impl Load {
    /// The load of an actor in whose mailbox so many messages wait.
    ///
    /// ```
    /// use umbel_protocol::Load;
    ///
    /// assert_eq!(Load::of(5), Load::of(7));
    /// assert!(Load::of(7) < Load::of(8));
    /// ```
    #[must_use]
    pub fn of(messages: u64) -> Self {
        let bits = u64::BITS - messages.leading_zeros();
        Self(u8::try_from(bits).expect("64 bits are a number below 256"))
    }

    /// The least number of messages that is this load.
    #[must_use]
    pub fn messages_least(self) -> u64 {
        match self.0 {
            0 => 0,
            bits => 1_u64.checked_shl(u32::from(bits) - 1).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+", self.messages_least())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_a_power_of_two_and_grows_with_what_waits() {
        let loads = [0, 1, 2, 3, 4, 7, 8, 1023, 1024, u64::MAX].map(Load::of);
        assert!(loads.is_sorted());
        assert_eq!(loads.map(Load::messages_least), [0, 1, 2, 2, 4, 4, 8, 512, 1024, 1 << 63]);
        assert_eq!(Load(255).messages_least(), u64::MAX);
    }
}
