use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{ChildKind, ChildState, SupervisorSnapshot};

/// Who did not stop in time. From
/// [`SupervisorRef::stop_within`](crate::SupervisorRef::stop_within).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// Children that were asked to stop and had to be killed, since their own time or that of the
    /// whole was up: their names from the root down, joined by `/`. The first 1,000 of the former.
    /// A supervisor that was too busy to say who is below stands for all of them.
    pub overdue: Vec<Arc<str>>,
    /// Children that were killed before it was their turn to be asked, since the time of the whole
    /// was up.
    pub unasked: usize,
}

impl StopReport {
    /// Whether all have stopped by themselves.
    pub fn is_clean(&self) -> bool {
        self.overdue.is_empty() && self.unasked == 0
    }

    /// Adds the children, on all levels, of a supervisor that is about to be killed.
    pub(crate) fn add_living(&mut self, seen: &SupervisorSnapshot, path: &str) {
        for child in &seen.children {
            let path = format!("{path}/{}", child.name);
            match (&child.supervisor, child.state) {
                (_, ChildState::Down | ChildState::Waiting) => {}
                (Some(below), _) => self.add_living(below, &path),
                (None, ChildState::Stopping | ChildState::Unresponsive) => {
                    self.overdue.push(path.into());
                }
                (None, _) if child.kind == ChildKind::Supervisor => self.overdue.push(path.into()),
                (None, ChildState::Starting | ChildState::Running) => self.unasked += 1,
            }
        }
    }
}

impl fmt::Display for StopReport {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all stopped in time");
        }
        if !self.overdue.is_empty() {
            write!(f, "did not stop in time: {}", self.overdue.join(", "))?;
        }
        if self.unasked > 0 {
            let separator = if self.overdue.is_empty() { "" } else { "; " };
            write!(f, "{separator}{} killed before it was their turn", self.unasked)?;
        }
        Ok(())
    }
}
