use std::{collections::hash_map::Entry, sync::Arc, time::Duration};

use super::{
    Child, ChildId, ChildRules, Command, Engine, Mode, Refusal, State, Ticket,
    child::{Awaited, Then},
};
use crate::{AutoShutdown, Restart};

impl Engine {
    pub(super) fn add(
        &mut self,
        id: ChildId,
        name: Arc<str>,
        rules: ChildRules,
        ticket: Ticket,
        now: Duration,
    ) {
        if let Err(refusal) = self.admit(id, &name, rules) {
            self.out.push(Command::Answer(ticket, Err(refusal)));
            self.out.push(Command::Forget(id));
            return;
        }
        let wave_will_start = match &self.wave {
            Some(wave) => wave.will_start(id).then_some(wave.not_before),
            None => None,
        };
        let state = match wave_will_start {
            Some(until) => State::Waiting { until },
            None if self.mode == Mode::New => State::Waiting { until: now },
            None => State::Down,
        };
        self.children.insert(id, Child::new(name, rules, state, now));
        if self.mode == Mode::New {
            self.out.push(Command::Answer(ticket, Ok(id)));
            return;
        }
        self.await_child(id, ticket, Awaited::Start);
        if state == State::Down {
            self.start(id, now);
        }
    }

    /// Takes the name, unless the child is refused.
    fn admit(&mut self, id: ChildId, name: &Arc<str>, rules: ChildRules) -> Result<(), Refusal> {
        if matches!(self.mode, Mode::Ending(_) | Mode::Ended) {
            return Err(Refusal::Ending);
        }
        let Entry::Vacant(free) = self.names.entry(name.clone()) else {
            return Err(Refusal::AlreadyPresent);
        };
        if self.children.len() >= self.config.children_max {
            return Err(Refusal::Full);
        }
        let senseless =
            rules.restart == Restart::Permanent || self.config.auto_shutdown == AutoShutdown::Never;
        if rules.significant && senseless {
            return Err(Refusal::Significant);
        }
        free.insert(id);
        Ok(())
    }

    pub(super) fn terminate(&mut self, name: &str, ticket: Ticket, now: Duration) {
        let Some(id) = self.names.get(name).copied() else {
            self.out.push(Command::Answer(ticket, Err(Refusal::NotFound)));
            return;
        };
        let child = self.children.get_mut(&id).expect("a name belongs to a known child");
        for start in child.take_start_tickets() {
            self.out.push(Command::Answer(start, Err(Refusal::Cancelled)));
        }
        let forget = self.config.dynamic
            || child.rules.restart == Restart::Temporary
            || child.starts == 0 && self.mode == Mode::Running;
        let then = if forget { Then::Leave } else { Then::Stay };
        match &mut child.state {
            State::Down | State::Waiting { .. } => {
                self.set(id, State::Down, now);
                if forget {
                    self.forget(id);
                }
                self.out.push(Command::Answer(ticket, Ok(id)));
            }
            State::Starting | State::Up => {
                self.await_child(id, ticket, Awaited::Stop);
                self.stop(id, then, now);
            }
            State::Stopping { then: planned } => {
                if *planned == Then::Return {
                    *planned = then;
                }
                self.await_child(id, ticket, Awaited::Stop);
            }
        }
    }

    pub(super) fn restart_by_hand(&mut self, name: &str, ticket: Ticket, now: Duration) {
        let id = match self.find_down(name) {
            Ok(id) => id,
            Err(refusal) => {
                self.out.push(Command::Answer(ticket, Err(refusal)));
                return;
            }
        };
        self.await_child(id, ticket, Awaited::Start);
        match &self.wave {
            Some(wave) if wave.will_start(id) => {
                let until = wave.not_before;
                self.set(id, State::Waiting { until }, now);
            }
            _ => self.start(id, now),
        }
    }

    pub(super) fn delete(&mut self, name: &str, ticket: Ticket) {
        let answer = self.find_down(name);
        if let Ok(id) = answer {
            self.forget(id);
        }
        self.out.push(Command::Answer(ticket, answer));
    }

    fn find_down(&self, name: &str) -> Result<ChildId, Refusal> {
        let (id, child) = self.find(name).ok_or(Refusal::NotFound)?;
        match child.state {
            _ if matches!(self.mode, Mode::Ending(_) | Mode::Ended) => Err(Refusal::Ending),
            State::Down => Ok(id),
            State::Up => Err(Refusal::Running),
            State::Starting | State::Waiting { .. } => Err(Refusal::Restarting),
            State::Stopping { .. } => Err(Refusal::Stopping),
        }
    }

    fn await_child(&mut self, id: ChildId, ticket: Ticket, awaited: Awaited) {
        let child = self.children.get_mut(&id).expect("an awaited child is a known child");
        child.tickets.push((ticket, awaited));
    }
}
