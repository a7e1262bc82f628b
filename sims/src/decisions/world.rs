//! Machines, a network, and what goes wrong with them, on one simulated clock.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::{Endpoint, LinkId, NodeId, NodeName, PeersInput, RegistryInput};

use crate::chance::Chance;
use crate::decisions::fault::{Fault, Planned};
use crate::decisions::invariants::{Findings, Happening, Invariants, Snapshot, View};
use crate::decisions::mutant::Mutant;
use crate::decisions::network::{End, Network, Packet, Side};
use crate::decisions::node::{Item, Life, Machine};
use crate::outcome::Violation;
use crate::trace::Trace;

/// Machines below this number are the seeds of all: they keep their endpoints, and run in the end.
const SEEDS: usize = 2;

/// How often a node registers, changes or takes back something.
const WORK_INTERVAL: Duration = Duration::from_millis(400);

/// How long a ghost waits before it comes back.
const GHOST_AFTER: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(crate) enum Event {
    Fault(Fault),
    /// A cut may have ended.
    Mend,
    Resume(usize),
    Wake(End),
    /// What was to be sent to a peer is on its way.
    Room(End, NodeId),
    Work(End),
    Arrive(LinkId, Side, Packet),
    DialTimedOut(LinkId),
    /// A mutant's: a dead life comes back.
    Ghost(NodeId),
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) chance: Chance,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) violations: Vec<Violation>,
    pub(crate) works: bool,
    queue: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    deaths: BTreeMap<NodeId, Duration>,
    invariants: Invariants,
}

impl World {
    pub(crate) fn new(
        mut chance: Chance,
        nodes: usize,
        mutant: Option<Mutant>,
        keep_lines: bool,
    ) -> Self {
        // Names in an order of their own, so that seeds are not always the smaller ones.
        let turn = chance.below(nodes);
        let machine = |number: usize| Machine {
            name: name((number + turn) % nodes),
            endpoint: endpoint(number),
            lives: 0,
            has_power: true,
            running: None,
        };
        let mut world = Self {
            now: Duration::ZERO,
            chance,
            mutant,
            machines: (0..nodes).map(machine).collect(),
            network: Network::default(),
            trace: Trace::new(keep_lines),
            violations: Vec::new(),
            works: true,
            queue: BTreeMap::new(),
            sequence: 0,
            deaths: BTreeMap::new(),
            invariants: Invariants::new(),
        };
        for number in 0..nodes {
            world.start(number);
        }
        world
    }

