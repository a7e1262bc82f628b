//! The rules, as a state machine: no runtime, no clock, no actors.
//!
//! [`Engine::step`] takes the time and one [`Input`] (a child has started, has ended, a request,
//! time has passed) and returns the [`Command`]s that follow from it, in order. Whoever drives it
//! carries them out and reports back: each `Start` is answered by one `Started` or `StartFailed`,
//! each `Stop` by one `Stopped`, and a `Stop` of a child that is still starting takes the place
//! of its start's answer. The supervisor actor of this crate is such a driver; tests are others.
//!
//! Time is a `Duration` since an origin of the driver's choice and never runs backwards.
//! Randomness (the jitter of back-offs) comes from a generator seeded by [`Config::seed`]. Equal
//! inputs give equal commands.
//!
//! Inputs may come at any moment, but requests only after [`Command::Booted`]: nothing here waits. Where OTP's supervisor is busy (it stops or
//! starts a group of children) and lets messages pile up, the engine takes them in and arrives
//! where OTP would have arrived; `engine/wave.rs` says how.

mod child;
mod command;
mod ending;
mod request;
mod wave;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use self::{child::Then, wave::Wave, window::Window};
pub use self::{
    child::{Child, ChildRules, State},
    command::{ChildId, Command, Ending, Input, Refusal, Ticket},
};
use crate::{AutoShutdown, Exit, Intensity, Restart, Strategy};

/// What a supervisor is told once, at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Config {
    /// Who is restarted when one child has to be.
    pub strategy: Strategy,
    /// How many restarts are borne.
    pub intensity: Intensity,
    /// Whether the end of significant children ends the supervisor.
    pub auto_shutdown: AutoShutdown,
    /// Whether children are forgotten as soon as they have ended for good, and stopped all at
    /// once, as OTP's `simple_one_for_one` does. The strategy is one-for-one then.
    pub dynamic: bool,
    /// How many children there may be; one more is refused.
    pub children_max: usize,
    /// The seed of the jitter.
    pub seed: u64,
}

/// The state of one supervisor, and its rules. See the [module](self).
#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
    /// In start order, for ids are handed out in start order and never again.
    children: BTreeMap<ChildId, Child>,
    /// Only looked up, never iterated.
    names: HashMap<Arc<str>, ChildId>,
    /// One-for-one children that wait out a back-off. (A group's wait is its wave's.)
    timers: BTreeSet<(Duration, ChildId)>,
    window: Window,
    mode: Mode,
    wave: Option<Wave>,
    chance: StdRng,
    next_id: u64,
    /// Ends seen during the first start; OTP too looks at them only when it is through.
    early: VecDeque<(ChildId, Exit)>,
    out: Vec<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    New,
    Booting,
    Running,
    Ending(Ending),
    Ended,
}

