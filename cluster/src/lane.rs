//! The lanes of a link: one for control, one for the messages of actors.

mod asked;
mod asks;
mod bulk;
mod control;
mod data;
mod delivery;
mod driver;
mod frame;
mod holds;
mod home;
mod inbound;
mod outbox;
mod outlet;
mod run;
mod unsent;

pub use asks::OpenAsks;
pub(crate) use bulk::{Bulk, BulkThread};
pub(crate) use control::{ControlLane, ControlReader, ControlSender};
pub(crate) use data::{DataLane, LaneBounds};
pub(crate) use driver::LaneEnd;
pub(crate) use frame::{FRAME_BYTES_MAX, read_frames};
pub(crate) use holds::Target;
pub(crate) use home::{Home, Publication};
pub use unsent::Unsent;
