//! How things stand at one node, at one moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_cluster::{Node, Unsent};
use umbel_protocol::{EntryName, InterestView, MemberEvent, NodeId, RegistryView};

/// How things stand at one node, at one moment, as the node itself sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// On which machine.
    pub machine: usize,
    /// Which life of which node.
    pub node: NodeId,
    /// Since when it runs without a pause.
    pub awake_since: Duration,
    /// Whether it is doing nothing just now.
    pub is_paused: bool,
    /// After how long a silence it takes a peer to be down.
    pub silence_max: Duration,
    /// Whom it is linked with.
    pub linked: Vec<NodeId>,
    /// The members that it knows and that are not over, without itself.
    pub members: Vec<MemberEvent>,
    /// What it knows of the registry.
    pub registry: RegistryView,
    /// What it knows of the topics.
    pub topics: InterestView,
    /// How many questions are open over its links, both ways.
    pub open_asks: usize,
    /// How many messages wait for each of its registered actors, with their names.
    pub unread: Vec<(EntryName, u64)>,
    /// How much waits to be written over each of its links.
    pub unsent: Vec<(NodeId, Unsent)>,
    /// How many actors are at the top of its system.
    pub top_level_actors: usize,
    /// How many tasks its runtime has, where it has one for itself.
    pub tasks: Option<usize>,
}

impl Standing {
    /// How things stand at `node` on `machine`.
    #[must_use]
    pub fn of(node: &Node, machine: usize) -> Self {
        Self {
            machine,
            node: node.id(),
            awake_since: Duration::ZERO,
            is_paused: false,
            silence_max: node.config().peers.silence_max,
            linked: node.linked(),
            members: node.members(),
            registry: node.registry_view(),
            topics: node.topics_view(),
            open_asks: node.open_asks().values().map(|open| open.ours + open.theirs).sum(),
            unread: node.unread(),
            unsent: node.unsent().into_iter().collect(),
            top_level_actors: node.system().top_level_actors(),
            tasks: None,
        }
    }
}
