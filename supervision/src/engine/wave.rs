//! Group restarts: one-for-all and rest-for-one.
//!
//! A wave passes over all children from the oldest concerned to the youngest: first it stops
//! them, youngest first, one at a time; then, when a back-off is over, it starts them, oldest
//! first, one at a time. The first start of all children is a wave that has nothing to stop.
//!
//! What happens while a wave passes is merged into it rather than put off until it is through: a
//! child that ends ahead of the stopping wave has merely saved it the work; one that ends behind
//! it, or behind the starting wave, is one more restart, and turns the wave back to include it.

use std::time::Duration;

use super::{Child, ChildId, Engine, Mode, State, child::Then};
use crate::Restart;

#[derive(Clone, Debug)]
pub(super) struct Wave {
    /// The oldest child concerned.
    from: ChildId,
    /// While stopping: all concerned children younger than this are down. While starting: all
    /// concerned children older than this have had their turn.
    cursor: ChildId,
    phase: Phase,
    /// Nothing is started before this time.
    pub(super) not_before: Duration,
    /// Everything is down, and only time has to pass.
    held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Stopping,
    Starting,
}

impl Wave {
    pub(super) fn starting_all(now: Duration) -> Self {
        Self {
            from: ChildId(0),
            cursor: ChildId(0),
            phase: Phase::Starting,
            not_before: now,
            held: false,
        }
    }

    pub(super) fn wake(&self) -> Option<Duration> {
        self.held.then_some(self.not_before)
    }

    /// Whether the wave will still come to this child, once it is down, and start it.
    pub(super) fn will_start(&self, id: ChildId) -> bool {
        match self.phase {
            Phase::Stopping => id >= self.from,
            Phase::Starting => id >= self.cursor,
        }
    }
}

impl Engine {
    /// If a wave is about to stop this child: from when on it starts it again.
    pub(super) fn wave_awaits(&self, id: ChildId) -> Option<Duration> {
        let wave = self.wave.as_ref()?;
        (wave.phase == Phase::Stopping && id >= wave.from).then_some(wave.not_before)
    }

    /// Sends a wave over `from` and all younger children, or turns back the one that passes.
    pub(super) fn raise_wave(&mut self, from: ChildId, not_before: Duration, now: Duration) {
        // What the passing wave had still to do is part of the new one, for whoever fails is no
        // younger than that: a wave that stops awaits the ends of all whom it concerns, and beyond
        // the one that is started nobody lives.
        let not_before =
            self.wave.as_ref().map_or(not_before, |wave| not_before.max(wave.not_before));
        // OTP: "all child processes are restarted", so also those that had ended or been
        // terminated before.
        let until = not_before;
        for child in self.children.range_mut(from..).map(|(_, child)| child) {
            match &mut child.state {
                State::Down => {
                    child.state = State::Waiting { until };
                    child.since = now;
                }
                State::Waiting { until: due } => *due = until,
                // OTP would be through with a termination before it looks at this failure.
                State::Stopping { then: then @ Then::Stay } => *then = Then::Return,
                State::Starting | State::Up | State::Stopping { .. } => {}
            }
        }
        let youngest = self.children.keys().next_back().copied().unwrap_or(from);
        self.wave = Some(Wave {
            from,
            cursor: youngest.max(from),
            phase: Phase::Stopping,
            not_before,
            held: false,
        });
    }

    /// Moves the wave on as far as it can go.
    pub(super) fn advance_wave(&mut self, now: Duration) {
        let Some(wave) = &mut self.wave else { return };
        wave.held = false;
        if wave.phase == Phase::Stopping {
            let mut concerned = self.children.range(wave.from..=wave.cursor).rev();
            if let Some((id, child)) = concerned.find(|(_, child)| child.is_live()) {
                let (id, state, then) = (*id, child.state, after_group_stop(child));
                wave.cursor = id;
                if !matches!(state, State::Stopping { .. }) {
                    self.stop(id, then, now);
                }
                return;
            }
            wave.phase = Phase::Starting;
            wave.cursor = wave.from;
        }
        if now < wave.not_before {
            wave.held = true;
            return;
        }
        let mut concerned = self.children.range(wave.cursor..);
        let due = concerned
            .find(|(_, child)| matches!(child.state, State::Waiting { .. } | State::Starting));
        match due {
            Some((id, child)) => {
                let (id, state) = (*id, child.state);
                wave.cursor = id;
                if state != State::Starting {
                    self.start(id, now);
                }
            }
            None => {
                self.wave = None;
                if self.mode == Mode::Booting {
                    self.booted(now);
                    // The ends that were put off may have raised the next wave.
                    self.advance_wave(now);
                }
            }
        }
    }
}

/// OTP: a temporary child is never restarted, "even when the supervisor's restart strategy is
/// rest_for_one or one_for_all and a sibling's death causes the temporary process to be
/// terminated".
fn after_group_stop(child: &Child) -> Then {
    match child.rules.restart {
        Restart::Temporary => Then::Leave,
        Restart::Permanent | Restart::Transient => Then::Return,
    }
}
