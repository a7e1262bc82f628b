//! A world while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::ambient::{Breach, Runtimes, take_breaches};
use crate::chance::Chance;
use crate::fault::{Fault, Planned};
use crate::host::Host;
use crate::judge::Judge;
use crate::machine::{Machine, Program, panicked};
use crate::mutant::Mutant;
use crate::network::{Condition, Network};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::shared::Shared;
use crate::standing::Standing;
use crate::world::{Workload, World};

/// The world's clock goes in steps of a millisecond, which is what tokio's timers do. No packet is
/// faster, so within a step no machine depends on another.
const STEP: Duration = Duration::from_millis(1);

/// How often the invariants look.
const LOOK: Duration = Duration::from_millis(100);

/// A program that did not start is started again, as whatever looks after processes does.
const STARTS_AGAIN: Duration = Duration::from_secs(1);

/// For how long all must stay well.
const STAYS: Duration = Duration::from_secs(1);

/// A world while it runs.
pub(crate) struct Run<'a> {
    world: &'a World,
    runtimes: &'a mut Runtimes,
    progress: Progress,
    shared: Arc<Shared>,
    now: Duration,
    /// Those that meet faults, then the clients'.
    machines: Vec<Machine>,
    plan: Vec<Planned>,
    /// Machines that are to be started again.
    restarts: BTreeSet<(Duration, usize)>,
    /// For how long machines are to be down whose nodes leave.
    leaving: BTreeMap<usize, Duration>,
    /// Why the last program that did not start did not.
    failure: Option<(usize, String)>,
    done: Arc<parking_lot::Mutex<Vec<Result<(), String>>>>,
    judge: Judge,
}

impl<'a> Run<'a> {
    pub(crate) fn new(world: &'a World, runtimes: &'a mut Runtimes, progress: Progress) -> Self {
        let plan = world.planned();
        let machines = world.programs.len() + world.clients.len();
        let network = Network::new(machines, world.seed, world.keep_lines).mutant(world.mutant);
        let shared = Shared::new(network, world.mutant);
        let seed = |machine: usize| Chance::of(world.seed, &[machine as u64]).next();
        let done = Arc::default();
        let clients = world.clients.iter().map(|work| client(work.clone(), &done));
        let programs: Vec<_> = world.programs.iter().cloned().chain(clients).collect();
        let machine = |(number, program): (usize, Program)| {
            Machine::new(number, seed(number), shared.clone(), program)
        };
        let machines: Vec<_> = programs.into_iter().enumerate().map(machine).collect();
        Self {
            world,
            runtimes,
            progress,
            shared: shared.clone(),
            now: Duration::ZERO,
            machines,
            plan,
            restarts: BTreeSet::new(),
            leaving: BTreeMap::new(),
            failure: None,
            done,
            judge: Judge::new(&world.checks, world.limits),
        }
    }

    /// Runs it: faults, then peace, in which all must be well within a time.
    pub(crate) fn finish(mut self) -> Outcome {
        for machine in &mut self.machines {
            machine.start(self.runtimes);
        }
        let plan = self.plan.clone();
        let mut plan = plan.iter().peekable();
        while self.now < self.world.lasts && self.judge.violations().is_empty() {
            self.shared.network().set_now(self.now);
            while let Some(planned) = plan.next_if(|planned| planned.at() <= self.now) {
                self.befall(&planned.fault);
            }
            self.step();
        }
        self.heal();
        let deadline = self.world.lasts + self.world.settles_within;
        let mut well_since = None;
        while self.judge.violations().is_empty() {
            self.step();
            if !self.now.as_millis().is_multiple_of(LOOK.as_millis()) {
                continue;
            }
            match self.unsettled() {
                None => well_since = well_since.or(Some(self.now)),
                Some(why) if self.now >= deadline => self.report("settles", why),
                Some(_) => well_since = None,
            }
            if well_since.is_some_and(|since| self.now >= since + STAYS) {
                self.judge.settle(self.now, &self.standings(), Some(&self.shared));
                break;
            }
        }
        self.end(well_since)
    }

