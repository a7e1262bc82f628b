//! Typed, supervised actors: bounded mailboxes, addresses that outlive restarts, questions with
//! deadlines.
//!
//! The actors themselves are [ractor]'s: a user writes its [`Actor`] trait. This crate adds what a
//! system of them needs.
//!
//! ```
//! use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply, System};
//!
//! #[derive(Message)]
//! enum Greet { Hello(String, Reply<String>) }
//!
//! struct Greeter;
//!
//! impl Actor for Greeter {
//!     type Msg = Greet;
//!     type State = u64;
//!     type Arguments = ();
//!     async fn pre_start(&self, _: ActorRef<Greet>, _: ()) -> Result<u64, ActorProcessingErr> {
//!         Ok(0)
//!     }
//!     async fn handle(&self, _: ActorRef<Greet>, Greet::Hello(name, reply): Greet, seen: &mut u64)
//!         -> Result<(), ActorProcessingErr>
//!     {
//!         *seen += 1;
//!         reply.send(format!("hello {name}, you are #{seen}"));
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = System::new("hello");
//! let greeter = system.spawn(Greeter, ()).await?;
//! let answer = greeter.ask(|reply| Greet::Hello("Ada".into(), reply)).await?;
//! assert_eq!(answer, "hello Ada, you are #1");
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//! - [`System`] owns names, topics, clock, chance and shutdown; nothing is process-wide.
//! - [`Address`] is the one handle to an actor: `tell`, `try_tell`, `ask`, `watch`, timers.
//! - [`Reply`] is the right to answer once, an ordinary field of a message.
//! - [`Myself`] gives an actor its own address and system in its hooks.
//! - [`TraceContext`] and [`Traces`] let one trace span actors and nodes.
//! - [`Topic`] is publish and subscribe; [`DeadLetter`] is what nobody handled.
//! - Supervision trees are [`umbel_supervision`]'s: declare actors with [`System::child`] and start
//!   the tree with [`System::supervise`].
//! - [`storage`] is the seam to files, for what is durable, with a journal on it.
//! - [`codec`] and [`wire`] are the seam to `umbel-cluster`.
//!
//! [ractor]: ractor

extern crate self as umbel_actors;

mod address;
mod arrivals;
mod backlog;
mod buggify;
mod clock;
pub mod codec;
mod dead_letter;
mod docket;
mod gate;
mod hooks;
mod kept;
mod managed;
mod message;
mod outgoing;
mod pace;
mod parcel;
mod pulse;
#[doc(hidden)]
pub mod rendezvous;
mod reply;
mod signal;
mod slot;
pub mod storage;
mod system;
mod timer;
mod topic;
mod trace;
mod watch;
pub mod wire;

pub use address::{ASK_DEADLINE, Address, AskError, TellError};
pub use buggify::Buggify;
pub use clock::{Clock, WallClock};
pub use dead_letter::{DeadLetter, DeadLetterReason};
pub use hooks::Myself;
pub use message::{Message, RemoteMessage};
pub use ractor::{self, Actor, ActorProcessingErr, ActorRef};
pub use reply::Reply;
pub use signal::{Signal, Signals};
pub use system::{
    ChildOptions, MAILBOX_CAPACITY, SHUTDOWN_PER_ACTOR, ShutdownReport, SpawnError, SpawnOptions,
    System, SystemBuilder,
};
pub use timer::Timer;
pub use topic::{Forwarding, Overflow, SUBSCRIPTION_CAPACITY, Subscription, Topic, TopicTypeError};
pub use trace::{TRACE_STATE_BYTES_MAX, TraceContext, TraceContextError, Traces};
pub use umbel_derive::Message;
pub use umbel_supervision::{
    self as supervision, Backoff, ChildSpec, Probe, Restart, Shutdown, Strategy, Supervisor,
    SupervisorRef,
};
pub use watch::{Exit, Watch};

/// What the derive's output names.
#[doc(hidden)]
pub mod __derive {
    pub use crate::message::Codec;
    pub use crate::parcel::{pack, unpack};
    pub use ractor;
}
