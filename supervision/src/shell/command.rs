//! How the engine's commands are carried out.

use std::collections::VecDeque;

use ractor::{ActorCell, SpawnErr};

use super::{
    Brood, Shell,
    member::Operation,
    task::{self, Outcome},
};
use crate::{
    GaveUp, Happening,
    engine::{ChildId, Command, Input},
    exit::chain,
};

impl Shell {
    pub(super) async fn execute_all(&mut self, commands: Vec<Command>) {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            if let Some(input) = self.execute(command).await {
                let follow = self.engine.step(self.now(), input);
                commands.extend(follow);
            }
        }
        while self.tasks.try_join_next().is_some() {}
        self.alarm.set(self.engine.next_wake(), self.born, &self.myself, &mut self.tasks);
    }

    async fn execute(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::Start(child) => return self.start(child).await,
            Command::Stop(child) => self.stop(child),
            Command::Forget(child) => {
                self.members.remove(&child);
                if let Some(brood) = &self.lineage.brood {
                    brood.remove_below(child);
                }
            }
            Command::Wait(child, wait) => self.tell(Some(child), || Happening::Waiting { wait }),
            Command::GiveUp(child) => self.give_up(child),
            Command::Answer(ticket, answer) => self.answer(ticket, answer),
            Command::Booted => self.booted = true,
            Command::Ended(ending) => {
                self.ended = Some(ending);
                self.tell(None, || Happening::Stopped { killed: false });
            }
        }
        None
    }

    /// Starts a child; says so at once if it is up at once.
    async fn start(&mut self, child: ChildId) -> Option<Input> {
        let member = self.members.get_mut(&child).expect("a child to start is a known child");
        let mut start = task::begin_start(member, &self.myself, &self.lineage);
        // Most starts are through at the first poll: they need no task.
        match start.first_poll().await {
            Some(Ok(actor)) => {
                self.adopt(child, actor);
                return Some(Input::Started(child));
            }
            Some(Err(error)) => {
                // Reported the long way round, through the mailbox: a child that fails again and
                // again must not keep the supervisor from hearing that it should stop.
                member.operation = Some(Operation::start(start.call_back()));
                self.starts_under_way += 1;
                task::report(&self.reporter, &self.myself, child, Outcome::Started(Err(error)));
            }
            None => {
                member.operation = Some(Operation::start(start.call_back()));
                self.starts_under_way += 1;
                let (reporter, myself) = (self.reporter.clone(), self.myself.clone());
                let brood = self.lineage.brood.clone();
                let under_way = brood.as_ref().map(Brood::starting);
                self.tasks.spawn(async move {
                    let _under_way = under_way;
                    let outcome = start.finish().await;
                    if let (Some(brood), Outcome::Started(Ok(actor))) = (&brood, &outcome) {
                        // Now, for the supervisor may be killed before it hears of it.
                        brood.joined(actor.clone());
                    }
                    task::report(&reporter, &myself, child, outcome);
                });
            }
        }
        None
    }

    pub(super) fn stop(&mut self, child: ChildId) {
        let member = self.members.get_mut(&child).expect("a child to stop is a known child");
        if let Some(operation) = &mut member.operation {
            operation.call_back();
            return;
        }
        member.operation = Some(Operation::Stop);
        member.probing = None;
        let (reporter, myself) = (self.reporter.clone(), self.myself.clone());
        let (actor, spec) = (member.actor.clone(), &member.spec);
        let (kind, shutdown) = (spec.start.kind(), spec.shutdown);
        let below = member.below.clone();
        let (overdue, path) = (self.lineage.overdue.clone(), self.lineage.path_of(&spec.name));
        self.tasks.spawn(async move {
            let killed = match actor {
                Some(actor) => task::stop(actor, kind, shutdown, || overdue.note(path)).await,
                None => false,
            };
            if let Some(below) = below {
                below.gone().await;
            }
            task::report(&reporter, &myself, child, Outcome::Stopped { killed });
        });
    }

    /// Makes a started actor the incarnation of a child.
    pub(super) fn adopt(&mut self, child: ChildId, actor: ActorCell) {
        let me = self.myself.get_id();
        if actor.try_get_supervisor().is_none_or(|supervisor| supervisor.get_id() != me) {
            // A closure that forgot to spawn linked; no effect on an actor that has ended.
            actor.link(self.myself.get_cell());
        }
        self.incarnations.insert(actor.get_id(), child);
        if let Some(brood) = &self.lineage.brood {
            brood.joined(actor.clone());
        }
        let member = self.members.get_mut(&child).expect("an adopting child is a known child");
        member.actor = Some(actor);
        member.unresponsive = None;
        member.starts += 1;
        let (restarts, probed) = (member.starts - 1, member.spec.probe.is_some());
        self.tell(Some(child), || match restarts {
            0 => Happening::Started,
            restarts => Happening::Restarted { restarts },
        });
        if probed {
            self.begin_probing(child);
        }
    }

    pub(super) fn note_failed_start(&mut self, child: ChildId, error: SpawnErr) {
        let member = self.members.get_mut(&child).expect("a starting child is a known child");
        // ractor calls each failed start a panic.
        let reason = match &error {
            SpawnErr::StartupFailed(why) => chain(&**why),
            other => chain(other),
        };
        member.last_failure = Some(format!("did not start: {reason}"));
        let name = member.spec.name.clone();
        tracing::warn!(supervisor = %self.lineage.path, child = %name, "no start: {reason}");
        self.tell(Some(child), || Happening::StartFailed { reason });
        self.failure = Some((name, error));
    }

    fn give_up(&mut self, child: ChildId) {
        let member = &self.members[&child];
        let gave_up = GaveUp {
            supervisor: self.name.clone(),
            child: member.spec.name.clone(),
            last_failure: member.last_failure.clone().unwrap_or_else(|| "stopped".to_owned()),
            restarts: self.config.intensity.restarts,
            period: self.config.intensity.period,
        };
        tracing::error!(supervisor = %self.lineage.path, "{gave_up}");
        self.tell(None, || Happening::Escalated { reason: gave_up.to_string() });
        self.gave_up = Some(gave_up);
    }
}
