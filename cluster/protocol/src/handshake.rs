//! What two nodes say to one another before anything else, and how each judges the other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterName, Endpoint, Identity, Incarnation, NodeId, NodeName, Refusal, Side};

/// Where a node stands in a handshake: who it is and what it speaks. Both ends judge with it, the
/// acceptor by [`Terms::judge_hello`], the dialler by [`Terms::judge_welcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The protocol versions that this node speaks.
    pub protocol: VersionRange,
    /// The codec that this node speaks.
    pub codec: CodecId,
    /// The cluster that this node belongs to.
    pub cluster: ClusterName,
    /// Which life of which node this is.
    pub node: NodeId,
    /// Where others can dial this node, if they can at all.
    pub listen: Option<Endpoint>,
}

impl Terms {
    /// The hello that begins a connection for `lane` of `link`. `held` is what
    /// [`PeersOutput::Dial`](crate::PeersOutput::Dial) says.
    #[must_use]
    pub fn hello(&self, lane: Lane, link: LinkId, held: Held) -> Hello {
        Hello {
            protocol: self.protocol,
            codec: self.codec,
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            listen: self.listen.clone(),
            lane,
            link,
            held,
        }
    }

    /// The acceptor's part: whether `hello` goes with the certificate that its connection was opened
    /// with, with this node's cluster, and with what this node speaks. What is already linked, and
    /// which of two dials wins, is for [`Peers`](crate::Peers) to say afterwards.
    ///
    /// # Errors
    /// The [`Refusal`] to send back before closing.
    pub fn judge_hello(&self, hello: &Hello, certified: &Identity) -> Result<Welcome, Refusal> {
        let claimed = Identity::new(hello.cluster.clone(), hello.node.name.clone());
        self.judge_identity(claimed, certified)?;
        let Some(protocol) = self.protocol.highest_common(hello.protocol) else {
            return Err(Refusal::Protocol { ours: self.protocol, yours: hello.protocol });
        };
        self.judge_codec(hello.codec)?;
        self.judge_name(&hello.node)?;
        Ok(Welcome {
            protocol,
            codec: self.codec,
            node: self.node.clone(),
            listen: self.listen.clone(),
        })
    }

    /// The dialler's part: whether `welcome` goes with the acceptor's certificate, with this node's
    /// cluster, with what this node speaks, and with the name that it dialled (`None` for a seed,
    /// whose name is not known beforehand).
    ///
    /// # Errors
    /// The [`Refusal`] to report as [`PeersInput::DialRefused`](crate::PeersInput::DialRefused).
    pub fn judge_welcome(
        &self,
        welcome: &Welcome,
        certified: &Identity,
        expected: Option<&NodeName>,
    ) -> Result<(), Refusal> {
        // A welcome names no cluster: whoever welcomes has found ours to be its own.
        let claimed = Identity::new(certified.cluster.clone(), welcome.node.name.clone());
        self.judge_identity(claimed, certified)?;
        if !self.protocol.contains(welcome.protocol) {
            let yours = VersionRange { min: welcome.protocol, max: welcome.protocol };
            return Err(Refusal::Protocol { ours: self.protocol, yours });
        }
        self.judge_codec(welcome.codec)?;
        self.judge_name(&welcome.node)?;
        match expected {
            Some(expected) if *expected != certified.node => Err(Refusal::WrongNode {
                expected: expected.clone(),
                found: certified.node.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn judge_identity(&self, claimed: Identity, certified: &Identity) -> Result<(), Refusal> {
        if claimed != *certified {
            return Err(Refusal::NotYourCertificate { claimed, certified: certified.clone() });
        }
        if claimed.cluster != self.cluster {
            let (ours, yours) = (self.cluster.clone(), claimed.cluster);
            return Err(Refusal::WrongCluster { ours, yours });
        }
        Ok(())
    }

    fn judge_codec(&self, codec: CodecId) -> Result<(), Refusal> {
        if codec == self.codec {
            return Ok(());
        }
        Err(Refusal::Codec { ours: self.codec, yours: codec })
    }

    fn judge_name(&self, node: &NodeId) -> Result<(), Refusal> {
        if node.name == self.node.name { Err(Refusal::namesake(&self.node, node)) } else { Ok(()) }
    }
}

/// The first thing that a dialler says on each connection, after TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol versions that the dialler speaks.
    pub protocol: VersionRange,
    /// The codec that the dialler speaks.
    pub codec: CodecId,
    /// The cluster that the dialler belongs to; must be its certificate's.
    pub cluster: ClusterName,
    /// Which life of which node dials; the name must be its certificate's.
    pub node: NodeId,
    /// Where the dialler itself can be dialled, if it can at all.
    pub listen: Option<Endpoint>,
    /// What this connection is for.
    pub lane: Lane,
    /// The link that this connection belongs to; the same for all its lanes.
    pub link: LinkId,
    /// What the dialler holds of the acceptor.
    pub held: Held,
}

/// What a dialler holds of the one that it dials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The link with the acceptor that the dialler knows to be lost. An acceptor that still holds it
    /// lets go of it for this one, instead of refusing until it has noticed the loss itself. The
    /// link's own number says that the link is up, and this connection is to take the place of the one
    /// that its lane runs over.
    pub lost: Option<LinkId>,
    /// The acceptor's life is over, as far as the dialler knows: unless another one answers, there
    /// will be no link.
    pub over: Option<Over>,
}

/// Word to a node that its life is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// The latest of its lives that is over.
    pub life: Incarnation,
    /// What stands behind that word.
    pub side: Side,
}

impl Hello {
    /// Whether this connection is to take the place of one that a lane of the link runs over. It is for
    /// whoever drives [`Peers`](crate::Peers) to judge, which would refuse it: for it, nothing changes.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.held.lost == Some(self.link)
    }
}

/// The acceptor's consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version to be spoken: the highest that both know.
    pub protocol: u16,
    /// The codec to be spoken.
    pub codec: CodecId,
    /// Which life of which node accepts; the name must be its certificate's.
    pub node: NodeId,
    /// Where the acceptor wants to be dialled by others, if they can dial it at all.
    pub listen: Option<Endpoint>,
}

/// What a connection of a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Membership, registry, interest, watches, heartbeats. Opened first.
    Control,
    /// Messages of actors. Opened when the control lane is welcome.
    Data,
    /// A protocol of another library that rides on the link. Opened when the link is up, by the side
    /// that dialled it, and only where both ends carry a rider.
    Rider,
    /// Large messages of actors. Opened when one is to be sent, by the side that dialled the others.
    Bulk,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Data => "data",
            Self::Rider => "rider",
            Self::Bulk => "bulk",
        })
    }
}

/// One link between two nodes, chosen at random by the side that dials. It ties a link's lanes
/// together and tells an old link from a new one; it is no secret, certificates guard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How frames are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodecId(pub u16);

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The protocol versions that a node speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl VersionRange {
    /// The newest version that both speak, if any. A range whose ends are the wrong way round speaks
    /// none.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (self.contains(highest) && other.contains(highest)).then_some(highest)
    }

    /// Whether `version` is one of these.
    #[must_use]
    pub fn contains(self, version: u16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
