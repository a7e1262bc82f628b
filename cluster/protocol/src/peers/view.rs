//! What there is to see of [`Peers`](crate::Peers).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Incarnation, LinkId, MemberView, NodeId, NodeName, Reason};

/// All peers and seeds as one node sees them at one moment, for the command line, the dashboard and
/// metrics. All times count from the node's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersView {
    /// The node that sees them.
    pub me: NodeId,
    /// Whether it has left.
    pub left: bool,
    /// The peers, by name.
    pub peers: Vec<PeerView>,
    /// The seeds, by endpoint.
    pub seeds: Vec<SeedView>,
    /// The other members, by name.
    pub members: Vec<MemberView>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub name: NodeName,
    /// The latest life that it has proven by its certificate, if any.
    pub incarnation: Option<Incarnation>,
    /// Where it can be dialled, the best first.
    pub endpoints: Vec<Endpoint>,
    /// Whether a seed led to it; such peers are never forgotten.
    pub seed: bool,
    /// How things stand with it.
    pub state: PeerState,
    /// How many dials have failed since it was last linked for good.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<Reason>,
}

/// One seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedView {
    /// Where it is dialled.
    pub endpoint: Endpoint,
    /// Who answered there last. While this is known, see the peer of that name for how things stand.
    pub name: Option<NodeName>,
    /// How things stand with it.
    pub state: PeerState,
    /// How many dials have failed since somebody last answered.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<Reason>,
}

/// How things stand with a peer or a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerState {
    /// It is up, by this link.
    Linked {
        /// The link.
        link: LinkId,
        /// Since when.
        since: Duration,
        /// Whether this node has dialled it.
        dialled_by_us: bool,
    },
    /// It has dialled this node and was welcomed; the link's other lanes are awaited.
    Accepting {
        /// The link.
        link: LinkId,
        /// Since when.
        since: Duration,
    },
    /// This node is dialling it.
    Dialling {
        /// The link to be.
        link: LinkId,
        /// Since when.
        since: Duration,
    },
    /// It will be dialled, or it is its turn to dial.
    Waiting {
        /// Since when.
        since: Duration,
        /// Until when at least.
        until: Duration,
    },
    /// No endpoint is known for it: it must dial.
    Unreachable {
        /// Since when.
        since: Duration,
    },
    /// It said goodbye.
    Left {
        /// When.
        since: Duration,
    },
    /// A seed that has been found: see its peer.
    Resolved,
}
