use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    oneshot,
};

use crate::Exit;

/// Something that happened in a supervision tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: since the start of the tree's root.
    pub at: Duration,
    /// The supervisor that it happened to or under: the names from the root down, joined by `/`.
    pub supervisor: Arc<str>,
    /// The child that it happened to; `None`: the supervisor itself.
    pub child: Option<Arc<str>>,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A child is up for the first time; a supervisor has started all its children.
    Started,
    /// A child is up again.
    Restarted {
        /// How often it has come up again so far.
        restarts: u64,
    },
    /// A child did not start.
    StartFailed {
        /// Why.
        reason: String,
    },
    /// A child has ended by itself or was killed from outside: not by its supervisor.
    Ended {
        /// How.
        exit: Exit,
    },
    /// A child has not answered a probe in time. It was killed, and `Ended` follows when it is
    /// gone; see [`ChildSpec::probe`](crate::ChildSpec::probe).
    Unresponsive {
        /// How long it had not answered for.
        within: Duration,
    },
    /// A child is started again, but only after this back-off.
    Waiting {
        /// How long.
        wait: Duration,
    },
    /// What the last incarnation of a child owned is still not dropped, or those below it have still
    /// not ended. The child is started when that is gone, however long it takes; told once for each
    /// start, after 5 s. See [`ChildSpec::spawned`](crate::ChildSpec::spawned).
    Lingering {
        /// How long its start has waited for so far.
        waited: Duration,
    },
    /// A child was stopped by its supervisor; a supervisor has stopped all its children.
    Stopped {
        /// Whether it was killed: because it was declared so, or because it took too long.
        killed: bool,
    },
    /// A supervisor gives up: it stops its children, and fails.
    Escalated {
        /// The text of its [`GaveUp`](crate::GaveUp).
        reason: String,
    },
}

/// The events of a tree, as they happen. From [`Supervisor::events`](crate::Supervisor::events)
/// before it is started, or from [`SupervisorRef::events`](crate::SupervisorRef::events).
#[derive(Debug)]
pub struct EventStream(Source);

#[derive(Debug)]
enum Source {
    /// The supervisor has not been started yet.
    Awaited(oneshot::Receiver<Live>),
    Live(Live),
    /// It never will be.
    Never,
}

#[derive(Debug)]
struct Live {
    events: broadcast::Receiver<Event>,
    /// Only events of this supervisor and those below it.
    below: Arc<str>,
}

/// Who wants to see a supervisor from its start on. Shared by all clones of a declaration: whichever
/// is started first is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audience(Arc<Mutex<Vec<oneshot::Sender<Live>>>>);

impl Audience {
    pub(crate) fn seat(&self) -> EventStream {
        let (seat, taken) = oneshot::channel();
        let mut seats = self.0.lock();
        // What is kept is bounded by the streams that are held.
        seats.retain(|seat| !seat.is_closed());
        seats.push(seat);
        EventStream(Source::Awaited(taken))
    }

    /// Shows it the events of the supervisor at `path`, which is about to start.
    pub(crate) fn let_in(&self, events: &broadcast::Sender<Event>, path: &Arc<str>) {
        for seat in std::mem::take(&mut *self.0.lock()) {
            // Whoever has gone meanwhile sees nothing.
            let _ = seat.send(Live { events: events.subscribe(), below: path.clone() });
        }
    }
}

/// What an [`EventStream`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// An event.
    Event(Event),
    /// The reader was too slow: this many events of the tree were dropped, oldest first. Look at
    /// a snapshot to catch up.
    Lagged(u64),
}

impl EventStream {
    pub(crate) fn new(events: broadcast::Receiver<Event>, below: Arc<str>) -> Self {
        Self(Source::Live(Live { events, below }))
    }

    /// The next event; `None` when the tree is gone, or was declared and will never be started.
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Observed> {
        if let Source::Awaited(start) = &mut self.0 {
            self.0 = start.await.map_or(Source::Never, Source::Live);
        }
        match &mut self.0 {
            Source::Live(live) => live.next().await,
            Source::Awaited(_) | Source::Never => None,
        }
    }
}

impl Live {
    async fn next(&mut self) -> Option<Observed> {
        loop {
            match self.events.recv().await {
                Ok(event) if is_below(&event.supervisor, &self.below) => {
                    return Some(Observed::Event(event));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(events)) => return Some(Observed::Lagged(events)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3}s {}", self.at.as_secs_f64(), self.supervisor)?;
        if let Some(child) = &self.child {
            write!(f, "/{child}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Restarted { restarts } => write!(f, "restarted (#{restarts})"),
            Self::StartFailed { reason } => write!(f, "did not start: {reason}"),
            Self::Ended { exit } => exit.fmt(f),
            Self::Unresponsive { within } => write!(f, "has not answered for {within:?}"),
            Self::Lingering { waited } => {
                write!(f, "waits to start, for something is left of it after {waited:?}")
            }
            Self::Waiting { wait } => write!(f, "waits {wait:?} to be restarted"),
            Self::Stopped { killed: false } => f.write_str("stopped by its supervisor"),
            Self::Stopped { killed: true } => f.write_str("killed by its supervisor"),
            Self::Escalated { reason } => write!(f, "escalated: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_itself_and_its_ancestors_only() {
        assert!(is_below("a", "a"));
        assert!(is_below("a/b", "a"));
        assert!(!is_below("ab", "a"));
        assert!(!is_below("a", "a/b"));
    }
}
