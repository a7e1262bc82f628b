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
    /// Somebody is about to send a message; whether it is accepted is not told.
    Sent {
        /// The sender's life.
        from: String,
        /// Whom it is sent to, as the sender calls it: the same over all lives of the receiver.
        to: String,
        /// The number that the sender gives it: one more each time.
        number: u64,
    },
    /// An actor has taken a message.
    Received {
        /// The sender's life.
        from: String,
        /// Whom the sender has sent it to.
        to: String,
        /// The sender's number of it.
        number: u64,
        /// The life that has taken it.
        life: String,
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
    /// Somebody is about to publish something; whether it is accepted is not told.
    Published {
        /// The publisher's life.
        publisher: String,
        /// The number that the publisher gives it: one more each time.
        number: u64,
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
        /// Which child of its supervisor that is, by a name that no other of its node has.
        child: String,
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
        /// When the supervisor decided that, by its own clock. A back-off may have followed.
        decided_at: Duration,
    },
    /// A supervisor has ended, and so have its children.
    Ended {
        /// Its life.
        supervisor: String,
    },
    /// Somebody has begun to call a service.
    Called {
        /// Names the call in its history.
        call: String,
        /// Names its request: that of another call where it is made once more.
        request: String,
        /// How long it may take.
        deadline: Duration,
        /// How often its request may be executed.
        executions_max: u32,
        /// Whether it is to be answered, unless its caller's own node stands still or goes.
        is_sure: bool,
    },
    /// A call has ended.
    Returned {
        /// Which.
        call: String,
        /// How.
        outcome: Conclusion,
        /// What is said of the execution of its request; `None` where nothing is known.
        executed: Option<bool>,
    },
    /// A life of a service has begun.
    Serves {
        /// Which life.
        life: String,
        /// Of which service.
        service: String,
        /// Whether it is of a version that must be given no work.
        is_broken: bool,
    },
    /// A life of a service is over: it was dropped.
    Rests {
        /// Which life.
        life: String,
    },
    /// A life of a service has come so far with a request.
    Executed {
        /// Which request.
        request: String,
        /// Which life.
        life: String,
        /// How far.
        step: Step,
    },
    /// An instance of a module was to take the place of another.
    Replaced {
        /// Which module.
        module: String,
        /// Whether the new one must not take over.
        is_broken: bool,
        /// Whether nothing stands in its way otherwise.
        is_sure: bool,
        /// Which instance served before.
        before: u64,
        /// Which instance serves now.
        after: u64,
        /// Why it has not taken over; `None` where it has.
        failed: Option<String>,
    },
    /// A node begins to leave its cluster.
    Leaves {
        /// Which life.
        node: NodeId,
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
    /// Whoever waited went away before.
    GivenUp,
}

/// How far a life of a service has come with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It has begun to execute it.
    Begun,
    /// It has answered.
    Answered,
    /// It has answered that it has done nothing, and that the request may come again.
    Declined,
    /// It was cut off: by a panic, by the deadline, or by its own end.
    CutOff,
}

/// A record, and when and where it was made: for the simulator, and for processes that tell it theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When: since the start of the history.
    pub at: Duration,
    /// On which machine.
    pub machine: usize,
    /// By which of the processes that ran there one after the other, from 1. When a later one records
    /// something, the earlier ones are over.
    pub process: u32,
    /// What.
    pub record: Record,
}
