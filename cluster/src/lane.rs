//! The lanes of a link: one for control, one for the messages of actors.

mod asks;
mod control;
mod data;
mod frame;
mod outbox;

pub(crate) use control::{ControlLane, ControlReader, ControlSender};
pub(crate) use data::{DataLane, Home, LaneEnd, Publication};
pub(crate) use frame::FRAME_BYTES_MAX;
