//! What is told to [`Peers`](crate::Peers).

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Hello, LinkEnd, LinkId, NodeId, NodeName, Reason, Refusal};

/// Something that happened, for [`Peers::step`](crate::Peers::step) to decide upon. Plain values, so
/// that they can be recorded and replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeersInput {
    /// Endpoints to dial for ever, whoever answers there. May come more than once; what is known
    /// already stays as it is.
    Join {
        /// The endpoints.
        seeds: Vec<Endpoint>,
    },
    /// Endpoints that are no seeds any more. Who answered there stays a peer like any other.
    Unjoin {
        /// The endpoints.
        seeds: Vec<Endpoint>,
    },
    /// A [`Control::Swim`](crate::Control::Swim) has arrived.
    Swim {
        /// Over this link.
        link: LinkId,
        /// What it said.
        packet: Vec<u8>,
    },
    /// A hello has arrived, of either lane, and
    /// [`Terms::judge_hello`](crate::Terms::judge_hello) has found nothing wrong with it. Answered
    /// at once by [`PeersOutput::Accept`](crate::PeersOutput::Accept) or
    /// [`PeersOutput::Refuse`](crate::PeersOutput::Refuse).
    HelloReceived {
        /// The shell's name for the connection; comes back in the answer.
        token: u64,
        /// What was said.
        hello: Hello,
    },
    /// A dial failed before its other end had said anything.
    DialFailed {
        /// The dial's link.
        link: LinkId,
        /// What went wrong.
        reason: Reason,
    },
    /// A dial met a refusal, whichever end refused.
    DialRefused {
        /// The dial's link.
        link: LinkId,
        /// Who answered, by its certificate.
        by: NodeName,
        /// What was said.
        refusal: Refusal,
    },
    /// All lanes of a link are open: a dialled one whose welcomes were judged good, or an accepted
    /// one whose data lane was accepted too.
    LinkUp {
        /// Which.
        link: LinkId,
        /// Who is at the other end, as its welcome or its hello says.
        peer: NodeId,
        /// Where it wants to be dialled, as its welcome or its hello says.
        listen: Option<Endpoint>,
    },
    /// A link broke: a lane was closed or failed, or what came over it made no sense. Ignored for
    /// links that are gone already.
    LinkDown {
        /// Which.
        link: LinkId,
        /// What happened.
        why: LinkEnd,
    },
    /// Something, anything, arrived over the link's control lane. Cheap.
    Heard {
        /// Over which link.
        link: LinkId,
    },
    /// The peer said [`Control::Goodbye`](crate::Control::Goodbye).
    Goodbye {
        /// Over which link.
        link: LinkId,
    },
    /// It is as late as [`Peers::next_wakeup`](crate::Peers::next_wakeup) said, or later.
    Tick,
    /// This node leaves: links are closed, and no others opened or accepted. Final.
    Leave,
}
