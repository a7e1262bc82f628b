//! Nodes that make one cluster of several systems: actors find and reach one another over mutual
//! TLS, with the same [`Address`](umbel_actors::Address) as on one machine.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};
//! use umbel_cluster::{Authority, IssueOptions, Node};
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[message(remote)]
//! enum Greet { Hello(String, Reply<String>) }
//!
//! struct Greeter;
//!
//! impl Actor for Greeter {
//!     type Msg = Greet;
//!     type State = ();
//!     type Arguments = ();
//!     async fn pre_start(&self, _: ActorRef<Greet>, _: ()) -> Result<(), ActorProcessingErr> {
//!         Ok(())
//!     }
//!     async fn handle(&self, _: ActorRef<Greet>, Greet::Hello(name, reply): Greet, _: &mut ())
//!         -> Result<(), ActorProcessingErr>
//!     {
//!         reply.send(format!("hello {name}"));
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::create("shop".parse()?)?;
//! let issue = |name: &str| authority.issue(&name.parse().unwrap(), &IssueOptions::new());
//!
//! let a = Node::builder().credentials(issue("a")?).listen("127.0.0.1:0").start().await?;
//! let greeter = a.spawn(Greeter, ()).await?;
//! a.register("greeter", &greeter).await?;
//!
//! let b = Node::builder().credentials(issue("b")?).join(a.address()).start().await?;
//! let greeter = b.resolve::<Greet>("greeter").await?;
//! assert_eq!(greeter.ask(|reply| Greet::Hello("Ada".into(), reply)).await?, "hello Ada");
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! | start here | for |
//! |---|---|
//! | [`Node`] | one member: [`Node::dev`] for one's own machine, [`Node::builder`] for a network |
//! | [`Node::register`], [`Node::resolve`], [`Node::watch`] | finding actors by name and tag |
//! | [`Offer`], [`HealthCheck`] | who of them can be given work |
//! | [`Discovery::pick`], [`Pick`] | which one is given the next piece |
//! | [`Node::members`], [`Node::watch_members`] | who is a member, and who is down |
//! | [`Node::topic`] | publish and subscribe, one copy for each interested node |
//! | [`Authority`], [`Credentials`] | certificates: making, loading, keeping them |
//! | [`Node::rotate`], [`Node::revoke`] | other certificates, and who is let in no more, while it works |
//! | [`NodeConfig`] | bounds and paces |
//! | [`Rider`] | the seam to protocols of other libraries, which ride on links: `umbel-ractor-cluster` |
//! | [`Transport`] | the seam to the network: TCP with TLS, memory, and whatever a simulation brings |
//!
//! What a node decides is in [`umbel_protocol`], without a clock or a socket; this crate carries it
//! out.
//!
//! # What is guaranteed
//! Between two actors, messages arrive in the order in which they were sent, each at most once, over
//! one life of the link between their nodes. An ask ends with an answer or with an error that says
//! why, at the latest at its deadline. A node that was restarted is another
//! [incarnation](umbel_protocol::Incarnation), and addresses of the former one stay dead.

mod acceptor;
mod builder;
mod certs;
mod config;
mod coordinator;
#[doc(hidden)]
pub mod fuzzing;
mod greeting;
mod home;
mod lane;
mod members;
mod node;
mod peer;
mod refusals;
mod registry;
mod repeats;
mod rider;
mod seeds;
mod task;
mod tls;
mod topics;
mod transport;

pub use builder::{NodeBuilder, StartError};
pub use config::NodeConfig;
pub use lane::{OpenAsks, Unsent};
pub use members::{MemberChange, MemberWatch};
pub use node::Node;
pub use registry::{
    ByKey, Candidate, Change, Changes, Discovery, HealthCheck, Instance, LeastLoaded, LocalFirst,
    Offer, Pick, RESOLVE_DEADLINE, Random, RegisterError, ResolveError, RoundRobin,
};
pub use rider::{Ride, Rider, RiderError};
pub use seeds::{Dns, RESOLVE_INTERVAL, SeedSource};
pub use topics::{
    ClusterForwarding, ClusterSubscription, ClusterTopic, PublishError, Published, TopicError,
};
pub use umbel_protocol::{Health, HealthConfig, HealthConfigError, Load, Query};

pub use certs::{
    Authority, CertificateView, CertsError, Credentials, IssueOptions, ListDates, Overwrite,
    Validity, state_directory,
};
#[doc(hidden)]
pub use transport::conformance;
pub use transport::{
    AddressError, ByteStream, CertificateFault, Connection, Incoming, Listener, MemoryNetwork,
    MemoryTransport, Proof, TcpTransport, Transport, TransportError,
};
