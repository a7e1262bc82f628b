//! Why the lane was not started, or a ride on it ended.

use std::io;
use std::time::Duration;

use ractor::SpawnErr;
use thiserror::Error;

use crate::introduction::IntroductionError;

/// Why the lane was not started, or a ride on it ended. What was on its way then is lost.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaneError {
    /// A node of this process has the lane already.
    #[error(
        "another node of this process has the lane of ractor_cluster, and ractor's names, process \
         groups and numbers of actors are one set for the whole process: give the second node a \
         process of its own, or switch the lane off there"
    )]
    Taken,
    /// `NodeServer` did not start.
    #[error("ractor_cluster's NodeServer did not start: {0}")]
    NodeServer(#[source] SpawnErr),
    /// The system of the node does not start actors.
    #[error(transparent)]
    System(umbel_actors::SpawnError),
    /// There is no `NodeServer`: the node is going down, or the server has just been stopped.
    #[error("ractor_cluster's NodeServer does not run")]
    NotRunning,
    /// The connection broke before the ride began.
    #[error("the connection broke before either side was ready: {0}")]
    Broken(#[source] io::Error),
    /// Another protocol rides at the other end.
    #[error("the peer's rider does not speak as ractor_cluster 0.16 does: switch it on there")]
    OtherRider,
    /// The peer did not keep to its certificate's name, or not to the order of the first words.
    #[error(transparent)]
    Introduction(IntroductionError),
    /// The two ends did not become ready.
    #[error("the session was not ready within {0:?}")]
    NotReady(Duration),
    /// The session has ended: the connection broke, or ractor_cluster gave it up.
    #[error("the session has ended; ractor_cluster's own log may say why")]
    Ended,
}
