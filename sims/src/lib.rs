//! Deterministic simulation of clustered applications: real nodes on machines, a network, clocks and disks
//! that exist only here, faults by seed, invariants, replay.
//!
//! Start with [`World`]; the [`guide`] tells how, and the story of a bank.
//!
//! ```
//! use umbel_sims::{Faults, World};
//!
//! let outcome = World::new(7)
//!     .nodes(3, |host| async move { host.node().start().await })
//!     .faults(Faults::Random(4))
//!     .invariant("nobody-is-alone", |snapshot| match snapshot.nodes {
//!         [one] => Err(format!("{} is", one.node)),
//!         _ => Ok(()),
//!     })
//!     .run();
//! assert!(outcome.ok, "{outcome}");
//! ```
//!
//! # Where things are
//! | look here | for |
//! |---|---|
//! | [`World`] | what is in a world, what goes wrong in it, what must hold |
//! | [`Host`] | the machine that a program runs on, as the program sees it |
//! | [`Fault`], [`Faults`] | what can go wrong, and a list of it that can be replayed and edited |
//! | [`Snapshot`], [`Standing`] | how things stand, for invariants |
//! | [`Outcome`], [`Violation`] | what became of a run |
//! | [`Disk`] | a disk that loses, tears, fills up and fails, for itself |
//! | [`Scenario`], [`scenarios`] | our own worlds, which the command `umbel-sim` runs |
//! | [`decisions`] | the cluster's state machines alone, faster still |
//! | [`Record`] | what histories are made of, of worlds and of real processes |
//!
//! The feature `command`, on by default, is `umbel-sim`, the scenarios that have services and modules, and real
//! processes under faults. Tests that simulate need none of it: `default-features = false` spares them what only these depend on.
//!
//! # What is simulated
//! Production code above [`Transport`](umbel_cluster::Transport), [`Clock`](umbel_actors::Clock) and
//! [`Storage`](umbel_actors::storage::Storage). Each process has a tokio runtime of its own with paused time:
//! dropping it is a power cut. All run on one thread, a millisecond each in turn; no packet is faster, so in a
//! millisecond no machine depends on another. What simulated code asks of the operating system past its
//! node is answered from the seed, too, where [`in_force`] says so.
//!
//! **Invariants of the simulator itself.** One thread, one clock, one generator of chance; what is iterated is
//! ordered; what a process counts (tasks, threads, ractor's actors) is in no trace.

mod admission;
mod ambient;
mod cast;
mod chance;
#[cfg(all(unix, feature = "command"))]
pub mod chaos;
pub mod decisions;
mod disk;
mod fault;
mod host;
mod invariants;
mod judge;
mod machine;
mod mutant;
mod network;
#[cfg(feature = "command")]
mod office;
mod outcome;
mod progress;
mod record;
mod run;
mod scenarios;
mod shared;
mod shrink;
mod snapshot;
mod standing;
mod tap;
mod trace;
mod twice;
mod world;

#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

pub use admission::NotAdmitted;
pub use ambient::{NotInForce, in_force};
#[doc(hidden)]
pub use cast::Recorder;
pub use disk::{DISK_BYTES, Disk, FailedSync, Losses, SimStorage};
pub use fault::{Fault, Faults, NotFaults, Planned};
pub use host::Host;
#[doc(hidden)]
pub use mutant::Mutant;
pub use outcome::{Outcome, Violation};
#[doc(hidden)]
pub use record::Recorded;
pub use record::{Conclusion, Record, Step};
pub use scenarios::{Options, Scenario, scenarios};
pub use snapshot::Snapshot;
pub use standing::Standing;
pub use world::{MACHINES_MAX, World};
