//! Simulation of Umbel clusters: seeded faults, invariants, replay.
//!
//! So far it simulates the cluster's *decisions*: real [`Peers`](umbel_protocol::Peers) and
//! [`Registry`](umbel_protocol::Registry) machines, with the real handshake, on machines and a network
//! that exist only here. (Whole nodes, with streams, TLS and users' actors, are to follow; the
//! transport seam of `umbel-cluster` is made for it.)
//!
//! A run is a function of its seed. Processes are killed, machines lose their power, nodes pause, leave
//! and come back as new incarnations, links are cut one way or both, connections are reset; connections
//! deliver in order, or break, as TCP's do. All the while invariants look on; then the faults end, and
//! within a deadline everything must be well.
//!
//! ```
//! use umbel_sims::Scenario;
//!
//! let run = Scenario::new().run(7);
//! assert!(run.ok, "{:?}", run.violations);
//! ```
//!
//! * [`Scenario`] is what is run, [`Outcome`] what became of it.
//! * [`Fault`] is what can go wrong.
//! * [`Violation`] is what an invariant found. Each invariant catches a [`Mutant`], or a doctored
//!   history: `tests/mutants.rs`.
//! * [`Disk`] loses, tears, fills up and fails, for what writes files through `umbel_actors::storage`.
//! * The command is `umbel-sim`: `run`, `replay`.
//!
//! **Invariants of the simulator itself.** One thread, one clock, one generator of chance; what is
//! iterated is ordered. The same seed gives the same trace, which is checked by running some seeds
//! twice.

mod chance;
mod disk;
mod fault;
mod invariants;
mod mutant;
mod network;
mod node;
mod scenario;
mod shell;
mod trace;
mod world;

pub use disk::{DISK_BYTES, Disk, FailedSync, Losses, SimStorage};
pub use fault::{Fault, Planned};
pub use invariants::Violation;
pub use mutant::Mutant;
pub use scenario::{Outcome, Scenario};
