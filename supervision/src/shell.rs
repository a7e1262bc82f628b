//! The supervisor as an actor: it feeds the [`Engine`] and carries out what it commands.
//!
//! The hooks never wait for a child. Whatever takes time (a start that is not through at once, a
//! stop, a back-off) runs in a task of the shell's and reports back. The tasks are aborted with
//! the shell, so a supervisor that is killed leaves none behind.

mod alarm;
mod brood;
mod command;
mod hooks;
mod lineage;
mod look;
mod member;
mod overdue;
mod probing;
mod task;
mod waiter;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ractor::{ActorId, ActorRef, SpawnErr};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::{
    alarm::Alarm,
    member::Member,
    task::{Outcome, Report},
    waiter::Waiter,
};
pub(crate) use self::{
    brood::Brood,
    hooks::{Request, launch},
    lineage::Lineage,
    overdue::Overdue,
};
use crate::{
    Exit, GaveUp, Happening, StartError, Supervisor,
    engine::{ChildId, Command, Config, Ending, Engine, Input, Ticket},
    spec::Spec,
    supervisor::seed_of,
};

pub(crate) struct Shell {
    name: Arc<str>,
    config: Config,
    myself: ActorRef<Request>,
    lineage: Lineage,
    engine: Engine,
    /// The origin of the engine's time.
    born: Instant,
    members: BTreeMap<ChildId, Member>,
    /// Which child an actor is an incarnation of. Only looked up, never iterated.
    incarnations: HashMap<ActorId, ChildId>,
    /// Ends of actors that are nobody's incarnation (yet): a start's report may come after the
    /// end of what it started. Kept only while starts are under way.
    unclaimed: HashMap<ActorId, Exit>,
    starts_under_way: usize,
    waiters: BTreeMap<Ticket, Waiter>,
    next_ticket: u64,
    tasks: JoinSet<()>,
    /// Bounded by the number of children: each has at most one operation under way.
    reports: mpsc::UnboundedReceiver<Report>,
    reporter: mpsc::UnboundedSender<Report>,
    alarm: Alarm,
    /// The error of the start that has failed last, until somebody is told.
    failure: Option<(Arc<str>, SpawnErr)>,
    gave_up: Option<GaveUp>,
    booted: bool,
    ended: Option<Ending>,
}

