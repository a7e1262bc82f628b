use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ChildKind, Intensity, Restart, Strategy};

/// What a supervisor and its children look like at one moment. Prints as an indented tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Who is restarted when one child has to be.
    pub strategy: Strategy,
    /// Whether it forgets children that have ended for good.
    pub dynamic: bool,
    /// How many restarts it bears.
    pub intensity: Intensity,
    /// Whether it is stopping its children for good.
    pub stopping: bool,
    /// Since when this incarnation of it has been there.
    pub up_for: Duration,
    /// Its children, in start order.
    pub children: Vec<ChildSnapshot>,
}

/// What a child looks like at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildSnapshot {
    /// Its name among its siblings.
    pub name: Arc<str>,
    /// What it is.
    pub kind: ChildKind,
    /// When it is restarted.
    pub restart: Restart,
    /// Where it stands.
    pub state: ChildState,
    /// For how long it has stood there.
    pub state_for: Duration,
    /// How often it has come up again after its first start.
    pub restarts: u64,
    /// What happened at its last failure, if it ever failed.
    pub last_failure: Option<String>,
    /// How many messages wait in its mailbox, where that is known.
    pub mailbox: Option<usize>,
    /// ractor's id of its present incarnation, for logs: never a key.
    pub actor: Option<String>,
    /// If it is a supervisor that has answered: what is below it. Not filled in by
    /// `which_children`.
    pub supervisor: Option<Box<SupervisorSnapshot>>,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Declared, but not running, and not about to be started by the supervisor.
    Down,
    /// Its `pre_start` is running; or it is a supervisor whose incarnation before was killed, and
    /// waits until the children of that one are gone, too.
    Starting,
    /// It runs.
    Running,
    /// It has not answered a probe in time and was killed, but has not ended yet.
    Unresponsive,
    /// It will be started when its back-off is over, or its turn comes.
    Waiting,
    /// It is being stopped.
    Stopping,
}

/// How many children a supervisor has: OTP's `count_children`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildCount {
    /// Declared children, running or not.
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those that are supervisors, running or not.
    pub supervisors: usize,
    /// Those that are not, running or not (OTP's `workers`).
    pub actors: usize,
}

impl ChildCount {
    pub(crate) fn of(children: &[ChildSnapshot]) -> Self {
        let count = |what: fn(&&ChildSnapshot) -> bool| children.iter().filter(what).count();
        Self {
            specs: children.len(),
            active: count(|child| child.state == ChildState::Running),
            supervisors: count(|child| child.kind == ChildKind::Supervisor),
            actors: count(|child| child.kind == ChildKind::Actor),
        }
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unresponsive => "unresponsive",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
        })
    }
}

impl fmt::Display for SupervisorSnapshot {
    /// One line for each supervisor and child, indented by lines that show what belongs to what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        self.fmt_head(f)?;
        self.fmt_children(f, "")
    }
}

impl SupervisorSnapshot {
    fn fmt_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = match (self.dynamic, self.strategy) {
            (true, _) => "dynamic",
            (false, Strategy::OneForOne) => "one-for-one",
            (false, Strategy::OneForAll) => "one-for-all",
            (false, Strategy::RestForOne) => "rest-for-one",
        };
        let Intensity { restarts, period } = self.intensity;
        write!(f, "[{strategy}, {restarts} in {period:?}]")?;
        if self.stopping { f.write_str(" stopping") } else { Ok(()) }
    }

    fn fmt_children(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (index, child) in self.children.iter().enumerate() {
            let last = index + 1 == self.children.len();
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            write!(f, "\n{indent}{branch}{child}")?;
            if let Some(supervisor) = &child.supervisor {
                supervisor.fmt_children(f, &format!("{indent}{below}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ChildSnapshot {
    /// One line: the child without what is below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        if let Some(supervisor) = &self.supervisor {
            supervisor.fmt_head(f)?;
            f.write_str(" ")?;
        }
        // Milliseconds are enough to read.
        let millis = u64::try_from(self.state_for.as_millis()).unwrap_or(u64::MAX);
        write!(f, "{} for {:?}", self.state, Duration::from_millis(millis))?;
        match self.restarts {
            0 => {}
            1 => f.write_str(", restarted once")?,
            restarts => write!(f, ", restarted {restarts} times")?,
        }
        if let Some(mailbox) = self.mailbox {
            write!(f, ", {mailbox} in mailbox")?;
        }
        if let Some(failure) = &self.last_failure {
            write!(f, ", last failure: {failure}")?;
        }
        Ok(())
    }
}
