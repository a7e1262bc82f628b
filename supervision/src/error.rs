use std::{error::Error, sync::Arc, time::Duration};

use ractor::SpawnErr;

use crate::engine::Refusal;

/// Why a supervisor did not start. In each case nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A child did not start; those started before it were stopped again in reverse order.
    #[error("child `{child}` of supervisor `{supervisor}` did not start")]
    Child {
        /// The supervisor that had to start it.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
        /// Why. If the child is a supervisor, its own `StartError` is inside.
        source: SpawnErr,
    },
    /// A child was declared in a way that makes no sense; nothing was started.
    #[error("child `{child}` of supervisor `{supervisor}` cannot be declared so: {why}")]
    Declaration {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
        /// What is wrong with it.
        why: Senseless,
    },
    /// It was told to stop while it was still starting its children; those that were up were
    /// stopped in reverse order.
    #[error("supervisor `{supervisor}` was told to stop before it was up")]
    Cancelled {
        /// The supervisor.
        supervisor: Arc<str>,
    },
    /// ractor refused the supervisor itself, as when its parent is stopping.
    #[error("supervisor `{supervisor}` could not be spawned")]
    Spawn {
        /// The supervisor.
        supervisor: Arc<str>,
        /// ractor's reason.
        source: SpawnErr,
    },
}

/// What is wrong with a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Senseless {
    /// Another child has the same name.
    #[error("another child has the same name")]
    DuplicateName,
    /// There are more children than `children_max` allows.
    #[error("the supervisor may not have that many children, see `children_max`")]
    TooMany,
    /// It is significant, but permanent, or its supervisor never shuts down automatically.
    #[error("a significant child must be transient or temporary, under an `auto_shutdown`")]
    Significant,
    /// It is to be probed, but nobody has said how it is asked.
    #[error("a child that is probed needs a `ping`, to be asked by")]
    ProbeWithoutPing,
    /// It is to be probed all the time, or has no time to answer.
    #[error("a probe needs an interval and a time to answer that are longer than zero")]
    ProbeWithoutTime,
}

/// Why a request about a child came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is no child of this name.
    #[error("supervisor `{supervisor}` has no child `{child}`")]
    NotFound {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The name.
        child: Arc<str>,
    },
    /// `start_child`: there is a child of this name already, running or not. If it is down,
    /// restart it, or delete it first.
    #[error("supervisor `{supervisor}` has a child `{child}` already")]
    AlreadyPresent {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The name.
        child: Arc<str>,
    },
    /// `start_child`: the supervisor has as many children as it may have.
    #[error("supervisor `{supervisor}` is full: it has {children_max} children")]
    Full {
        /// The supervisor.
        supervisor: Arc<str>,
        /// Its bound.
        children_max: usize,
    },
    /// `start_child`: the declaration makes no sense under this supervisor.
    #[error("child `{child}` of supervisor `{supervisor}` cannot be declared so: {why}")]
    Declaration {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
        /// What is wrong with it.
        why: Senseless,
    },
    /// `start_child`, `restart_child`: the child did not start. A new one is forgotten, an old
    /// one stays down.
    #[error("child `{child}` of supervisor `{supervisor}` did not start")]
    NotStarted {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
        /// Why.
        source: SpawnErr,
    },
    /// `restart_child`, `delete_child`: the child is not down; terminate it first.
    #[error("child `{child}` of supervisor `{supervisor}` is {state}")]
    NotDown {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
        /// What it is instead: running, being restarted, or stopping.
        state: &'static str,
    },
    /// `start_child`, `restart_child`: the child was told to stop before it was up.
    #[error("child `{child}` of supervisor `{supervisor}` was told to stop before it was up")]
    Cancelled {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The child.
        child: Arc<str>,
    },
    /// The supervisor is stopping, or gone. A child that was to be started is not.
    #[error("supervisor `{supervisor}` is stopping or gone")]
    SupervisorGone {
        /// The supervisor.
        supervisor: Arc<str>,
    },
}

/// The supervisor is stopping, or gone, and does not answer any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("supervisor `{supervisor}` is stopping or gone")]
pub struct SupervisorGone {
    /// The supervisor.
    pub supervisor: Arc<str>,
}

