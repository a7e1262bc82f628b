//! What [`Peers`](crate::Peers) decides.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Endpoint, Held, Incarnation, LinkId, MemberEvent, NodeId, NodeName, Reason, Refusal};

/// Something to be done, in the order given, by whoever drives [`Peers`](crate::Peers).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeersOutput {
    /// Dial: connect, judge one another, open all lanes. Answered by `LinkUp`, `DialFailed` or
    /// `DialRefused` with the same link.
    Dial {
        /// The id to dial with.
        link: LinkId,
        /// Where.
        endpoint: Endpoint,
        /// Who must answer; `None` for a seed whose name is not known yet.
        expect: Option<NodeName>,
        /// For the hello: what this node holds of that peer.
        held: Held,
    },
    /// Welcome the connection whose hello was handed in under `token`.
    Accept {
        /// The shell's name for the connection.
        token: u64,
        /// The link that it belongs to.
        link: LinkId,
    },
    /// Send the refusal to the connection whose hello was handed in under `token`, and close it.
    Refuse {
        /// The shell's name for the connection.
        token: u64,
        /// What to say.
        refusal: Refusal,
    },
    /// Close all lanes of the link, if it still has any. With [`LinkEnd::Leaving`] say
    /// [`Control::Goodbye`](crate::Control::Goodbye) first. Nothing more needs to be said of it.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        why: LinkEnd,
    },
    /// Send [`Control::Ping`](crate::Control::Ping).
    Ping {
        /// Over which link.
        link: LinkId,
        /// Counts the link's pings.
        token: u64,
    },
    /// A peer can be reached from now on. At most one life of a node is up at a time, over exactly
    /// one link.
    PeerUp {
        /// Which life of which node.
        peer: NodeId,
        /// By which link.
        link: LinkId,
    },
    /// A peer can no longer be reached; all that was known through it is void. Follows each
    /// [`PeersOutput::PeerUp`] before the next one of the same name.
    PeerDown {
        /// Which life of which node.
        peer: NodeId,
        /// By which link it was reached.
        link: LinkId,
        /// Why.
        why: LinkEnd,
    },
    /// Send [`Control::Swim`](crate::Control::Swim).
    Swim {
        /// Over which link.
        link: LinkId,
        /// What to say; at most 32 KiB.
        packet: Vec<u8>,
    },
    /// A member has come, or is otherwise than before.
    Member(MemberEvent),
    /// This node's life was taken for over: it goes on as another one. All its links have just been
    /// closed; what it says in handshakes, and whatever else names its life, is to name this one from
    /// now on.
    Renewed {
        /// Which life this is now.
        me: NodeId,
    },
    /// A seed will not be dialled (any more).
    SeedDropped {
        /// Which.
        endpoint: Endpoint,
        /// Why.
        why: SeedDropped,
    },
    /// A peer knows a later life of this very node: links with that peer will not come up. Either a
    /// second process runs under this name, or the clock was set back since the last start. Said at
    /// each such refusal.
    Superseded {
        /// Who says so.
        by: NodeName,
        /// The life that it knows of.
        known: Incarnation,
    },
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum LinkEnd {
    /// The peer said goodbye.
    #[error("the peer left the cluster")]
    Goodbye,
    /// A connection was closed or failed.
    #[error("the connection broke: {0}")]
    Broken(Reason),
    /// The peer sent something that it must not send.
    #[error("the peer broke the protocol: {0}")]
    Violation(Reason),
    /// Nothing was heard for too long, or its handshake was not finished in time.
    #[error("nothing was heard from the peer for too long")]
    Silent,
    /// The peer's certificate is not good any more: it has expired or was revoked, or its authority is
    /// not trusted any more.
    #[error("the peer's certificate is not good any more: {0}")]
    Untrusted(Reason),
    /// A connection of the link is as old as it may become, and could not be replaced.
    #[error("a connection became too old, and could not be replaced")]
    Aged,
    /// The peer ended the link, and said why.
    #[error("the peer ended the link: {0}")]
    Parted(Reason),
    /// A later life of the peer is known.
    #[error("incarnation {by} of the peer has taken its place")]
    Fenced {
        /// That life.
        by: Incarnation,
    },
    /// Another link with the same life of the peer took its place, or had it already: the peer had
    /// lost this one, or both had dialled.
    #[error("link {by} joins the two nodes in its place")]
    Replaced {
        /// The link that remains.
        by: LinkId,
    },
    /// This node leaves the cluster.
    #[error("this node leaves the cluster")]
    Leaving,
    /// The members have declared the peer down.
    #[error("the peer was declared down")]
    Down,
    /// This node was declared down, and goes on as a new incarnation.
    #[error("this node was declared down and begins a new incarnation")]
    Renewed,
    /// Nobody waits for this link (any more), or there is no room for its peer.
    #[error("the link is not wanted (any more)")]
    Unwanted,
}

/// Why a seed is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum SeedDropped {
    /// It is this node.
    #[error("the seed is this node itself")]
    Myself,
    /// There are `seeds_max` others.
    #[error("there are as many seeds as `seeds_max` allows: name fewer, or raise it")]
    TooMany,
}