    fn end(mut self, well_since: Option<Duration>) -> Outcome {
        // A process whose machine goes has nothing to tell any more.
        for machine in &mut self.machines {
            machine.kill(true);
        }
        let mut network = self.shared.network();
        let trace = network.trace();
        Outcome {
            scenario: self.world.name.clone(),
            seed: self.world.seed,
            ok: self.judge.violations().is_empty(),
            trace: format!("{:016x}", trace.hash()),
            events: trace.events(),
            sim_seconds: self.now.as_secs_f64(),
            settled_after_seconds: well_since.map(|at| (at - self.world.lasts).as_secs_f64()),
            violations: self.judge.into_violations(),
            replay: self.world.replay_line(&self.plan),
            faults: self.plan,
            lines: trace.take_lines(),
        }
    }

    /// One millisecond: each machine works in turn, then the invariants are told.
    fn step(&mut self) {
        self.shared.network().set_now(self.now);
        while let Some((at, machine)) = self.restarts.first().copied()
            && at <= self.now
        {
            self.restarts.pop_first();
            self.machines[machine].start(self.runtimes);
        }
        let end = self.now + STEP;
        for number in 0..self.machines.len() {
            self.progress.begins(self.now, number);
            if self.machines[number].work(self.now, end) {
                self.machines[number].kill(false);
                let down = self.leaving.remove(&number).unwrap_or_default();
                self.restarts.insert((end + down, number));
            }
            if let Some(why) = self.machines[number].take_failure() {
                let why = format!("the program on machine {number} did not start: {why}");
                self.shared.network().note(format_args!("m{number} {why}"));
                self.failure = Some((number, why));
                self.machines[number].kill(false);
                self.restarts.insert((end + STARTS_AGAIN, number));
            }
        }
        self.now = end;
        for breach in take_breaches() {
            // Who reads the wall clock may do so for a log; if anything depends on it, a perturbed run
            // is another one.
            if let Breach::Thread { .. } = breach {
                self.report("one-thread", breach.to_string());
            }
        }
        let failed = self.done.lock().iter().find_map(|done| done.as_ref().err().cloned());
        if let Some(why) = failed {
            self.report("workload", format!("a client has failed: {why}"));
        }
        let records = self.shared.take_records();
        self.judge.hear(self.now, &records);
        if self.now.as_millis().is_multiple_of(LOOK.as_millis()) {
            self.judge.look(self.now, &self.standings(), Some(&self.shared));
        }
    }

    fn report(&mut self, invariant: &str, what: String) {
        self.judge.report(self.now, invariant, what);
    }

    fn standings(&self) -> Vec<Standing> {
        self.machines.iter().filter_map(Machine::standing).collect()
    }

    /// What is not as it has to be in the end.
    fn unsettled(&self) -> Option<String> {
        let done = self.done.lock();
        if done.len() < self.world.clients.len() {
            let left = self.world.clients.len() - done.len();
            return Some(match left {
                1 => "a client is not done".to_owned(),
                _ => format!("{left} clients are not done"),
            });
        }
        let nodes = self.standings();
        if nodes.len() < self.machines.len() {
            let (up, all) = (nodes.len(), self.machines.len());
            let is_down =
                |(machine, _): &&(usize, String)| self.machines[*machine].node().is_none();
            let failure = self.failure.as_ref().filter(is_down);
            let why = failure.map(|(_, why)| &**why).unwrap_or("the others have not started yet");
            return Some(format!("{up} of {all} nodes are up; {why}"));
        }
        crate::invariants::disagreement(&nodes)
    }

    // --- Faults -----------------------------------------------------------------------------------

