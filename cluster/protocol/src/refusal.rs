//! Why a connection is not wanted.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    ClusterName, CodecId, Identity, Incarnation, LinkId, NodeId, NodeName, Over, VersionRange,
};

/// Why a handshake was refused. It travels to the refused side before the connection is closed, so
/// its texts read well on both ends: `ours` is the refusing node's, `yours` the refused one's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// The certificate is good, but for another cluster.
    #[error(
        "the refusing node is in cluster {ours}, the refused one in {yours}: \
         join a node of the same cluster, or issue a certificate for {ours}"
    )]
    WrongCluster {
        /// The cluster of the node that refuses.
        ours: ClusterName,
        /// The cluster of the node that is refused.
        yours: ClusterName,
    },
    /// A node says that it is somebody else than its certificate says.
    #[error(
        "the refused node calls itself {claimed}, but its certificate is for {certified}: \
         give it the configuration that belongs to its certificate"
    )]
    NotYourCertificate {
        /// Who it says that it is.
        claimed: Identity,
        /// Who its certificate says that it is.
        certified: Identity,
    },
    /// The two share no version of the protocol.
    #[error(
        "no common protocol version: the refusing node speaks {ours}, the refused one {yours}: \
         upgrade the older of the two"
    )]
    Protocol {
        /// What the node that refuses speaks.
        ours: VersionRange,
        /// What the node that is refused speaks.
        yours: VersionRange,
    },
    /// The two encode their frames in different ways.
    #[error(
        "the refusing node speaks codec {ours}, the refused one {yours}: configure one for both"
    )]
    Codec {
        /// What the node that refuses speaks.
        ours: CodecId,
        /// What the node that is refused speaks.
        yours: CodecId,
    },
    /// The node has dialled itself.
    #[error("this is the dialling node itself: leave it out of its own seeds")]
    SameNode,
    /// Another process runs under this name, and began earlier.
    #[error(
        "the refusing node has the same name, in incarnation {by}: \
         stop one of the two, or give each a name and a certificate of its own"
    )]
    NameTaken {
        /// The life of the node that refuses.
        by: Incarnation,
    },
    /// A later life of that node is known (or this one has said goodbye); this one is over.
    #[error("incarnation {known} of that node is known to be over or later: restart it")]
    Fenced {
        /// The latest life that the refusing node knows of.
        known: Incarnation,
    },
    /// The members have declared that life of the node down, while it could not be reached; it goes
    /// on as a new incarnation.
    #[error("incarnation {} of that node was declared down: it goes on as a new one", .0.life)]
    Over(Over),
    /// The refusing node was declared down, has just learned so, and goes on as a new incarnation.
    #[error("the refusing node was declared down and goes on as a new incarnation: dial again")]
    Renewing,
    /// Both dial one another; the dial of the smaller name goes first.
    #[error("both nodes dial one another, and the refusing one goes first: wait for its dial")]
    Crossed,
    /// There is a link between the two.
    #[error("link {link} already joins these two nodes: if it is lost, say so in the next hello")]
    AlreadyLinked {
        /// The link that the refusing node holds.
        link: LinkId,
    },
    /// Another link has this id.
    #[error("another link has this id: dial again with a new one")]
    LinkTaken,
    /// The refusing node holds as many peers as it may.
    #[error("the refusing node knows {peers_max} peers, its limit: raise `peers_max` there")]
    TooManyPeers {
        /// Its limit.
        peers_max: usize,
    },
    /// The refusing node has as many handshakes under way as it allows.
    #[error("too many handshakes are under way: dial again later")]
    Busy,
    /// A lane came without the lanes that go before it, or for a link that is no more.
    #[error("the refusing node has no such link with the dialling one: dial a new one")]
    UnknownLink,
    /// The dialler knew whom it wanted, and somebody else answered.
    #[error("dialled {expected}, but {found} answered there")]
    WrongNode {
        /// Who was wanted.
        expected: NodeName,
        /// Who answered, by its certificate.
        found: NodeName,
    },
    /// The refusing node is about to stop.
    #[error("the refusing node is leaving the cluster: dial another")]
    Leaving,
    /// The refusing node has no rider for the lane.
    #[error("the refusing node carries no rider: switch it on there, or leave it off here")]
    NoRider,
}

impl Refusal {
    /// What `ours` answers to a node of its own name.
    pub(crate) fn namesake(ours: &NodeId, theirs: &NodeId) -> Self {
        match theirs.incarnation.cmp(&ours.incarnation) {
            std::cmp::Ordering::Equal => Self::SameNode,
            std::cmp::Ordering::Greater => Self::NameTaken { by: ours.incarnation },
            std::cmp::Ordering::Less => Self::Fenced { known: ours.incarnation },
        }
    }

    /// One word for it, for counters and for logging once per cause.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::WrongCluster { .. } => "wrong-cluster",
            Self::NotYourCertificate { .. } => "not-your-certificate",
            Self::Protocol { .. } => "protocol",
            Self::Codec { .. } => "codec",
            Self::SameNode => "same-node",
            Self::NameTaken { .. } => "name-taken",
            Self::Fenced { .. } => "fenced",
            Self::Over(_) => "over",
            Self::Renewing => "renewing",
            Self::Crossed => "crossed",
            Self::AlreadyLinked { .. } => "already-linked",
            Self::LinkTaken => "link-taken",
            Self::TooManyPeers { .. } => "too-many-peers",
            Self::Busy => "busy",
            Self::UnknownLink => "unknown-link",
            Self::WrongNode { .. } => "wrong-node",
            Self::Leaving => "leaving",
            Self::NoRider => "no-rider",
        }
    }
}
