use std::num::NonZeroUsize;
use std::sync::Arc;

use thiserror::Error;

/// How an actor is started that nobody restarts, where the defaults do not do.
#[derive(Clone, Debug, Default)]
pub struct SpawnOptions {
    /// A name, unique in the system, under which [`System::whereis`](crate::System::whereis) finds
    /// it.
    pub name: Option<String>,
    /// The messages that its mailbox holds; the system's default where it is `None`.
    pub mailbox_capacity: Option<usize>,
    /// How many messages it handles in a row before ractor looks whether it is to stop, whether a child of
    /// its own has ended, or whether there is a raw cast: Akka's word for it. The system's default where it
    /// is `None`.
    ///
    /// With more, ractor looks at its queues once for all of them. Where small messages wait, each then
    /// costs a third between local actors, and half over a link; an actor whose messages seldom wait
    /// gains nothing.
    ///
    /// [`Address::stop`](crate::Address::stop) ends the row after the message in hands. ractor's own `stop`, of
    /// an `ActorRef`, and those of a supervisor and of a shutdown, take effect when those that wait, or come
    /// meanwhile, are handled, up to this number; so an actor that is to handle nothing more stops itself by its
    /// [address](crate::Myself::address). A kill ends the row where it next waits or yields, and what is left of
    /// it is lost as if it had lain in the mailbox. So is, at a `drain`, what waits beyond the row. A raw cast
    /// may be handled before messages that were told earlier.
    pub throughput: Option<NonZeroUsize>,
}

/// How an actor is started under a supervisor, where the defaults do not do.
#[derive(Clone, Debug, Default)]
pub struct ChildOptions {
    /// The messages that its mailbox holds; the system's default where it is `None`.
    pub mailbox_capacity: Option<usize>,
    /// Whether messages that lie unread when the actor ends are kept for its next incarnation, in
    /// the order in which they were sent.
    ///
    /// By default they are lost with it: each is counted in a [`DeadLetter`](crate::DeadLetter), and
    /// asks among them end at once with [`AskError::Closed`](crate::AskError::Closed). Where they
    /// are kept, asks among them wait on, within their deadlines, and what no incarnation will read
    /// is lost when the child can never be started again. The message in the actor's hands is lost
    /// either way: it may be what the actor died of. So are raw casts, which do not go through an
    /// address.
    ///
    /// A message to such an actor costs two allocations and a lock more, and it handles one message at
    /// a time, whatever its [`throughput`](Self::throughput).
    pub keep_unread: bool,
    /// As [`SpawnOptions::throughput`].
    pub throughput: Option<NonZeroUsize>,
}

/// Why an actor was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor has the name.
    #[error("the name {0:?} is taken in this system")]
    NameTaken(String),
    /// The system is shutting down.
    #[error("system {0:?} is shutting down")]
    ShuttingDown(Arc<str>),
    /// Its `pre_start` failed or panicked.
    #[error("the actor failed to start")]
    Failed(#[source] ractor::SpawnErr),
}
