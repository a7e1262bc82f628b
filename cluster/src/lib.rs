//! Umbel.

mod acceptor;
mod builder;
mod certs;
mod config;
mod coordinator;
mod greeting;
mod home;
mod lane;
mod node;
mod peer;
mod refusals;
mod registry;
mod tls;
mod topics;
mod transport;

pub use builder::{NodeBuilder, StartError};
pub use config::NodeConfig;
pub use node::Node;
pub use registry::{
    Change, Discovery, Instance, Offer, RESOLVE_DEADLINE, RegisterError, ResolveError,
};
pub use topics::{
    ClusterForwarding, ClusterSubscription, ClusterTopic, PublishError, Published, TopicError,
};

pub use certs::{
    Authority, CertsError, Credentials, IssueOptions, Overwrite, Validity, state_directory,
};
#[doc(hidden)]
pub use transport::conformance;
pub use transport::{
    ByteStream, CertificateFault, Connection, Incoming, Listener, MemoryNetwork, MemoryTransport,
    TcpTransport, Transport, TransportError,
};
