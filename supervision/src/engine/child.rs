use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Ticket;
use crate::{Backoff, Restart};

/// What the engine knows of one child.
#[derive(Clone, Debug)]
pub struct Child {
    pub(super) name: Arc<str>,
    pub(super) rules: ChildRules,
    pub(super) state: State,
    /// When it came into this state.
    pub(super) since: Duration,
    /// How often it has come up.
    pub(super) starts: u64,
    /// Failures in a row, for the back-off.
    pub(super) failures: u32,
    pub(super) tickets: Vec<(Ticket, Awaited)>,
}

/// What is declared of a child, as far as decisions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRules {
    /// When it is started again.
    pub restart: Restart,
    /// How long to wait before that.
    pub backoff: Backoff,
    /// Whether its end may end the supervisor.
    pub significant: bool,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Declared, not running, and nobody is about to start it.
    Down,
    /// A `Start` is under way.
    Starting,
    /// It runs.
    Up,
    /// It will be started: when a back-off is over, or when its turn in its group comes.
    Waiting {
        /// Not before this time.
        until: Duration,
    },
    /// A `Stop` is under way.
    Stopping {
        /// What becomes of it afterwards.
        then: Then,
    },
}

/// What becomes of a child once it has been stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays declared, but down.
    Stay,
    /// It is forgotten.
    Leave,
    /// It is started again with its group.
    Return,
}

/// Which change of a child a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Start,
    Stop,
}

impl Child {
    pub(super) fn new(name: Arc<str>, rules: ChildRules, state: State, now: Duration) -> Self {
        Self { name, rules, state, since: now, starts: 0, failures: 0, tickets: Vec::new() }
    }

    /// Its name among its siblings.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What was declared of it.
    pub fn rules(&self) -> ChildRules {
        self.rules
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it came to stand there.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// How often it has come up again after its first start.
    pub fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// Whether there is an incarnation of it, be it on its way up or down.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Starting | State::Up | State::Stopping { .. })
    }

    pub(super) fn take_start_tickets(&mut self) -> Vec<Ticket> {
        self.take_tickets(Awaited::Start)
    }

    pub(super) fn take_stop_tickets(&mut self) -> Vec<Ticket> {
        self.take_tickets(Awaited::Stop)
    }

    fn take_tickets(&mut self, awaited: Awaited) -> Vec<Ticket> {
        self.tickets
            .extract_if(.., |(_, wanted)| *wanted == awaited)
            .map(|(ticket, _)| ticket)
            .collect()
    }
}