impl Engine {
    /// A supervisor without children, to be filled by [`Input::Add`] and started by
    /// [`Input::Boot`].
    pub fn new(config: Config) -> Self {
        Self {
            config,
            children: BTreeMap::new(),
            names: HashMap::new(),
            timers: BTreeSet::new(),
            window: Window::new(config.intensity),
            mode: Mode::New,
            wave: None,
            chance: StdRng::seed_from_u64(config.seed),
            next_id: 0,
            early: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Makes room for so many more children, so that adding them moves nothing.
    pub fn reserve(&mut self, children: usize) {
        self.names.reserve(children);
    }

    /// An id for the next [`Input::Add`]. Ids grow, and order children by their first start.
    pub fn fresh_id(&mut self) -> ChildId {
        self.next_id += 1;
        ChildId(self.next_id)
    }

    /// Takes one input in and returns what is to be done, in order.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Command> {
        match input {
            Input::Add { child, name, rules, ticket } => self.add(child, name, rules, ticket, now),
            Input::Boot => self.boot(now),
            Input::Started(id) => self.started(id, now),
            Input::StartFailed(id) => self.start_failed(id, now),
            Input::Exited(id, exit) => self.exited(id, exit, now),
            Input::Stopped(id) => self.stopped(id, now),
            Input::Terminate { name, ticket } => self.terminate(&name, ticket, now),
            Input::Restart { name, ticket } => self.restart_by_hand(&name, ticket, now),
            Input::Delete { name, ticket } => self.delete(&name, ticket),
            Input::Tick => self.tick(now),
            Input::End => self.begin_ending(Ending::Asked, now),
        }
        self.advance_wave(now);
        // The wave may have been the first, and an end seen meanwhile one too many.
        if let Mode::Ending(ending) = self.mode {
            self.advance_ending(ending, now);
        }
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Tick`] is due, if it is.
    pub fn next_wake(&self) -> Option<Duration> {
        let alone = self.timers.first().map(|(at, _)| *at);
        let wave = self.wave.as_ref().and_then(Wave::wake);
        alone.into_iter().chain(wave).min()
    }

    /// The children in start order.
    pub fn children(&self) -> impl Iterator<Item = (ChildId, &Child)> {
        self.children.iter().map(|(id, child)| (*id, child))
    }

    /// The child of this name.
    pub fn find(&self, name: &str) -> Option<(ChildId, &Child)> {
        let id = *self.names.get(name)?;
        Some((id, &self.children[&id]))
    }

    /// One child, if it is still known.
    pub fn child(&self, id: ChildId) -> Option<&Child> {
        self.children.get(&id)
    }

    /// Why the supervisor is stopping or has stopped its children for good, if it is or has.
    pub fn ending(&self) -> Option<Ending> {
        match self.mode {
            Mode::Ending(ending) => Some(ending),
            _ => None,
        }
    }

    fn boot(&mut self, now: Duration) {
        if self.mode != Mode::New {
            return;
        }
        self.mode = Mode::Booting;
        self.wave = Some(Wave::starting_all(now));
    }

    fn booted(&mut self, now: Duration) {
        self.mode = Mode::Running;
        self.out.push(Command::Booted);
        while let Some((id, exit)) = self.early.pop_front() {
            self.exited(id, exit, now);
        }
    }

    fn start(&mut self, id: ChildId, now: Duration) {
        self.set(id, State::Starting, now);
        self.out.push(Command::Start(id));
    }

    fn started(&mut self, id: ChildId, now: Duration) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if child.state != State::Starting {
            return;
        }
        child.state = State::Up;
        child.since = now;
        child.starts += 1;
        for ticket in child.take_start_tickets() {
            self.out.push(Command::Answer(ticket, Ok(id)));
        }
    }

    fn start_failed(&mut self, id: ChildId, now: Duration) {
        if !self.is(id, |state| state == State::Starting) {
            return;
        }
        let child = self.children.get_mut(&id).expect("a child in a state is a known child");
        let by_request = child.take_start_tickets();
        let never_up = child.starts == 0;
        self.set(id, State::Down, now);
        if self.mode == Mode::Booting {
            self.begin_ending(Ending::StartFailed(id), now);
        } else if self.ending().is_some() {
            self.forget(id);
        } else if by_request.is_empty() {
            self.restart(id, now);
        } else {
            if never_up || self.config.dynamic {
                self.forget(id);
            }
            for ticket in by_request {
                self.out.push(Command::Answer(ticket, Err(Refusal::StartFailed)));
            }
        }
    }

    fn exited(&mut self, id: ChildId, exit: Exit, now: Duration) {
        // A child that is being stopped reports by `Stopped`; of any other state there is no
        // incarnation that could end.
        if !self.is(id, |state| state == State::Up) {
            return;
        }
        match self.mode {
            Mode::New | Mode::Ended => {}
            Mode::Booting => self.early.push_back((id, exit)),
            Mode::Ending(_) => self.forget(id),
            Mode::Running => self.decide(id, &exit, now),
        }
    }

    /// The heart of it: what a child's end leads to.
    fn decide(&mut self, id: ChildId, exit: &Exit, now: Duration) {
        let child = self.children.get_mut(&id).expect("a child that ends is a known child");
        let rules = child.rules;
        if now.saturating_sub(child.since) >= rules.backoff.stable_after() {
            child.failures = 0;
        }
        self.set(id, State::Down, now);
        if let Some(until) = self.wave_awaits(id) {
            // It was about to be stopped with its group anyway, so its end is part of that.
            match rules.restart {
                Restart::Temporary => self.forget(id),
                _ => self.set(id, State::Waiting { until }, now),
            }
            return;
        }
        match rules.restart {
            Restart::Temporary => {
                self.forget(id);
                self.significant_end(id, rules, now);
            }
            Restart::Transient if !exit.is_abnormal() => {
                if self.config.dynamic {
                    self.forget(id);
                }
                self.significant_end(id, rules, now);
            }
            Restart::Permanent | Restart::Transient => self.restart(id, now),
        }
    }

    /// A child is down and has to come back, unless that is one restart too many.
    fn restart(&mut self, id: ChildId, now: Duration) {
        if !self.window.admits(now) {
            self.out.push(Command::GiveUp(id));
            self.begin_ending(Ending::GaveUp(id), now);
            return;
        }
        let child = self.children.get_mut(&id).expect("a child to restart is a known child");
        child.failures = child.failures.saturating_add(1);
        let wait = child.rules.backoff.wait(child.failures, &mut self.chance);
        let until = now + wait;
        if !wait.is_zero() {
            self.out.push(Command::Wait(id, wait));
        }
        match self.config.strategy {
            Strategy::OneForOne if wait.is_zero() => self.start(id, now),
            Strategy::OneForOne => {
                self.set(id, State::Waiting { until }, now);
                self.timers.insert((until, id));
            }
            Strategy::OneForAll => {
                let first = self.children.keys().next().copied().unwrap_or(id);
                self.raise_wave(first, until, now);
            }
            Strategy::RestForOne => self.raise_wave(id, until, now),
        }
    }

    fn stopped(&mut self, id: ChildId, now: Duration) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let State::Stopping { then } = child.state else { return };
        let done = child.take_stop_tickets();
        match then {
            Then::Leave => self.forget(id),
            Then::Stay => self.set(id, State::Down, now),
            Then::Return => {
                let until = self.wave.as_ref().map_or(now, |wave| wave.not_before);
                self.set(id, State::Waiting { until }, now);
            }
        }
        for ticket in done {
            self.out.push(Command::Answer(ticket, Ok(id)));
        }
    }

    fn tick(&mut self, now: Duration) {
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.start(id, now);
        }
    }

    fn stop(&mut self, id: ChildId, then: Then, now: Duration) {
        self.set(id, State::Stopping { then }, now);
        self.out.push(Command::Stop(id));
    }

    /// Forgets a child: it can never be started again.
    fn forget(&mut self, id: ChildId) {
        let Some(mut child) = self.children.remove(&id) else { return };
        self.names.remove(&child.name);
        for ticket in child.take_start_tickets() {
            self.out.push(Command::Answer(ticket, Err(Refusal::Cancelled)));
        }
        if let State::Waiting { until } = child.state {
            self.timers.remove(&(until, id));
        }
        self.out.push(Command::Forget(id));
    }

    fn set(&mut self, id: ChildId, state: State, now: Duration) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if let State::Waiting { until } = child.state {
            self.timers.remove(&(until, id));
        }
        child.state = state;
        child.since = now;
    }

    fn is(&self, id: ChildId, what: impl Fn(State) -> bool) -> bool {
        self.children.get(&id).is_some_and(|child| what(child.state))
    }
}