    fn befall(&mut self, fault: &Fault) {
        self.shared.network().note(format_args!("{fault:?}"));
        let until = |ms: &u64| self.now + Duration::from_millis(*ms);
        match fault {
            Fault::Kill { node, down_ms } => {
                let up = until(down_ms);
                self.end_process(*node, false, up);
            }
            Fault::PowerLoss { node, down_ms } => {
                let up = until(down_ms);
                self.end_process(*node, true, up);
            }
            Fault::Leave { node, down_ms } => {
                let up = until(down_ms);
                if self.machines[*node].leave() {
                    self.leaving.insert(*node, Duration::from_millis(*down_ms));
                } else {
                    self.end_process(*node, false, up);
                }
            }
            Fault::Pause { node, ms } => self.machines[*node].pause(until(ms)),
            Fault::Slow { node, turn_ms, ms } => {
                let until = until(ms);
                self.machines[*node].slow_down(Duration::from_millis(*turn_ms), until);
            }
            Fault::ClockJump { node, by_ms } => self.machines[*node].clock().jump(*by_ms),
            Fault::ClockDrift { node, millionths, ms } => {
                let until = until(ms);
                self.machines[*node].drift(*millionths, until);
            }
            Fault::DiskFull { node, ms } => {
                let until = until(ms);
                self.machines[*node].fill_disk(until);
            }
            Fault::DiskFails { node, writes, syncs, ms } => {
                let until = until(ms);
                self.machines[*node].fail_disk(*writes, *syncs, until);
            }
            Fault::DiskSlow { node, extra_ms, ms } => {
                let (extra, until) = (Duration::from_millis(*extra_ms), until(ms));
                self.machines[*node].slow_disk(extra, until);
            }
            Fault::Cut { from, to, ms } => {
                let until = until(ms);
                self.shared.network().spoil(*from, *to, Condition::Cut { until });
            }
            Fault::Partition { side, ms } => {
                let until = until(ms);
                let mut network = self.shared.network();
                // Clients are on the other side.
                for from in 0..self.machines.len() {
                    for to in 0..self.machines.len() {
                        if side.contains(&from) != side.contains(&to) {
                            network.spoil(from, to, Condition::Cut { until });
                        }
                    }
                }
            }
            Fault::Stall { from, to, ms } => self.shared.network().stall(*from, *to, until(ms)),
            Fault::HalfOpen { from, to, ms } => {
                let until = until(ms);
                self.shared.network().spoil(*from, *to, Condition::HalfOpen { until });
            }
            Fault::Reset { a, b } => self.shared.network().reset(*a, *b),
            Fault::Blackhole { a, b } => self.shared.network().swallow(*a, *b),
            Fault::Delay { from, to, extra_ms, ms } => {
                let (extra, until) = (Duration::from_millis(*extra_ms), until(ms));
                self.shared.network().spoil(*from, *to, Condition::Delay { extra, until });
            }
            Fault::SlowLink { from, to, bytes_per_second, ms } => {
                let (bytes_per_second, until) = (*bytes_per_second, until(ms));
                self.shared.network().spoil(
                    *from,
                    *to,
                    Condition::Slow { bytes_per_second, until },
                );
            }
        }
    }

    fn end_process(&mut self, machine: usize, with_power: bool, up_again: Duration) {
        if !self.machines[machine].is_up() && !with_power {
            // There is nobody to be killed, and it is started when it was to be.
            return;
        }
        if let Some(node) = self.machines[machine].node() {
            self.judge.died(node.id(), self.now);
        }
        if self.world.mutant == Some(Mutant::Undead) {
            return;
        }
        self.machines[machine].kill(with_power);
        self.leaving.remove(&machine);
        self.restarts.retain(|(_, other)| *other != machine);
        self.restarts.insert((up_again, machine));
    }

    fn heal(&mut self) {
        self.shared.network().note(format_args!("the faults are over"));
        self.shared.network().mend();
        if self.world.mutant == Some(Mutant::NeverMends) {
            self.shared.network().spoil(0, 1, Condition::Cut { until: Duration::MAX });
        }
        self.machines.iter_mut().for_each(Machine::heal);
        let down = (0..self.machines.len()).filter(|machine| !self.machines[*machine].is_up());
        self.restarts = down.map(|machine| (self.now, machine)).collect();
        self.shared.end_faults();
    }
}

/// A program that starts a node and has a client do its work with it.
fn client(work: Workload, done: &Arc<parking_lot::Mutex<Vec<Result<(), String>>>>) -> Program {
    let done = done.clone();
    Arc::new(move |host: Host| {
        let (work, done) = (work.clone(), done.clone());
        async move {
            let node = host.node().role("client").start().await.map_err(|why| why.to_string())?;
            let work = work(host, node.clone());
            tokio::spawn(async move {
                let ended = AssertUnwindSafe(work).catch_unwind().await;
                done.lock().push(ended.unwrap_or_else(|panic| Err(panicked(&*panic))));
            });
            Ok(node)
        }
        .boxed()
    })
}
