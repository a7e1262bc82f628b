//! What somebody in a cluster saw or did: of it histories are made, which invariants judge.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use umbel_protocol::{MemberState, NodeId};

/// What somebody in a cluster saw or did. Plain data, so that a process that is not simulated can tell
/// it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A node has started.
    Started {
        /// Which life.
        node: NodeId,
    },
    /// A node has become another life, without its process having ended.
    Renewed {
        /// Which life it is now.
        node: NodeId,
    },
    /// A node was told of a member.
    Member {
        /// Who was told.
        at: NodeId,
        /// Of whom.
        of: NodeId,
        /// How it is now.
        state: MemberState,
    },
    /// A message was accepted for sending.
    Sent {
        /// The sender's life.
        from: String,
        /// Whom it was sent to, as the sender calls it.
        to: String,
        /// The number that the sender gave it: one more each time.
        number: u64,
    },
    /// An actor has taken a message.
    Received {
        /// The sender's life.
        from: String,
        /// The receiver's life.
        to: String,
        /// The sender's number of it.
        number: u64,
    },
    /// Somebody has begun to wait for an answer.
    Asked {
        /// Names the question in its history.
        question: String,
        /// How long it may take.
        deadline: Duration,
    },
    /// The wait for an answer has ended.
    Concluded {
        /// The question.
        question: String,
        /// How.
        outcome: Conclusion,
    },
    /// Somebody hears a topic from now on.
    Subscribed {
        /// Names the subscription in its history.
        subscription: String,
    },
    /// A subscription was given back, and that was acknowledged.
    Unsubscribed {
        /// Which.
        subscription: String,
    },
    /// A subscriber has heard something.
    Heard {
        /// Which subscription.
        subscription: String,
        /// The publisher's life.
        publisher: String,
        /// The publisher's number of it: one more each time.
        number: u64,
    },
    /// A supervised actor's life has begun.
    Lives {
        /// Which life.
        actor: String,
        /// Under which life of which supervisor.
        supervisor: String,
    },
    /// A supervised actor's life is over: its state was dropped.
    Died {
        /// Which life.
        actor: String,
    },
    /// A supervisor has begun its work.
    Supervises {
        /// Its life.
        supervisor: String,
        /// How many restarts it allows.
        restarts_max: u32,
        /// In which time.
        period: Duration,
    },
    /// A supervisor has started a child again.
    Restarted {
        /// The supervisor's life.
        supervisor: String,
        /// The child.
        child: String,
    },
    /// A supervisor has ended.
    Ended {
        /// Its life.
        supervisor: String,
    },
    /// A node has left its cluster and ended its system.
    Left {
        /// Which life.
        node: NodeId,
        /// How many of its tasks were still there.
        tasks: usize,
    },
}

/// How the wait for an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// With the right answer.
    Answered,
    /// With an answer that belongs to another question.
    Wrong(String),
    /// With an error.
    Failed(String),
}

/// A record, and when and where it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When: since the start of the history.
    pub at: Duration,
    /// On which machine.
    pub machine: usize,
    /// What.
    pub record: Record,
}
