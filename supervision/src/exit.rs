use std::{fmt, time::Duration};

use ractor::SupervisionEvent;
use serde::{Deserialize, Serialize};

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It stopped without a reason.
    Normal,
    /// It stopped with a reason: by `stop(Some(..))`, or drained.
    Stopped(String),
    /// It panicked, or one of its hooks returned an error.
    Failed(String),
    /// It was killed, by hand or because an actor above it was.
    Killed,
    /// It was killed because it had not answered its supervisor for this long, see
    /// [`ChildSpec::probe`](crate::ChildSpec::probe).
    Unresponsive(Duration),
    /// Its task was taken away from under it, as when a runtime shuts down.
    Cancelled,
}

impl Exit {
    /// Whether a transient child is to be restarted: after a failure, a kill, or the loss of its
    /// task. A stop is normal, with or without a reason, as OTP's `normal` and `shutdown` are.
    pub fn is_abnormal(&self) -> bool {
        match self {
            Self::Normal | Self::Stopped(_) => false,
            Self::Failed(_) | Self::Killed | Self::Unresponsive(_) | Self::Cancelled => true,
        }
    }

    /// Reads the end of an actor from ractor's event; `None` if the event is no end.
    ///
    /// ractor tells a kill and a lost task only by their reason texts, so an actor that stops
    /// itself with the reason `"killed"` counts as killed.
    pub(crate) fn from_event(event: &SupervisionEvent) -> Option<Self> {
        match event {
            SupervisionEvent::ActorTerminated(_, _, reason) => Some(match reason.as_deref() {
                None => Self::Normal,
                Some("killed") => Self::Killed,
                Some("actor_task_cancelled") => Self::Cancelled,
                Some(reason) => Self::Stopped(reason.to_owned()),
            }),
            SupervisionEvent::ActorFailed(_, error) => Some(Self::Failed(chain(error.as_ref()))),
            _ => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Stopped(reason) => write!(f, "stopped: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Killed => f.write_str("killed"),
            Self::Unresponsive(within) => write!(f, "killed: it had not answered for {within:?}"),
            Self::Cancelled => f.write_str("its task was cancelled"),
        }
    }
}

/// An error and its sources in one line. A text that already ends with its source's is not
/// extended by it: ractor prints the source inside its own text.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_and_lost_tasks_are_abnormal_and_stops_are_not() {
        assert!(Exit::Killed.is_abnormal());
        assert!(Exit::Unresponsive(Duration::from_secs(1)).is_abnormal());
        assert!(Exit::Cancelled.is_abnormal());
        assert!(Exit::Failed("boom".into()).is_abnormal());
        assert!(!Exit::Normal.is_abnormal());
        assert!(!Exit::Stopped("drained".into()).is_abnormal());
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner;
        assert_eq!(chain(&Outer(Inner)), "outer: inner");
        let spawn = ractor::SpawnErr::StartupFailed("no disk".into());
        assert_eq!(chain(&spawn).matches("no disk").count(), 1);
    }
}
