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
//!   [`Intensity`], [`Backoff`], [`Shutdown`], [`AutoShutdown`].
//! * Run: [`SupervisorRef`] adds, stops, restarts and deletes children.
//! * Watch: [`SupervisorSnapshot`] is a tree at one moment, [`EventStream`] what happens in it.
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
//! * There is one incarnation of a child at a time. A failed one's mailbox is lost with it.
//! * A declaration is dropped as soon as its child can never be started again, see [`ChildSpec`].
//! * Nothing is registered under a name in ractor, and nothing here is global.
//! * Time is tokio's clock (it can be paused), chance a seeded generator: the same events at the
//!   same times lead to the same decisions.
//!
//! # Against OTP
//!
//! | OTP | here |
//! |---|---|
//! | `one_for_one`, `one_for_all`, `rest_for_one` | the same; with events merged while a group restarts instead of queued |
//! | `simple_one_for_one` | [`Supervisor::dynamic`]: children have names and need not be alike; a bound on how many |
//! | `permanent`, `transient`, `temporary` | the same; a stop with or without a reason is normal, a kill is not |
//! | intensity 1 in 5 s | the same default; the window is a [`Duration`](std::time::Duration), not whole seconds |
//! | too many restarts: the supervisor exits with `shutdown` | it *fails*, so that a transient supervisor is restarted, too |
//! | a failed restart is tried again at once, and counts | the same, after the [`Backoff`]; the rest of a group is stopped meanwhile |
//! | `shutdown`: 5000, `brutal_kill`, `infinity` | the same defaults; a kill takes effect at the next `await` |
//! | a supervisor is blocked by a child that starts or stops | it is not; a child that hangs in `pre_start` can be stopped |
//! | `start_child`, `terminate_child`, `restart_child`, `delete_child`, `which_children`, `count_children` | the same |
//! | significant children, `auto_shutdown` | the same |
//! | `ignore` from a start function | no counterpart |
//! | `modules`, `get_childspec`, code change, hibernation | no counterpart |
//! | logger reports | `tracing`, and an [`EventStream`] |

mod backoff;
pub mod engine;
mod error;
mod event;
mod exit;
mod policy;
mod reference;
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
    reference::SupervisorRef,
    snapshot::{ChildCount, ChildSnapshot, ChildState, SupervisorSnapshot},
    spec::{ChildKind, ChildSpec},
    supervisor::Supervisor,
};
