//! Simulation of Umbel clusters: seeded faults, invariants, replay.

mod cast;
mod chance;
#[cfg(unix)]
pub mod chaos;
pub mod decisions;
mod fault;
mod host;
mod invariants;
mod judge;
mod machine;
mod network;
mod outcome;
mod record;
mod run;
mod scenarios;
mod shared;
mod shrink;
mod snapshot;
mod standing;
mod tap;
mod trace;
mod world;

pub use cast::Recorder;
pub use fault::{Fault, Faults, Planned};
pub use host::Host;
pub use outcome::{Outcome, Violation};
pub use record::{Conclusion, Record, Recorded};
pub use scenarios::{Options, Scenario, scenarios};
pub use snapshot::Snapshot;
pub use standing::Standing;
pub use world::{MACHINES_MAX, World};
