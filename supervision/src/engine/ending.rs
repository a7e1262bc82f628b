use std::time::Duration;

use super::{ChildId, ChildRules, Command, Ending, Engine, Mode, Refusal, State, child::Then};
use crate::AutoShutdown;

impl Engine {
    /// Begins to stop all children for good. A reason that is already there stays.
    pub(super) fn begin_ending(&mut self, ending: Ending, now: Duration) {
        if matches!(self.mode, Mode::Ending(_) | Mode::Ended) {
            return;
        }
        self.mode = Mode::Ending(ending);
        self.wave = None;
        self.timers.clear();
        for child in self.children.values_mut() {
            for ticket in child.take_start_tickets() {
                self.out.push(Command::Answer(ticket, Err(Refusal::Ending)));
            }
            if let State::Stopping { then } = &mut child.state {
                *then = Then::Leave;
            }
        }
        for (id, _) in std::mem::take(&mut self.early) {
            self.forget(id);
        }
        // What is down can never come back, so it need not wait for its turn to be forgotten.
        let down: Vec<_> =
            self.children().filter(|(_, child)| !child.is_live()).map(|(id, _)| id).collect();
        down.into_iter().for_each(|id| self.forget(id));
        if self.config.dynamic {
            // OTP stops the children of a simple_one_for_one supervisor all at once: their
            // order says nothing.
            let live: Vec<_> = self.children.keys().rev().copied().collect();
            for id in live {
                if !self.is(id, |state| matches!(state, State::Stopping { .. })) {
                    self.stop(id, Then::Leave, now);
                }
            }
        }
    }

    /// Stops the youngest child that is left.
    pub(super) fn advance_ending(&mut self, ending: Ending, now: Duration) {
        while let Some((id, child)) = self.children.last_key_value() {
            let (id, state) = (*id, child.state);
            match state {
                State::Stopping { .. } => return,
                State::Starting | State::Up => return self.stop(id, Then::Leave, now),
                State::Down | State::Waiting { .. } => self.forget(id),
            }
        }
        self.mode = Mode::Ended;
        self.out.push(Command::Ended(ending));
    }

    /// A child has ended by itself and is not coming back.
    pub(super) fn significant_end(&mut self, id: ChildId, rules: ChildRules, now: Duration) {
        if !rules.significant {
            return;
        }
        let over = match self.config.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => self
                .children
                .values()
                .all(|child| !child.rules.significant || child.state == State::Down),
        };
        if over {
            self.begin_ending(Ending::Automatic(id), now);
        }
    }
}
