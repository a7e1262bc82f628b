//! Everything that the control lane carries.

use serde::{Deserialize, Serialize};

use crate::{InterestMessage, Lane, Reason, RegistryMessage};

/// One message on the control lane of a link.
///
/// The order of the variants, here and in what they hold, is the wire format: new ones go to the
/// end, with a new protocol version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// "Are you there?" Answered by [`Control::Pong`] with the same token.
    Ping {
        /// Which ping of the link it is.
        token: u64,
    },
    /// "I am."
    Pong {
        /// The ping's token.
        token: u64,
    },
    /// Who is a member, and who of them lives: a packet of at most 32 KiB. Goes to
    /// [`PeersInput::Swim`](crate::PeersInput).
    Swim(Vec<u8>),
    /// What the sender has registered.
    Registry(RegistryMessage),
    /// Which topics the sender has subscribers for.
    Interest(InterestMessage),
    /// Asks to be told once when an actor of the receiver ends, by [`Control::Ended`].
    Watch {
        /// The watched actor's id on the receiver.
        actor: u64,
        /// Chosen by the sender; names the watch in the answer.
        token: u64,
    },
    /// Takes a [`Control::Watch`] back. An answer that is already under way may still arrive.
    Unwatch {
        /// The watch's token.
        token: u64,
    },
    /// A watched actor has ended, or never was.
    Ended {
        /// The watch's token.
        token: u64,
        /// How it ended.
        why: Ended,
    },
    /// The sender leaves the cluster; it answers nothing more. Goes to
    /// [`PeersInput::Goodbye`](crate::PeersInput).
    Goodbye,
    /// The connection of this lane is to be replaced by another one: said by the end that did not dial
    /// the link, and so cannot do it itself.
    Renew(Lane),
    /// The sender ends the link, and says why. Goes to
    /// [`PeersInput::LinkDown`](crate::PeersInput) as [`LinkEnd::Parted`](crate::LinkEnd).
    Parting(Reason),
}

/// How a watched actor ended. That its node is gone no message can say:
/// [`PeersOutput::PeerDown`](crate::PeersOutput) does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It stopped of its own accord or was asked to.
    Stopped,
    /// It panicked or returned an error.
    Failed(Reason),
    /// It was killed.
    Killed,
    /// There was none when the watch arrived.
    NoSuchActor,
    /// It may live: the receiver of the watch keeps no more of them for this peer.
    TooManyWatches,
}