    pub(crate) fn plan(&mut self, faults: &[Planned]) {
        for planned in faults {
            self.at(planned.at(), Event::Fault(planned.fault.clone()));
        }
    }

    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    /// Lets everything happen up to `end`.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((time, _), event) = entry.remove_entry();
            self.now = time;
            self.trace.note(time, format_args!("{event:?}"));
            self.happen(event);
        }
        self.now = end;
        self.network.sweep();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault(fault) => self.fault(fault),
            Event::Mend => self.mend(),
            Event::Resume(number) => self.resume(number),
            Event::Wake(end) => {
                // An earlier wake-up has taken this one's place, or it is the one.
                let due = |life: &mut Life| life.wake_at.take_if(|at| *at <= self.now).is_some();
                let life = self.machines[end.node].running.as_mut();
                if life.filter(|life| life.number == end.life).is_some_and(due) {
                    self.hand(end, Item::Wake);
                }
            }
            Event::Room(end, peer) => self.hand(end, Item::Room(peer)),
            Event::Work(end) => {
                if self.works && self.is_alive(end) {
                    self.hand(end, Item::Work);
                    let pause = self.chance.between(Duration::ZERO, WORK_INTERVAL * 2);
                    self.at(self.now + pause, Event::Work(end));
                }
            }
            Event::Arrive(link, side, packet) => self.arrive(link, side, packet),
            Event::DialTimedOut(link) => {
                if let Some(wire) = self.network.wires.get(&link).filter(|wire| !wire.dialled) {
                    self.hand(wire.dialler, Item::DialTimedOut(link));
                }
            }
            Event::Ghost(ghost) => self.haunt(&ghost),
        }
    }

    pub(crate) fn is_alive(&self, end: End) -> bool {
        let life = self.machines[end.node].running.as_ref();
        life.is_some_and(|life| life.number == end.life)
    }

    pub(crate) fn life(&mut self, end: End) -> Option<&mut Life> {
        let life = self.machines[end.node].running.as_mut();
        life.filter(|life| life.number == end.life)
    }

    /// Gives a node something to deal with, now or when it is not paused any more.
    fn hand(&mut self, end: End, item: Item) {
        let Some(life) = self.life(end) else { return };
        if life.paused_until.is_some() {
            life.inbox.push_back(item);
        } else {
            self.deal(end, item);
        }
    }

    fn start(&mut self, number: usize) {
        let now = self.now;
        let machine = &mut self.machines[number];
        machine.start(now);
        let end = End { node: number, life: machine.lives };
        let seeds = (0..SEEDS).map(endpoint).collect();
        self.step(end, PeersInput::Join { seeds });
        self.at(now, Event::Work(end));
    }

    fn arrive(&mut self, link: LinkId, side: Side, packet: Packet) {
        let Some(wire) = self.network.wires.get_mut(&link) else { return };
        if wire.end(side).is_none() {
            // The first hello: who is there now?
            let Some(number) = self.machines.iter().position(|one| one.endpoint == wire.endpoint)
            else {
                return self.reset(link, side);
            };
            if !self.machines[number].has_power {
                return;
            }
            match &self.machines[number].running {
                Some(life) => {
                    wire.acceptor = Some(End { node: number, life: life.number });
                }
                None => return self.reset(link, side),
            }
        }
        let end = self.network.wires[&link].end(side).expect("it is known by now");
        if !self.is_alive(end) {
            if self.machines[end.node].has_power && !matches!(packet, Packet::Closed) {
                self.reset(link, side);
            }
        } else if self.network.wires[&link].is_open(side) {
            self.hand(end, Item::Packet(link, side, packet));
        }
    }

    /// The kernel answers for a process that is not there.
    fn reset(&mut self, link: LinkId, side: Side) {
        if let Some(wire) = self.network.wires.get_mut(&link) {
            wire.close(side);
        }
        self.post(link, side.other(), Packet::Closed);
    }

    /// Sends over a wire from one of its sides.
    pub(crate) fn send(&mut self, link: LinkId, from: Side, packet: Packet) {
        if self.network.wires.get(&link).is_some_and(|wire| wire.is_open(from)) {
            self.post(link, from.other(), packet);
        }
    }

    fn post(&mut self, link: LinkId, to: Side, packet: Packet) {
        let now = self.now;
        let latency = match self.chance.below(20) {
            0 => self.chance.between(Duration::from_millis(5), Duration::from_millis(200)),
            _ => self.chance.between(Duration::from_micros(200), Duration::from_millis(5)),
        };
        let Some(wire) = self.network.wires.get(&link) else { return };
        let target = wire.end(to).map(|end| end.node);
        let target =
            target.or_else(|| self.machines.iter().position(|one| one.endpoint == wire.endpoint));
        let cut = match (wire.end(to.other()).map(|end| end.node), target) {
            (Some(from), Some(to)) => self.network.is_cut(from, to, now),
            _ => false,
        };
        let is_hello = matches!(packet, Packet::Hello(_));
        let Some(wire) = self.network.wires.get_mut(&link) else { return };
        if is_hello && cut {
            // A connection cannot be opened over a cut: the dial's deadline will tell.
        } else if cut || wire.holds(to) {
            wire.hold(to, packet);
        } else if self.mutant == Some(Mutant::LosesMessages)
            && matches!(packet, Packet::Control(_))
            && self.chance.one_in(40)
        {
            self.trace.note(now, format_args!("lost on {link}: {packet:?}"));
        } else {
            let arrives = wire.arrives(to, now, latency);
            self.at(arrives, Event::Arrive(link, to, packet));
        }
    }

    fn fault(&mut self, fault: Fault) {
        let until = |millis| self.now + Duration::from_millis(millis);
        match fault {
            Fault::Kill { node } => self.end(node, false),
            Fault::PowerLoss { node } => self.end(node, true),
            Fault::Restart { node, elsewhere } => {
                self.end(node, false);
                if elsewhere && node >= SEEDS {
                    self.machines[node].endpoint = self.free_endpoint();
                }
                self.start(node);
            }
            Fault::Pause { node, millis } => {
                let until = until(millis);
                if let Some(life) = &mut self.machines[node].running {
                    life.paused_until = life.paused_until.max(Some(until));
                    self.at(until, Event::Resume(node));
                }
            }
            Fault::Cut { from, to, millis } => {
                let until = until(millis);
                self.network.cut(from, to, until);
                self.at(until, Event::Mend);
            }
            Fault::Partition { side, millis } => {
                let until = until(millis);
                for one in 0..self.machines.len() {
                    for other in 0..self.machines.len() {
                        if side.contains(&one) != side.contains(&other) {
                            self.network.cut(one, other, until);
                        }
                    }
                }
                self.at(until, Event::Mend);
            }
            Fault::Reset { a, b } => {
                let between = |wire: &crate::decisions::network::Wire| {
                    let nodes = [Some(wire.dialler.node), wire.acceptor.map(|end| end.node)];
                    nodes == [Some(a), Some(b)] || nodes == [Some(b), Some(a)]
                };
                let wires = self.network.wires.iter();
                let links: Vec<_> =
                    wires.filter(|(_, wire)| between(wire)).map(|(link, _)| *link).collect();
                for link in links {
                    for side in [Side::Dialler, Side::Acceptor] {
                        self.at(self.now, Event::Arrive(link, side, Packet::Closed));
                    }
                }
            }
            Fault::Leave { node } => {
                if let Some(life) = &self.machines[node].running {
                    let end = End { node, life: life.number };
                    self.registry(end, RegistryInput::Withdraw);
                    self.step(end, PeersInput::Leave);
                    self.end(node, false);
                }
            }
        }
    }

    /// An address that nobody has just now; somebody else may have had it before.
    fn free_endpoint(&mut self) -> Endpoint {
        let free = (SEEDS..=self.machines.len()).map(endpoint);
        let mut free = free.filter(|one| self.machines.iter().all(|other| other.endpoint != *one));
        free.next().expect("there are more addresses than machines")
    }

    /// Ends a node's life: with its process alone, or with its machine.
    fn end(&mut self, number: usize, with_power: bool) {
        let machine = &mut self.machines[number];
        machine.has_power &= !with_power;
        let Some(life) = machine.running.take() else { return };
        self.deaths.insert(life.id.clone(), self.now);
        if self.mutant == Some(Mutant::Ghost) {
            self.at(self.now + GHOST_AFTER, Event::Ghost(life.id.clone()));
        }
        let end = End { node: number, life: life.number };
        for (link, side) in self.network.of(end) {
            if !with_power {
                self.send(link, side, Packet::Closed);
            }
            if let Some(wire) = self.network.wires.get_mut(&link) {
                wire.close(side);
                if with_power {
                    wire.release(side.other());
                }
            }
        }
    }

    /// A life has ended, though its process goes on as another.
    pub(crate) fn is_over(&mut self, life: NodeId) {
        self.deaths.insert(life, self.now);
    }

    fn resume(&mut self, number: usize) {
        let now = self.now;
        let Some(life) = &mut self.machines[number].running else { return };
        if life.paused_until.is_none_or(|until| until > now) {
            return;
        }
        life.paused_until = None;
        life.resumed = now;
        let end = End { node: number, life: life.number };
        for item in std::mem::take(&mut life.inbox) {
            self.deal(end, item);
        }
    }

    fn mend(&mut self) {
        let links: Vec<_> = self.network.wires.keys().copied().collect();
        for link in links {
            for side in [Side::Dialler, Side::Acceptor] {
                let wire = self.network.wires.get_mut(&link).expect("none is swept in between");
                for packet in wire.release(side) {
                    // What is still cut is held once more, in the same order.
                    self.post(link, side, packet);
                }
            }
        }
    }

    /// Ends all faults: the seeds run again, and of the others whom chance wills.
    pub(crate) fn heal(&mut self) {
        self.works = false;
        self.network.mend_all();
        self.mend();
        for number in 0..self.machines.len() {
            if let Some(life) = &mut self.machines[number].running {
                life.paused_until = life.paused_until.map(|_| self.now);
                self.resume(number);
            } else if number < SEEDS || self.chance.one_in(2) {
                self.start(number);
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        let running = self.machines.iter().filter_map(|machine| machine.running.as_ref());
        Snapshot { now: self.now, running: running.map(view).collect(), deaths: &self.deaths }
    }

    pub(crate) fn check(&mut self, settled: bool) {
        let mut invariants = std::mem::replace(&mut self.invariants, Invariants::none());
        let mut found = Vec::new();
        let mut findings = Findings { now: self.now, found: &mut found };
        let snapshot = self.snapshot();
        invariants.stands(&snapshot, &mut findings);
        if settled {
            invariants.settled(&snapshot, &mut findings);
        }
        self.invariants = invariants;
        self.violations.append(&mut found);
    }

    pub(crate) fn told(&mut self, end: End, what: &Happening<'_>) {
        let Some(life) = &self.machines[end.node].running else { return };
        self.trace.note(self.now, format_args!("{} was told {what:?}", life.id));
        let mut findings = Findings { now: self.now, found: &mut self.violations };
        self.invariants.happened(&view(life), what, &mut findings);
    }
}

fn view(life: &Life) -> View<'_> {
    View {
        id: &life.id,
        is_paused: life.paused_until.is_some(),
        awake_since: life.started.max(life.resumed),
        up: &life.up,
        members: &life.members,
        registry: &life.registry,
        own: &life.own,
    }
}

fn name(number: usize) -> NodeName {
    format!("n{number}").parse().expect("a letter and a digit are a name")
}

fn endpoint(number: usize) -> Endpoint {
    Endpoint::new(format!("10.0.0.{number}:7400")).expect("an address and a port")
}
