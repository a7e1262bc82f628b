//! A machine, and the node that runs on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use umbel_protocol::{
    CodecId, Endpoint, Entry, EntryKey, Identity, LinkId, MemberState, NodeId, NodeName, Peers,
    PeersConfig, Profile, Registry, ReplicaLimits, Terms, VersionRange,
};

use crate::decisions::network::{Packet, Side};

/// A machine: it may run one life of its node at a time.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) endpoint: Endpoint,
    /// Counts lives; the present one's number while one runs.
    pub(crate) lives: u64,
    /// Whether its kernel answers.
    pub(crate) has_power: bool,
    pub(crate) running: Option<Life>,
}

/// One life of a node: the machines under test, and what the shell around them keeps.
#[derive(Debug)]
pub(crate) struct Life {
    /// Which of its machine's it is.
    pub(crate) number: u64,
    /// What it goes by; another than at its start where it was declared down.
    pub(crate) id: NodeId,
    pub(crate) peers: Peers,
    pub(crate) registry: Registry,
    pub(crate) started: Duration,
    pub(crate) paused_until: Option<Duration>,
    pub(crate) resumed: Duration,
    /// What has come while it was paused.
    pub(crate) inbox: VecDeque<Item>,
    /// When it will be woken.
    pub(crate) wake_at: Option<Duration>,
    /// The peers that it was told are up.
    pub(crate) up: BTreeMap<NodeName, (NodeId, LinkId)>,
    /// The members that it was told of and that are not over.
    pub(crate) members: BTreeMap<NodeId, MemberState>,
    /// What it has registered.
    pub(crate) own: BTreeMap<EntryKey, Entry>,
}

/// Something for a node to deal with.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Packet(LinkId, Side, Packet),
    DialTimedOut(LinkId),
    Wake,
    Room(NodeId),
    Work,
}

impl Machine {
    /// Begins the next life.
    pub(crate) fn start(&mut self, now: Duration) {
        self.lives += 1;
        self.has_power = true;
        // Microseconds, as in production; and later than the one before, in whatever time.
        let incarnation = umbel_protocol::Incarnation(now.as_micros() as u64 + self.lives);
        let id = NodeId { name: self.name.clone(), incarnation };
        let peers = Peers::new(PeersConfig::default(), id.clone());
        let profile = Profile::default().with_endpoint(Some(self.endpoint.clone()));
        let limits = ReplicaLimits { message_entries_max: 2, ..ReplicaLimits::default() };
        self.running = Some(Life {
            number: self.lives,
            peers: peers.expect("the default configuration can work").with_profile(profile),
            // So small that a snapshot has several parts.
            registry: Registry::new(id.clone(), limits),
            id,
            started: now,
            paused_until: None,
            resumed: now,
            inbox: VecDeque::new(),
            wake_at: None,
            up: BTreeMap::new(),
            members: BTreeMap::new(),
            own: BTreeMap::new(),
        });
    }

    /// What the running life says and judges in handshakes.
    pub(crate) fn terms(&self, id: NodeId) -> Terms {
        Terms {
            protocol: VersionRange { min: 1, max: 1 },
            codec: CodecId(1),
            cluster: self.identity().cluster,
            node: id,
            listen: Some(self.endpoint.clone()),
        }
    }

    /// What its certificate says.
    pub(crate) fn identity(&self) -> Identity {
        let cluster = "sim".parse().expect("three letters are a name");
        Identity::new(cluster, self.name.clone())
    }
}
