//! Supervision trees to OTP's standard, for actors of [`ractor`].
//!
//! A [`Supervisor`] starts its children in order, restarts those that fail, and stops them in
//! reverse order. What it does, and when, is declared; who knows OTP knows the words and the
//! defaults. It needs nothing of its children but that they are ractor actors.
//!
//! ```
//! use std::time::Duration;
//! use ractor::{Actor, ActorProcessingErr, ActorRef};
//! use umbel_supervision::{Backoff, ChildSpec, Restart, Strategy, Supervisor};
//!
//! struct Store;
//!
//! impl Actor for Store {
//!     type Msg = String;
//!     type State = Vec<String>;
//!     type Arguments = ();
//!
//!     async fn pre_start(&self, _: ActorRef<String>, _: ()) -> Result<Vec<String>, ActorProcessingErr> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10));
//! let orders = Supervisor::new("orders", Strategy::RestForOne)
//!     .intensity(3, Duration::from_secs(5))
//!     .child(ChildSpec::actor("store", || (Store, ())).backoff(backoff))
//!     .child(ChildSpec::actor("import", || (Store, ())).restart(Restart::Transient))
//!     .child(ChildSpec::supervisor("sessions", || Supervisor::dynamic("sessions")))
//!     .start()
//!     .await?;
//!
//! let sessions = orders.supervisor("sessions").await?.expect("it was started above");
//! sessions.start_child(ChildSpec::actor("ada", || (Store, ()))).await?;
//!
//! println!("{}", orders.snapshot().await?);
//! // orders [rest-for-one, 3 in 5s]
//! // ├─ store running for 0ns
//! // ├─ import running for 0ns
//! // └─ sessions [dynamic, 1 in 5s] running for 0ns
//! //    └─ ada running for 0ns
//!
//! orders.stop().await; // ada, sessions, import, store
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! * Declare: [`Supervisor`], [`ChildSpec`], and their policies [`Strategy`], [`Restart`],
//!   [`Intensity`], [`Backoff`], [`Shutdown`], [`AutoShutdown`], [`Probe`].
//! * Run: [`SupervisorRef`] adds, stops, restarts and deletes children.
//! * Watch: [`SupervisorSnapshot`] is a tree at one moment, [`EventStream`] what happens in it, from
//!   its first start on where one [asks for it](Supervisor::events) before.
//! * The rules themselves, without a runtime: [`engine`].
//!
//! # What is promised
//!
//! * Children are started one after the other; `start` returns when all are up. If one does not
//!   start, those before it are stopped again in reverse order, and the error names it.
//! * A stop is graceful and in reverse start order, each child within its [`Shutdown`]. A
//!   supervisor that is *killed* takes its children with it, without their `post_stop`: ractor
//!   does that, at once and for the whole tree.
//! * A supervisor never waits inside a hook: a child that waits out a back-off, hangs in
//!   `pre_start` or does not stop hinders nobody but those that the strategy makes wait for it.
//! * There is one incarnation of a child at a time, also of those below a supervisor that was
//!   killed: a kill takes effect where an actor next waits, so its successor waits for them. A
//!   failed one's mailbox is lost with it.
//! * A declaration is dropped as soon as its child can never be started again, see [`ChildSpec`].
//! * Nothing is registered under a name in ractor, and nothing here is global.
//! * Time is tokio's clock (it can be paused), chance a seeded generator: the same events at the
//!   same times lead to the same decisions.
//!
//! # Against OTP
//!
//! Strategies, restart types, intensity, shutdown, significant children and the functions of a
//! running supervisor are OTP's, with its defaults. A supervisor here is never blocked by a child,
//! can wait before a restart, can [probe](ChildSpec::probe) whether its children still answer, and
//! *fails* when it gives up. Row by row, and beside other libraries: [`comparison`].

mod backoff;
pub mod comparison;
pub mod engine;
mod error;
mod event;
mod exit;
mod policy;
mod probe;
mod reference;
mod remains;
mod report;
mod shell;
mod snapshot;
mod spec;
mod supervisor;

pub use crate::{
    backoff::Backoff,
    error::{ChildError, GaveUp, Senseless, StartError, SupervisorGone},
    event::{Event, EventStream, Happening, Observed},
    exit::Exit,
    policy::{AutoShutdown, Intensity, Restart, Shutdown, Strategy},
    probe::Probe,
    reference::SupervisorRef,
    report::StopReport,
    snapshot::{ChildCount, ChildSnapshot, ChildState, SupervisorSnapshot},
    spec::{ChildKind, ChildSpec},
    supervisor::Supervisor,
};
