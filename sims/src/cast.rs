//! The cast: an application that uses what a node can do, and tells what it sees.
//!
//! It knows nothing of simulation: it is given a [`NodeBuilder`] and a [`Recorder`], and runs in the same
//! way in a world, and in a process of its own over TLS.

mod calm;
mod house;
mod listener;
mod player;
mod talker;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use umbel_actors::SpawnError;
use umbel_actors::supervision::StartError as TreeError;
use umbel_cluster::{Node, NodeBuilder, RegisterError, StartError, TopicError};

pub(crate) use self::calm::Calm;
pub(crate) use self::player::{PLAYER, PLAYERS, Part};
use crate::invariants::Limits;
use crate::mutant::Mutant;
use crate::record::Record;

/// Where the cast tells what it sees: for the simulator's own scenarios.
#[derive(Clone)]
pub struct Recorder(Arc<dyn Fn(Record) + Send + Sync>);

impl Recorder {
    /// Records go to `take`, in order.
    pub fn new(take: impl Fn(Record) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn record(&self, record: Record) {
        (self.0)(record);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

/// Why the cast did not start.
#[derive(Debug, Error)]
pub(crate) enum CastError {
    #[error(transparent)]
    Node(#[from] StartError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// How much may pile up at a node of the cast: besides what its own node may put into a mailbox, all that
/// three others say in the eight seconds that a pause takes at most.
pub(crate) const LIMITS: Limits = Limits {
    unread: 512,
    control_bytes: 256 << 10,
    // The credit that a peer gives which does not read, and a frame.
    data_bytes: 5 << 20,
    asks_per_link: 64,
    entries_per_life: PLAYERS as u64,
    topics: 1,
    top_level_actors: 16,
    tasks: 256,
    ..Limits::ANY
};

/// How the cast is put on the stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staging {
    /// While it is on, the talker does nothing that other nodes would have to learn of.
    pub(crate) calm: Calm,
    /// A bug on purpose.
    pub(crate) mutant: Option<Mutant>,
}

/// Starts a node, and on it players under supervision, who can be found by all, and a talker, who tells
/// and asks players everywhere, publishes, subscribes, and makes players fail.
pub(crate) async fn start(
    builder: NodeBuilder,
    recorder: Recorder,
    staging: Staging,
) -> Result<Node, CastError> {
    let mutant = staging.mutant;
    let node = builder.start().await?;
    house::open(&node, &recorder, mutant).await?;
    tokio::spawn(talker::talk(node.clone(), recorder, staging));
    if mutant == Some(Mutant::LeftTask) {
        tokio::spawn(std::future::pending::<()>());
    }
    Ok(node)
}
