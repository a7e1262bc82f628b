//! Programs written for [`ractor_cluster`], unmodified, on the links of Umbel nodes.
//!
//! A node that is given a [`RactorCluster`] offers a third lane beside those for control and
//! messages. With each linked peer that offers it too, ractor_cluster's own `NodeServer` gets one
//! connection of the link. So remote [`ActorRef`](ractor::ActorRef)s, process groups, `call!`,
//! `cast!` and `RactorClusterMessage` work as ever; what is not needed any more is `NodeServer::new`,
//! `client_connect`, and whatever was written to connect again.
//!
//! ```no_run
//! use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};
//! use ractor_cluster::RactorClusterMessage;
//! use umbel_cluster::Node;
//! use umbel_ractor_cluster::RactorCluster;
//!
//! #[derive(RactorClusterMessage)]
//! enum Clock {
//!     #[rpc]
//!     Time(RpcReplyPort<u64>),
//! }
//!
//! struct Watch;
//!
//! impl Actor for Watch {
//!     type Msg = Clock;
//!     type State = u64;
//!     type Arguments = ();
//!     async fn pre_start(&self, _: ActorRef<Clock>, _: ()) -> Result<u64, ActorProcessingErr> {
//!         Ok(0)
//!     }
//!     async fn handle(&self, _: ActorRef<Clock>, Clock::Time(reply): Clock, time: &mut u64)
//!         -> Result<(), ActorProcessingErr>
//!     {
//!         *time += 1;
//!         Ok(reply.send(*time)?)
//!     }
//! }
//!
//! # async fn two() -> Result<(), Box<dyn std::error::Error>> {
//! // One process:
//! let node = Node::dev("a").listen("127.0.0.1:7401").rider(RactorCluster::new()).start().await?;
//! let (watch, _) = Actor::spawn(None, Watch, ()).await?;
//! ractor::pg::join("clocks".into(), vec![watch.get_cell()]);
//!
//! // Another:
//! let lane = RactorCluster::new();
//! let node = Node::dev("b").join(["127.0.0.1:7401"]).rider(lane.clone()).start().await?;
//! lane.ready_changed(&[]).await;
//! let clock: ActorRef<Clock> = ractor::pg::get_members(&"clocks".into()).remove(0).into();
//! println!("{}", call!(clock, Clock::Time)?);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/ractor_cluster.rs` is a whole program, with a peer that is killed and started again.
//!
//! # What a program gains
//! | | by itself | here |
//! |---|---|---|
//! | who may connect | whoever has the cookie | whose certificate is of the cluster; both ends prove it by TLS 1.3 before anything is decoded |
//! | who somebody is | what it says | what its certificate says: another name loses the lane |
//! | a peer that hangs | is waited for without end | is given up within `silence_max` (5 s); calls to it end |
//! | a lost connection | stays lost | comes back with the link |
//! | a peer that was killed and restarted | may wait a minute, or for ever, as its dead session competes with the new one | is ready as soon as it is linked: a session begins when the last of that name is forgotten, at both ends |
//! | the listener | handshakes one after the other, without a deadline | the node's: bounded, with deadlines, refusals counted |
//!
//! # What stays as it is
//! * **Nothing bounds its queues.** A peer that is slow makes the memory of its senders grow, and one
//!   that floods makes its receiver's: there is no credit on this lane. Frames are bounded:
//!   [`RactorCluster::frame_bytes_max`].
//! * **There are no negative answers.** A call to an actor that has just ended at a living peer, or
//!   that cannot be decoded there, waits for its own timeout: `call_t!` has one, `call!` has none. When
//!   the lane ends, calls that wait end too.
//! * **What is under way when the lane ends is lost**, also when a node leaves in order.
//! * **A peer sees all.** Each actor with a message that can cross nodes is told to each peer, and
//!   peers put theirs into any process group. Certificates say who is a peer; among peers there are
//!   no permissions.
//! * **Each session is a new node to it.** A reference to an actor of a peer is dead when the lane has
//!   ended, and the peer's next one has another `node_id`: look it up again by its group, and key
//!   nothing by `ActorId`. A remote actor that ends takes its *name* out of ractor's table, whoever
//!   has it there: give no two nodes' actors one name.
//! * **One node for a process.** ractor's names, process groups and numbers of actors are one set for
//!   the process; a second node is refused the lane ([`LaneError::Taken`]). Umbel's own addresses,
//!   registry and topics have no such limit, in the same process and the same program.
//!
//! # How the rest is kept shut
//! `NodeServer` insists on a listener of its own. It gets one on loopback, at a port that the system
//! picks, and with a TLS that nobody can pass, as its end has no certificate and no key. Whoever
//! finds the port can make ractor_cluster log failed handshakes, and nothing else. The cookie is the
//! cluster's name: `NodeServer` has one for all peers, so it cannot be a secret of two, and it guards
//! nothing here.

mod door;
mod error;
mod introduction;
mod keeper;
mod lane;
mod lent;
mod sessions;

pub use error::LaneError;
pub use introduction::IntroductionError;
pub use lane::RactorCluster;