/// A supervisor has failed because its children needed more restarts than it bears. All its
/// children have been stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "supervisor `{supervisor}` gave up: more than {restarts} restarts within {period:?}, the \
     last one for child `{child}` ({last_failure})"
)]
pub struct GaveUp {
    /// The supervisor.
    pub supervisor: Arc<str>,
    /// The child whose restart was one too many.
    pub child: Arc<str>,
    /// What had happened to it.
    pub last_failure: String,
    /// How many restarts it would have borne.
    pub restarts: u32,
    /// Within how long.
    pub period: Duration,
}

impl StartError {
    /// What it came from, in one line: of the supervisors below one another, the innermost, whose child did
    /// not start, and what that child said.
    ///
    /// ```
    /// use ractor::SpawnErr;
    /// use umbel_supervision::{ChildSpec, StartError, Strategy, Supervisor};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let sub = || {
    ///     let disk = ChildSpec::new("disk", |_| async {
    ///         Err(SpawnErr::StartupFailed("it is full".into()))
    ///     });
    ///     Supervisor::new("sub", Strategy::OneForOne).child(disk)
    /// };
    /// let root = Supervisor::new("root", Strategy::OneForOne).child(ChildSpec::supervisor("sub", sub));
    /// let why: StartError = root.start().await.unwrap_err();
    /// assert_eq!(why.to_string(), "child `sub` of supervisor `root` did not start");
    /// assert_eq!(why.reason(), "child `disk` of supervisor `sub` did not start: it is full");
    /// # }
    /// ```
    #[must_use]
    pub fn reason(&self) -> String {
        reason(self)
    }

    pub(crate) fn refused(supervisor: Arc<str>, child: Arc<str>, refusal: Refusal) -> Self {
        let why = match refusal {
            Refusal::AlreadyPresent => Senseless::DuplicateName,
            Refusal::Full => Senseless::TooMany,
            Refusal::Significant => Senseless::Significant,
            other => panic!("a declaration is never refused as {other:?}"),
        };
        Self::Declaration { supervisor, child, why }
    }
}

impl ChildError {
    /// What it came from, in one line, as [`StartError::reason`].
    #[must_use]
    pub fn reason(&self) -> String {
        reason(self)
    }

    pub(crate) fn new(
        supervisor: Arc<str>,
        child: Arc<str>,
        children_max: usize,
        refusal: Refusal,
        failure: Option<SpawnErr>,
    ) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound { supervisor, child },
            Refusal::AlreadyPresent => Self::AlreadyPresent { supervisor, child },
            Refusal::Full => Self::Full { supervisor, children_max },
            Refusal::Significant => {
                Self::Declaration { supervisor, child, why: Senseless::Significant }
            }
            Refusal::Running => Self::NotDown { supervisor, child, state: "running" },
            Refusal::Restarting => Self::NotDown { supervisor, child, state: "being restarted" },
            Refusal::Stopping => Self::NotDown { supervisor, child, state: "stopping" },
            Refusal::StartFailed => {
                let source = failure.expect("a failed start left its error");
                Self::NotStarted { supervisor, child, source }
            }
            Refusal::Cancelled => Self::Cancelled { supervisor, child },
            Refusal::Ending => Self::SupervisorGone { supervisor },
        }
    }
}

/// The innermost error of ours, with what it came from. ractor's text in between is passed over: it speaks
/// of a panic where an actor has returned an error, and repeats what it came from.
fn reason(outermost: &(dyn Error + 'static)) -> String {
    let ours =
        |error: &&(dyn Error + 'static)| error.is::<StartError>() || error.is::<ChildError>();
    let innermost = causes(outermost).filter(ours).last().unwrap_or(outermost);
    let wrapped = |error: &(dyn Error + 'static)| {
        matches!(error.downcast_ref(), Some(SpawnErr::StartupFailed(_)))
    };
    let mut text = innermost.to_string();
    for cause in causes(innermost).skip(1).filter(|cause| !wrapped(*cause)) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// An error, and what it came from.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
