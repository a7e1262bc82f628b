//! The cluster's decisions alone: real [`Peers`](umbel_protocol::Peers) and
//! [`Registry`](umbel_protocol::Registry) machines with the real handshake, on machines and a network
//! that exist only here. Thousands of seeds a minute, for there is no runtime and no byte in it.
//!
//! ```
//! use umbel_sims::decisions::Decisions;
//!
//! let run = Decisions::new().run(7);
//! assert!(run.ok, "{:?}", run.violations);
//! ```

mod fault;
mod invariants;
mod mutant;
mod network;
mod node;
mod scenario;
mod shell;
mod world;

pub use fault::{Fault, Planned};
pub use mutant::Mutant;
pub use scenario::Decisions;
