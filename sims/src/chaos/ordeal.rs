//! A run with real processes, while it lasts.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use umbel_protocol::Load;

use super::bounds::{DROWSY_AFTER, LEAVES_WITHIN, SLACK, TICK, TROUBLE_TOLD_EVERY};
use super::crew::{Crew, CrewError, Heard, What};
use super::faults::{Faults, kind};
use super::machine::{End, Machine};
use super::node::name;
use super::peace::{Peace, Step};
use super::proxies::Proxies;
use super::screen::Screen;
use super::tally::Tally;
use super::told::{Order, Told};
use crate::cast::{self, PLAYERS};
use crate::chance::Chance;
use crate::fault::Fault;
use crate::invariants::disagreement;
use crate::judge::Judge;
use crate::record::{Record, Recorded};
use crate::standing::Standing;

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) seed: u64,
    /// For how long things go wrong, the times of peace included.
    pub(super) lasts: Duration,
    /// Within which time after the faults all must be well.
    pub(super) settles_within: Duration,
}

/// A run with real processes, while it lasts.
pub(super) struct Ordeal {
    plan: Plan,
    began: Instant,
    now: Duration,
    crew: Crew,
    heard: mpsc::Receiver<Heard>,
    proxies: Proxies,
    machines: Vec<Machine>,
    faults: Faults,
    phase: Phase,
    /// The number of the last order to ask.
    orders: u64,
    trouble_told_at: Duration,
    judge: Judge,
    tally: Tally,
    screen: Screen,
}

/// What goes on.
enum Phase {
    /// Things go wrong until then, the next at its time.
    Trouble {
        until: Duration,
        next: Duration,
    },
    Peace(Peace),
    /// All leave, since then.
    Farewell {
        since: Duration,
    },
}

impl Ordeal {
    /// # Errors
    /// Where the system does not give what it takes.
    pub(super) async fn new(plan: Plan, screen: Screen) -> Result<Self, CrewError> {
        let mut chance = Chance::new(plan.seed);
        let faults = Faults::new(Chance::new(chance.next()), plan.nodes);
        let (crew, heard) = Crew::new(chance)?;
        let proxies = Proxies::open(plan.nodes).await?;
        let (seed, nodes) = (plan.seed, plan.nodes);
        Ok(Self {
            plan,
            began: Instant::now(),
            now: Duration::ZERO,
            crew,
            heard,
            proxies,
            machines: (0..plan.nodes).map(|_| Machine::new()).collect(),
            faults,
            // In the beginning all find one another.
            phase: Phase::Peace(Peace::new(plan.nodes, Duration::ZERO, plan.settles_within, 0)),
            orders: 0,
            trouble_told_at: Duration::ZERO,
            judge: Judge::new(&[], cast::LIMITS).slack(SLACK),
            tally: Tally { scenario: super::NAME, seed, nodes, ..Tally::default() },
            screen,
        })
    }

