//! One machine of a run: the process on it, and what is known of it.

use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use umbel_protocol::NodeId;

use super::bounds::{DROWSY_AFTER, LAST_LINES, TICK};
use super::crew::Process;
use super::told::Order;
use crate::standing::Standing;

/// One machine of a run: the process on it, if one runs, and what is known of it. Times are those since
/// the start of the run.
#[derive(Default)]
pub(super) struct Machine {
    process: Option<Process>,
    /// Which life its node is.
    node: Option<NodeId>,
    standing: Option<Standing>,
    heard_at: Duration,
    awake_since: Duration,
    pause: Option<Pause>,
    end: End,
    /// When a process is to be started again.
    up_at: Option<Duration>,
    down_for: Duration,
    last: VecDeque<String>,
}

/// How a process is kept from working.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// It is stopped until then.
    Whole { until: Duration },
    /// It is stopped for as long at a time, and gets a turn in between.
    Turns { turn: Duration, next: Duration, is_stopped: bool, until: Duration },
}

/// Whether a process is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    NotAsked,
    Killed,
    Leaves,
}

impl Machine {
    /// A machine whose process is to be started at once.
    pub(super) fn new() -> Self {
        Self { up_at: Some(Duration::ZERO), ..Self::default() }
    }

    pub(super) fn start(&mut self, process: Process, now: Duration) {
        let last = std::mem::take(&mut self.last);
        *self = Self { process: Some(process), awake_since: now, last, ..Self::default() };
    }

    /// Whether its process is to be started now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.process.is_none() && self.up_at.is_some_and(|at| at <= now)
    }

    /// Whether the process of this number runs on it.
    pub(super) fn runs(&self, number: u32) -> bool {
        self.process.as_ref().is_some_and(|process| process.number == number)
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Whether it is to end by itself.
    pub(super) fn is_leaving(&self) -> bool {
        self.end == End::Leaves
    }

    /// Since when nothing was heard of how it stands.
    pub(super) fn heard_at(&self) -> Duration {
        self.heard_at
    }

    // --- What is known of it ----------------------------------------------------------------------

    pub(super) fn is_node(&mut self, node: NodeId) {
        self.node = Some(node);
    }

    pub(super) fn stands(&mut self, standing: Standing, now: Duration) {
        // It may have told before it was stopped, or have had no time although it was not.
        if self.pause.is_none() && now.saturating_sub(self.heard_at) > DROWSY_AFTER {
            self.awake_since = self.awake_since.max(now);
        }
        self.heard_at = now;
        self.standing = Some(standing);
    }

    /// This process itself had no time: what it has heard late is not the node's fault.
    pub(super) fn overslept(&mut self, now: Duration) {
        self.awake_since = self.awake_since.max(now);
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        let (awake_since, is_paused) = (self.awake_since, self.pause.is_some());
        self.standing.clone().map(|standing| Standing { awake_since, is_paused, ..standing })
    }

    /// Keeps a line for the report of a violation.
    pub(super) fn note(&mut self, line: String) {
        if self.last.len() >= LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(super) fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    // --- What happens to it -----------------------------------------------------------------------

    /// Kills its process; false where none runs that is not killed yet.
    pub(super) fn kill(&mut self, down_for: Duration) -> bool {
        let Some(process) = &self.process else { return false };
        if self.end == End::Killed {
            return false;
        }
        process.signal(Signal::KILL);
        (self.end, self.down_for, self.pause) = (End::Killed, down_for, None);
        true
    }

    /// Tells its node to leave; false where it is not up yet, or ends already.
    pub(super) async fn leave(&mut self, down_for: Duration) -> bool {
        if self.standing.is_none() || self.end != End::NotAsked {
            return false;
        }
        let Some(process) = &mut self.process else { return false };
        process.order(&Order::Leave).await;
        (self.end, self.down_for) = (End::Leaves, down_for);
        true
    }

    pub(super) async fn order(&mut self, order: &Order) {
        if let Some(process) = &mut self.process {
            process.order(order).await;
        }
    }

    /// Stops it until then; false where none runs.
    pub(super) fn pause(&mut self, until: Duration) -> bool {
        self.hold(Pause::Whole { until })
    }

    /// Lets it work for a moment only every so often; false where none runs.
    pub(super) fn slow_down(&mut self, turn: Duration, now: Duration, until: Duration) -> bool {
        self.hold(Pause::Turns { turn, next: now + turn, is_stopped: true, until })
    }

    fn hold(&mut self, pause: Pause) -> bool {
        let Some(process) = &self.process else { return false };
        if self.end == End::Killed || self.pause.is_some() {
            return false;
        }
        process.signal(Signal::STOP);
        self.pause = Some(pause);
        true
    }

    /// Has it go on where its pause is over.
    pub(super) fn tick(&mut self, now: Duration) {
        let (Some(process), Some(pause)) = (&self.process, &mut self.pause) else { return };
        let (Pause::Whole { until } | Pause::Turns { until, .. }) = *pause;
        if until <= now {
            return self.go_on(now);
        }
        if let Pause::Turns { turn, next, is_stopped, .. } = pause
            && *next <= now
        {
            process.signal(if *is_stopped { Signal::CONT } else { Signal::STOP });
            *next = now + if *is_stopped { TICK } else { *turn };
            *is_stopped = !*is_stopped;
        }
    }

    /// Ends what holds it up.
    pub(super) fn go_on(&mut self, now: Duration) {
        if let (Some(process), Some(_)) = (&self.process, self.pause.take()) {
            process.signal(Signal::CONT);
            self.awake_since = now;
        }
    }

    /// It is to be up now, or as soon as its process has ended.
    pub(super) fn heal(&mut self, now: Duration) {
        self.go_on(now);
        self.down_for = Duration::ZERO;
        self.up_at = self.up_at.map(|at| at.min(now));
    }

    /// Its process has told all that it will; waits until it has ended. Which life of which node that was,
    /// whether it was to end, and how it did.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub(super) async fn ended(
        &mut self,
        now: Duration,
    ) -> io::Result<(Option<NodeId>, End, Option<ExitStatus>)> {
        let status = match &mut self.process {
            Some(process) => Some(process.ended().await?),
            None => None,
        };
        (self.process, self.standing, self.pause) = (None, None, None);
        self.up_at = Some(now + self.down_for);
        Ok((self.node.take(), std::mem::take(&mut self.end), status))
    }

    /// Kills what runs and waits for its end.
    pub(super) async fn dismiss(&mut self) {
        if let Some(process) = self.process.take() {
            process.end().await;
        }
    }
}
