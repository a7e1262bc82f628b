use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::ChildRules;
use crate::Exit;

/// A child of one supervisor, through all its incarnations. Ids grow in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub(super) u64);

/// A request that is owed an answer; the driver chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What happens to a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Declare a child as the youngest, and start it if the supervisor has been started.
    /// Answered when it is up (before [`Input::Boot`]: at once).
    Add {
        /// From [`Engine::fresh_id`](super::Engine::fresh_id).
        child: ChildId,
        /// Unique among the children.
        name: Arc<str>,
        /// Its rules.
        rules: ChildRules,
        /// Whom to answer.
        ticket: Ticket,
    },
    /// Start all declared children, in order.
    Boot,
    /// A start has succeeded.
    Started(ChildId),
    /// A start has failed.
    StartFailed(ChildId),
    /// A child that was up has ended.
    Exited(ChildId, Exit),
    /// A stop is through: nothing of this incarnation lives.
    Stopped(ChildId),
    /// Stop a child; answered when it has stopped.
    Terminate {
        /// Which.
        name: Arc<str>,
        /// Whom to answer.
        ticket: Ticket,
    },
    /// Start a child that is down; answered when it is up.
    Restart {
        /// Which.
        name: Arc<str>,
        /// Whom to answer.
        ticket: Ticket,
    },
    /// Forget a child that is down.
    Delete {
        /// Which.
        name: Arc<str>,
        /// Whom to answer.
        ticket: Ticket,
    },
    /// Time has passed: see [`Engine::next_wake`](super::Engine::next_wake).
    Tick,
    /// Stop all children for good.
    End,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Start a child; report `Started` or `StartFailed`.
    Start(ChildId),
    /// Stop a child as it was declared to be stopped, and report `Stopped`. One that is still
    /// starting is to be called back; then nothing else is reported of that start.
    Stop(ChildId),
    /// The child can never be started again: whatever belongs to it can go.
    Forget(ChildId),
    /// To be known, not to be done: the child is started again only after this wait.
    Wait(ChildId, Duration),
    /// To be known, not to be done: this child's restart would have been one too many.
    GiveUp(ChildId),
    /// Answer a request; with the child that it was about.
    Answer(Ticket, Result<ChildId, Refusal>),
    /// All declared children have been started.
    Booted,
    /// All children are stopped and forgotten; nothing follows.
    Ended(Ending),
}

/// Why a request was refused or came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no child of this name.
    NotFound,
    /// There is a child of this name already, running or not.
    AlreadyPresent,
    /// There are as many children as there may be.
    Full,
    /// A significant child must be transient or temporary, under a supervisor that shuts down
    /// automatically.
    Significant,
    /// The child runs.
    Running,
    /// The child is about to be started, or being started.
    Restarting,
    /// The child is being stopped.
    Stopping,
    /// The child's start failed.
    StartFailed,
    /// The child was told to stop before it was up.
    Cancelled,
    /// The supervisor is stopping.
    Ending,
}

/// Why a supervisor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It was asked to.
    Asked,
    /// A child did not start in the first place.
    StartFailed(ChildId),
    /// A child's restart was one too many.
    GaveUp(ChildId),
    /// Significant children have ended, this one last.
    Automatic(ChildId),
}