    /// Has things go wrong, and sees that they are well in between, until the time is over or something
    /// does not hold. Then all have left or were told to.
    ///
    /// # Errors
    /// Where the system does not give what it takes.
    pub(super) async fn run(&mut self) -> Result<(), CrewError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.judge.violations().is_empty() {
            let heard = tokio::select! {
                biased;
                _ = tick.tick() => None,
                heard = self.heard.recv() => heard,
            };
            let now = self.began.elapsed();
            if now.saturating_sub(self.now) > DROWSY_AFTER {
                self.machines.iter_mut().for_each(|machine| machine.overslept(now));
            }
            self.now = now;
            match heard {
                Some(heard) => self.hear(heard).await?,
                None if self.tick().await? => break,
                None => {}
            }
        }
        Ok(())
    }

    /// Kills who is left, and returns when nobody is.
    pub(super) async fn dismiss(&mut self) {
        for machine in &mut self.machines {
            machine.dismiss().await;
        }
    }

    /// What was counted, when all is over.
    pub(super) fn finish(mut self) -> Tally {
        self.tally.seconds = self.began.elapsed().as_secs_f64();
        self.tally.connections = self.proxies.connections();
        self.tally.violations = self.judge.into_violations();
        self.tally.ok = self.tally.violations.is_empty();
        self.tally
    }

    /// The last that each machine has told.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let lines = self.machines.iter().enumerate().flat_map(|(number, machine)| {
            let me = name(number);
            machine.last_lines().map(move |line| format!("{me} {line}"))
        });
        lines.collect()
    }

    fn report(&mut self, invariant: &str, what: String) {
        self.judge.report(self.now, invariant, what);
    }

    fn standings(&self) -> Vec<Standing> {
        self.machines.iter().filter_map(Machine::standing).collect()
    }

    // --- What is heard ----------------------------------------------------------------------------

    async fn hear(&mut self, heard: Heard) -> Result<(), CrewError> {
        let Heard { machine: number, process, what } = heard;
        let now = self.now;
        let machine = &mut self.machines[number];
        if !machine.runs(process) {
            return Ok(());
        }
        match what {
            What::Told(Told::Listens(address)) => {
                self.proxies.listens(number, address.parse().ok());
            }
            What::Told(Told::Record(record)) => {
                if let Record::Started { node } | Record::Renewed { node } = &record {
                    machine.is_node(node.clone());
                }
                machine.note(format!("{:>9.3}s {record:?}", now.as_secs_f64()));
                self.tally.count(&record);
                self.judge.hear(now, &[Recorded { at: now, machine: number, process, record }]);
            }
            What::Told(Told::Standing(standing)) => {
                machine.stands(*standing, now);
                // One by one, in the order in which it has told: what it has recorded before, it knew.
                if let Some(standing) = machine.standing() {
                    self.judge.look(now, &[standing], None);
                }
            }
            What::Told(Told::Asked { number: order, trouble }) => {
                if let Phase::Peace(peace) = &mut self.phase {
                    peace.hear(number, order, trouble);
                }
            }
            What::Nonsense(why) => {
                self.report("tells-sense", format!("{} tells nonsense: {why}", name(number)));
            }
            What::Complained(line) => {
                let panicked = line.contains("panicked at");
                machine.note(format!("{:>9.3}s {line}", now.as_secs_f64()));
                if panicked {
                    self.report("nobody-panics", format!("{}: {line}", name(number)));
                }
            }
            What::Ended => self.ended(number).await?,
        }
        Ok(())
    }

    async fn ended(&mut self, number: usize) -> Result<(), CrewError> {
        let me = name(number);
        let (node, end, status) = self.machines[number].ended(self.now).await?;
        self.proxies.listens(number, None);
        if let Some(node) = node {
            self.judge.died(node, self.now);
        }
        let how = status.map_or_else(String::new, |status| status.to_string());
        match end {
            End::Killed => {}
            End::Leaves if status.is_some_and(|status| status.success()) => {
                self.screen.say(self.now, &format!("{me} has left"))?;
            }
            End::Leaves => self.report("leaves", format!("{me} was to leave, and ended: {how}")),
            End::NotAsked => {
                self.report("lives-on", format!("{me} has ended, which nobody asked for: {how}"));
            }
        }
        Ok(())
    }

    // --- What is due ------------------------------------------------------------------------------

    /// Does what is due; true when all is over.
    async fn tick(&mut self) -> Result<bool, CrewError> {
        self.proxies.check();
        let is_farewell = matches!(self.phase, Phase::Farewell { .. });
        for number in 0..self.machines.len() {
            self.machines[number].tick(self.now);
            if !is_farewell && self.machines[number].is_due(self.now) {
                self.start(number)?;
            }
        }
        match &self.phase {
            Phase::Trouble { until, .. } if *until <= self.now => self.make_peace().await?,
            Phase::Trouble { until, next } if *next <= self.now => {
                let until = *until;
                let fault = self.faults.draw();
                self.phase = Phase::Trouble { until, next: self.now + self.faults.pause() };
                self.befall(&fault).await?;
            }
            Phase::Trouble { .. } => {}
            Phase::Peace(_) => self.keep_peace().await?,
            Phase::Farewell { since } => {
                let since = *since;
                if !self.machines.iter().any(Machine::is_up) {
                    return Ok(true);
                }
                if self.now >= since + LEAVES_WITHIN {
                    self.report("leaves", format!("not all have left after {LEAVES_WITHIN:?}"));
                }
            }
        }
        Ok(false)
    }

    fn start(&mut self, number: usize) -> Result<(), CrewError> {
        let calm = matches!(self.phase, Phase::Peace(_));
        let process = self.crew.start(number, &self.proxies, calm)?;
        self.machines[number].start(process, self.now);
        self.tally.processes += 1;
        let (me, id) = (name(number), self.machines[number].process_id().unwrap_or_default());
        Ok(self.screen.say(self.now, &format!("{me} is started as process {id}"))?)
    }

    async fn make_peace(&mut self) -> Result<(), CrewError> {
        self.screen.say(self.now, "the faults are over, and all must be well")?;
        self.proxies.mend();
        for machine in &mut self.machines {
            machine.heal(self.now);
            machine.order(&Order::Calm(true)).await;
        }
        self.trouble_told_at = self.now;
        self.phase = Phase::Peace(Peace::new(
            self.plan.nodes,
            self.now,
            self.plan.settles_within,
            self.orders,
        ));
        Ok(())
    }

    async fn keep_peace(&mut self) -> Result<(), CrewError> {
        let trouble = self.trouble();
        let Phase::Peace(peace) = &mut self.phase else { return Ok(()) };
        match peace.step(self.now, trouble) {
            Step::Wait => {}
            Step::NotYet(trouble) => {
                if self.now >= self.trouble_told_at + TROUBLE_TOLD_EVERY {
                    self.trouble_told_at = self.now;
                    self.screen.say(self.now, &format!("not yet: {trouble}"))?;
                }
            }
            Step::Ask(number) => {
                let players = self.plan.nodes * PLAYERS;
                for machine in &mut self.machines {
                    machine.order(&Order::Ask { number, players }).await;
                }
            }
            Step::Well(took) => {
                self.orders = peace.orders();
                self.end_peace(took).await?;
            }
            Step::TooLong(trouble) => self.report("settles", trouble),
        }
        Ok(())
    }

    /// What is not as it has to be in peace, as far as it can be seen from outside.
    fn trouble(&self) -> Option<String> {
        let Phase::Peace(peace) = &self.phase else { return None };
        let machines = || self.machines.iter().enumerate();
        let missing = machines().find_map(|(number, machine)| {
            let me = name(number);
            match () {
                () if machine.is_leaving() => Some(format!("{me} has not left yet")),
                () if machine.standing().is_none() => Some(format!("{me} is not up")),
                () if machine.heard_at() <= peace.since => Some(format!("{me} says nothing")),
                () => None,
            }
        });
        let at_rest = || self.standings().into_iter().map(at_rest).collect::<Vec<_>>();
        missing.or_else(|| disagreement(&at_rest()))
    }

    async fn end_peace(&mut self, took: Duration) -> Result<(), CrewError> {
        self.judge.settle(self.now, &self.standings(), None);
        let seconds = took.as_secs_f64();
        self.screen.say(self.now, &format!("all was well after {seconds:.1} s"))?;
        // In the beginning there is nothing to recover from.
        if !self.tally.faults.is_empty() {
            self.tally.recoveries_seconds.push(seconds);
        }
        if self.now < self.plan.lasts {
            let until = (self.now + self.faults.time()).min(self.plan.lasts);
            self.phase = Phase::Trouble { until, next: self.now + self.faults.pause() };
            for machine in &mut self.machines {
                machine.order(&Order::Calm(false)).await;
            }
            return Ok(());
        }
        self.screen.say(self.now, "all are told to leave")?;
        for machine in &mut self.machines {
            machine.leave(Duration::ZERO).await;
        }
        self.phase = Phase::Farewell { since: self.now };
        Ok(())
    }

    // --- Faults -----------------------------------------------------------------------------------

    async fn befall(&mut self, fault: &Fault) -> Result<(), CrewError> {
        let millis = Duration::from_millis;
        let (now, proxies, machines) = (self.now, &self.proxies, &mut self.machines);
        let befell = match fault {
            Fault::Kill { node, down_ms } => machines[*node].kill(millis(*down_ms)),
            Fault::PowerLoss { node, down_ms } => {
                if machines[*node].is_up() {
                    proxies.lose_power(*node, millis(*down_ms));
                }
                machines[*node].kill(millis(*down_ms))
            }
            Fault::Leave { node, down_ms } => machines[*node].leave(millis(*down_ms)).await,
            Fault::Pause { node, ms } => machines[*node].pause(now + millis(*ms)),
            Fault::Slow { node, turn_ms, ms } => {
                machines[*node].slow_down(millis(*turn_ms), now, now + millis(*ms))
            }
            _ => proxies.spoil(fault),
        };
        if befell {
            *self.tally.faults.entry(kind(fault)).or_default() += 1;
            self.screen.say(now, &format!("{fault:?}"))?;
        }
        Ok(())
    }
}

/// Without what changes with each message, and is never the same at several looks: the load of actors.
fn at_rest(mut standing: Standing) -> Standing {
    for registered in &mut standing.registry.entries {
        registered.entry = registered.entry.clone().under_load(Load::default());
    }
    standing
}