impl Shell {
    fn new(
        declaration: Supervisor,
        lineage: Lineage,
        myself: ActorRef<Request>,
    ) -> Result<Self, StartError> {
        let config = Config {
            strategy: declaration.strategy,
            intensity: declaration.intensity,
            auto_shutdown: declaration.auto_shutdown,
            dynamic: declaration.dynamic,
            children_max: declaration.children_max,
            seed: declaration.seed.unwrap_or_else(|| seed_of(&declaration.name)),
        };
        let (reporter, reports) = mpsc::unbounded_channel();
        let mut shell = Self {
            name: declaration.name,
            config,
            myself,
            lineage,
            engine: Engine::new(config),
            born: Instant::now(),
            members: BTreeMap::new(),
            incarnations: HashMap::new(),
            unclaimed: HashMap::new(),
            starts_under_way: 0,
            waiters: BTreeMap::new(),
            next_ticket: 0,
            tasks: JoinSet::new(),
            reports,
            reporter,
            alarm: Alarm::default(),
            failure: None,
            gave_up: None,
            booted: false,
            ended: None,
        };
        shell.engine.reserve(declaration.children.len());
        shell.incarnations.reserve(declaration.children.len());
        for spec in declaration.children {
            let name = spec.name.clone();
            if let Some(why) = spec.senseless() {
                let (supervisor, child) = (shell.name.clone(), name);
                return Err(StartError::Declaration { supervisor, child, why });
            }
            for command in shell.add(spec, Ticket(0)) {
                if let Command::Answer(_, Err(refusal)) = command {
                    return Err(StartError::refused(shell.name.clone(), name, refusal));
                }
            }
        }
        Ok(shell)
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn add(&mut self, spec: Arc<Spec>, ticket: Ticket) -> Vec<Command> {
        let child = self.engine.fresh_id();
        let (name, rules) = (spec.name.clone(), spec.rules);
        let member = Member::new(spec);
        if let (Some(brood), Some(below)) = (&self.lineage.brood, &member.below) {
            brood.add_below(child, below.clone());
        }
        self.members.insert(child, member);
        self.engine.step(self.now(), Input::Add { child, name, rules, ticket })
    }

    /// Starts all children, or stops again those that were started.
    async fn boot(&mut self) -> Result<(), StartError> {
        self.run(Input::Boot).await;
        let mut called_back = false;
        while !self.booted && self.ended.is_none() {
            tokio::select! {
                biased;
                report = self.reports.recv() => {
                    self.take_report(report.expect("the shell itself holds a sender")).await;
                }
                () = self.lineage.called_back(), if !called_back => {
                    called_back = true;
                    self.run(Input::End).await;
                }
            }
        }
        if self.ended.is_none() {
            self.tell(None, || Happening::Started);
            return Ok(());
        }
        let supervisor = self.name.clone();
        Err(match self.failure.take() {
            Some((child, source)) => StartError::Child { supervisor, child, source },
            None => StartError::Cancelled { supervisor },
        })
    }

    /// Stops all children, in reverse order, and returns when they are gone.
    async fn end(&mut self) {
        self.run(Input::End).await;
        while self.ended.is_none() {
            let report = self.reports.recv().await.expect("the shell itself holds a sender");
            self.take_report(report).await;
        }
    }

    /// Takes in what one task has reported. One for each message that says so, and no more: what
    /// follows from a report may be the next one, and other messages want their turn, too.
    async fn take_next_report(&mut self) {
        if let Ok(report) = self.reports.try_recv() {
            self.take_report(report).await;
        }
    }

    async fn take_report(&mut self, Report { child, outcome }: Report) {
        let called_back = match self.members.get_mut(&child) {
            Some(member) => member.finish_operation(),
            None => panic!("a child with an operation under way is not forgotten"),
        };
        if matches!(outcome, Outcome::Started(_) | Outcome::CalledBack) {
            self.starts_under_way -= 1;
        }
        match outcome {
            Outcome::Started(Ok(actor)) if called_back => {
                self.adopt(child, actor);
                self.stop(child);
            }
            Outcome::Started(Err(_)) if called_back => self.run(Input::Stopped(child)).await,
            Outcome::CalledBack => self.run(Input::Stopped(child)).await,
            Outcome::Started(Ok(actor)) => {
                let id = actor.get_id();
                self.adopt(child, actor);
                self.run(Input::Started(child)).await;
                if let Some(exit) = self.unclaimed.remove(&id) {
                    self.child_ended(child, id, exit).await;
                }
            }
            Outcome::Started(Err(error)) => {
                self.note_failed_start(child, error);
                self.run(Input::StartFailed(child)).await;
            }
            Outcome::Stopped { killed } => {
                let member = self.members.get_mut(&child).expect("it was found above");
                let killed = killed || member.unresponsive.is_some();
                if let Some(actor) = member.actor.take() {
                    self.has_left(actor.get_id());
                }
                self.tell(Some(child), || Happening::Stopped { killed });
                self.run(Input::Stopped(child)).await;
            }
        }
        if self.starts_under_way == 0 {
            self.unclaimed.clear();
        }
    }

    /// An actor that is linked to this one has ended.
    async fn actor_ended(&mut self, actor: ActorId, exit: Exit) {
        match self.incarnations.get(&actor).copied() {
            Some(child) => self.child_ended(child, actor, exit).await,
            None if self.starts_under_way > 0 => {
                self.unclaimed.insert(actor, exit);
            }
            None => {}
        }
    }

    async fn child_ended(&mut self, child: ChildId, actor: ActorId, mut exit: Exit) {
        self.has_left(actor);
        let Some(member) = self.members.get_mut(&child) else { return };
        member.actor = None;
        member.probing = None;
        // What ends while it is being stopped has been stopped, unless it failed at it.
        let by_itself = member.operation.is_none() || matches!(exit, Exit::Failed(_));
        if let (Some(found), false) = (member.unresponsive, matches!(exit, Exit::Failed(_))) {
            exit = Exit::Unresponsive(found.within);
        }
        if by_itself && exit.is_abnormal() {
            member.last_failure = Some(exit.to_string());
            let name = &member.spec.name;
            tracing::warn!(supervisor = %self.lineage.path, child = %name, "child {exit}");
        }
        if by_itself {
            self.tell(Some(child), || Happening::Ended { exit: exit.clone() });
        }
        self.run(Input::Exited(child, exit)).await;
    }

    fn has_left(&mut self, actor: ActorId) {
        self.incarnations.remove(&actor);
        if let Some(brood) = &self.lineage.brood {
            brood.left(actor);
        }
    }

    /// Takes one input in, and whatever follows from it at once.
    async fn run(&mut self, input: Input) {
        let commands = self.engine.step(self.now(), input);
        self.execute_all(commands).await;
    }

    fn tell(&self, child: Option<ChildId>, what: impl FnOnce() -> Happening) {
        self.lineage
            .tell(|| child.and_then(|id| self.members.get(&id)).map(|m| &m.spec.name), what);
    }
}

impl Drop for Shell {
    /// Leaves nobody behind, however the supervisor ends. ractor kills the children of an actor that
    /// has ended, but passes over those that are in their `post_stop`.
    fn drop(&mut self) {
        for member in self.members.values() {
            if let Some(actor) = &member.actor {
                actor.kill();
            }
        }
    }
}
