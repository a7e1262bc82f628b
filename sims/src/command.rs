//! What `umbel-sim` does: one file for each command, and what they share.

pub(crate) mod bench;
mod choice;
mod ending;
mod faults;
mod interrupt;
pub(crate) mod list;
mod pool;
mod progress;
pub(crate) mod replay;
mod report;
pub(crate) mod run;
pub(crate) mod shrink;
mod time;

pub(crate) use ending::{Ending, Trouble};
