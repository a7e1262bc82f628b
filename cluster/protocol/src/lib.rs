//! The decisions of an Umbel cluster as pure state machines.
//!
//! Nothing here opens a connection, reads a clock or draws a random number. Each machine is handed
//! what happened and answers with what to do; `umbel-cluster` does it. So every decision can be
//! tested without a network, recorded in production and replayed, and simulated cheaply.
//!
//! | start here | for |
//! |---|---|
//! | [`Identity`], [`NodeId`] | who a node is, and which life of it |
//! | [`Terms`] | the handshake: who may talk to this node at all |
//! | [`Peers`] | whom to dial, whom to let in, who is a member, who is down |
//! | [`Registry`] | which actors are found by name and tag, and where |
//! | [`Checkup`] | whether such an actor can be given work |
//! | [`Interest`] | which nodes want to hear of a topic |
//! | [`Control`] | all that the control lane carries between these |
//! | [`Replica`] | what [`Registry`] and [`Interest`] stand on |
//!
//! How they go together: when [`Peers`] says [`PeersOutput::PeerUp`], tell the registry and the
//! interest; they answer with snapshots to send. What arrives on that link goes to them with the
//! peer's [`NodeId`]. At [`PeersOutput::PeerDown`] tell them again, and all that came from that peer
//! vanishes at once.
//!
//! ```
//! use std::time::Duration;
//! use umbel_protocol::{
//!     CodecId, Held, Incarnation, Lane, LinkId, NodeId, Peers, PeersConfig, PeersInput, PeersOutput,
//!     Terms, VersionRange,
//! };
//!
//! let terms = |name: &str| Terms {
//!     protocol: VersionRange { min: 1, max: 1 },
//!     codec: CodecId(1),
//!     cluster: "shop".parse().unwrap(),
//!     node: NodeId { name: name.parse().unwrap(), incarnation: Incarnation(1) },
//!     listen: None,
//! };
//! let mut peers = Peers::new(PeersConfig::default(), terms("a").node)?;
//! let hello = terms("b").hello(Lane::Control, LinkId(9), Held::default());
//! let outputs = peers.step(Duration::ZERO, 0, PeersInput::HelloReceived { token: 1, hello });
//! assert_eq!(outputs, [PeersOutput::Accept { token: 1, link: LinkId(9) }]);
//! # Ok::<(), umbel_protocol::PeersConfigError>(())
//! ```
//!
//! **Invariants.** Nothing here panics, hangs or grows beyond its stated bounds, whatever a peer
//! sends. What is iterated is ordered, so the same inputs always give the same outputs, in the same
//! order, on any machine.

mod control;
mod endpoint;
mod handshake;
mod health;
mod identity;
mod interest;
mod load;
mod peers;
mod refusal;
mod registry;
mod replica;
mod text;

pub use control::{Control, Ended};
pub use endpoint::{ENDPOINT_BYTES_MAX, Endpoint, EndpointError};
pub use handshake::{CodecId, Held, Hello, Lane, LinkId, Over, Terms, VersionRange, Welcome};
pub use health::{Checkup, CheckupInput, CheckupOutput, Health, HealthConfig, HealthConfigError};
pub use identity::{
    ClusterName, Identity, IdentityError, Incarnation, NAME_BYTES_MAX, NodeId, NodeName,
};
pub use interest::{
    Interest, InterestInput, InterestMessage, InterestOutput, InterestView, Topic, TopicView,
};
pub use load::Load;
pub use peers::{
    LinkEnd, Member, MemberEvent, MemberState, MemberView, PeerState, PeerView, Peers, PeersConfig,
    PeersConfigError, PeersInput, PeersOutput, PeersView, Profile, ProfileError, Role, SeedDropped,
    SeedView, Side,
};
pub use refusal::Refusal;
pub use registry::{
    Detail, Entry, EntryError, EntryKey, EntryName, Found, LOADS_BYTES_MAX, Query, RegisteredView,
    Registry, RegistryEvent, RegistryInput, RegistryMessage, RegistryOutput, RegistryView,
    SchemaName, Tag,
};
pub use replica::{
    Bounded, Change, Replica, ReplicaError, ReplicaEvent, ReplicaEventKind, ReplicaInput,
    ReplicaLimits, ReplicaMessage, ReplicaOutput,
};
pub use text::{Reason, Text, TextError};
