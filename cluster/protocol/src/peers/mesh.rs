//! A small network with faults, and a [`Peers`] on each of its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::Draws;
use super::*;
use crate::{Held, Hello, Incarnation, Lane, LinkId, NodeName, Reason, Terms, VersionRange};

const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Nodes below this are seeds of all, keep their endpoints, and run in the end.
pub(super) const SEEDS: usize = 2;

#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The process is gone; its peers see their connections reset, or nothing if the host is gone too.
    Kill { node: usize, silently: bool },
    /// It runs again as a new incarnation, and elsewhere if it may.
    Restart { node: usize, elsewhere: bool },
    /// It does nothing for a while, then goes on with all that has come meanwhile.
    Pause { node: usize, millis: u64 },
    /// Nothing gets through between two nodes; what was under way is lost for good.
    Cut { nodes: (usize, usize), millis: u64 },
    /// All connections of a node are reset.
    Reset { node: usize },
    /// It says goodbye.
    Leave { node: usize },
}

#[derive(Debug)]
pub(super) enum Event {
    Tick { node: usize, life: u64 },
    Input { node: usize, life: u64, input: PeersInput },
    Knock { link: LinkId, hello: Hello, endpoint: Endpoint },
    Welcomed { link: LinkId },
    DataLane { link: LinkId },
    DataWelcomed { link: LinkId },
    Fault(Fault),
}

pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) life: u64,
    /// Which life it goes by; another than the process's where it was declared down.
    pub(super) id: NodeId,
    pub(super) endpoint: Endpoint,
    pub(super) started: Duration,
    pub(super) peers: Option<Peers>,
    pub(super) paused_until: Duration,
    pub(super) up: BTreeMap<NodeName, (NodeId, LinkId)>,
    /// The members whose lives are over.
    pub(super) over: BTreeSet<NodeId>,
    pub(super) dials: BTreeSet<LinkId>,
}

/// A link's two connections, as the network sees them.
pub(super) struct Wire {
    pub(super) dialler: (usize, u64),
    pub(super) acceptor: Option<(usize, u64)>,
    pub(super) expect: Option<NodeName>,
    pub(super) dialler_up: bool,
}

pub(super) struct Mesh {
    pub(super) now: Duration,
    pub(super) draws: Draws,
    pub(super) queue: BTreeMap<(Duration, u64), Event>,
    pub(super) sequence: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) wires: BTreeMap<LinkId, Wire>,
    pub(super) cuts: BTreeMap<(usize, usize), Duration>,
    pub(super) tokens: BTreeMap<u64, LinkId>,
    pub(super) loss_percent: u64,
    pub(super) noise: u64,
}

fn endpoint(node: usize, place: u64) -> Endpoint {
    Endpoint::new(format!("10.0.{place}.{node}:1")).unwrap()
}

impl Mesh {
    pub(super) fn new(nodes: usize, seed: u64, loss_percent: u64, config: &PeersConfig) -> Self {
        let mut mesh = Self {
            now: Duration::ZERO,
            draws: Draws::from(seed),
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            wires: BTreeMap::new(),
            cuts: BTreeMap::new(),
            tokens: BTreeMap::new(),
            loss_percent,
            noise: 0,
        };
        // Names in an order of their own, so that seeds are not always the smaller ones.
        let turn = mesh.draws.below(nodes);
        for index in 0..nodes {
            let name = NodeName::new(format!("n{}", (index + turn) % nodes)).unwrap();
            mesh.nodes.push(Node {
                id: NodeId { name: name.clone(), incarnation: Incarnation(0) },
                name,
                life: 0,
                endpoint: endpoint(index, 0),
                started: Duration::ZERO,
                peers: None,
                paused_until: Duration::ZERO,
                up: BTreeMap::new(),
                over: BTreeSet::new(),
                dials: BTreeSet::new(),
            });
        }
        for index in 0..nodes {
            mesh.start(index, config);
        }
        mesh
    }

    fn start(&mut self, index: usize, config: &PeersConfig) {
        let node = &mut self.nodes[index];
        node.life += 1;
        // Lives count microseconds, as in production: the next process's is later than any of this one's.
        let began = u64::try_from(self.now.as_micros()).unwrap();
        node.id.incarnation = Incarnation(began + node.life);
        let profile = Profile::default().with_endpoint(Some(node.endpoint.clone()));
        let peers = Peers::new(config.clone(), node.id.clone()).unwrap();
        node.peers = Some(peers.with_profile(profile));
        node.started = self.now;
        node.paused_until = self.now;
        node.up.clear();
        node.over.clear();
        node.dials.clear();
        let seeds = (0..SEEDS).map(|seed| endpoint(seed, 0)).collect();
        let (life, input) = (node.life, PeersInput::Join { seeds });
        self.at(Duration::ZERO, Event::Input { node: index, life, input });
    }

    pub(super) fn at(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    fn latency(&mut self) -> Duration {
        // In order for each sender is not needed between handshakes of different links.
        Duration::from_micros(200 + self.draws.below(20_000) as u64)
    }

    fn lossy(&mut self) -> bool {
        (self.draws.below(100) as u64) < self.loss_percent
    }

    fn alive(&self, (node, life): (usize, u64)) -> bool {
        self.nodes[node].peers.is_some() && self.nodes[node].life == life
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.get(&(a.min(b), a.max(b))).is_some_and(|until| *until > self.now)
    }

    pub(super) fn run_until(&mut self, end: Duration, config: &PeersConfig) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.handle(event, config);
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event, config: &PeersConfig) {
        match event {
            Event::Tick { node, life } => {
                let Node { peers, started, .. } = &self.nodes[node];
                let wakeup = peers.as_ref().and_then(Peers::next_wakeup);
                let due = wakeup.is_some_and(|at| *started + at <= self.now);
                if due && self.alive((node, life)) {
                    self.step(node, life, PeersInput::Tick);
                }
            }
            Event::Input { node, life, input } => {
                self.step(node, life, input);
            }
            Event::Knock { link, hello, endpoint } => self.knock(link, hello, &endpoint),
            Event::Welcomed { link } => self.welcomed(link),
            Event::DataLane { link } => self.data_lane(link),
            Event::DataWelcomed { link } => self.data_welcomed(link),
            Event::Fault(fault) => self.fault(fault, config),
        }
    }

    fn step(&mut self, node: usize, life: u64, input: PeersInput) -> Vec<PeersOutput> {
        if !self.alive((node, life)) {
            return Vec::new();
        }
        if self.nodes[node].paused_until > self.now {
            let wait = self.nodes[node].paused_until - self.now;
            self.at(wait, Event::Input { node, life, input });
            return Vec::new();
        }
        let entropy = self.draws.next();
        let now = self.now - self.nodes[node].started;
        match &input {
            PeersInput::DialFailed { link, .. }
            | PeersInput::DialRefused { link, .. }
            | PeersInput::LinkUp { link, .. } => {
                self.nodes[node].dials.remove(link);
            }
            _ => {}
        }
        let peers = self.nodes[node].peers.as_mut().unwrap();
        let outputs = peers.step(now, entropy, input);
        if let Some(at) = peers.next_wakeup() {
            assert!(at > now || peers.wakeup.is_none(), "a wake-up at {at:?} is not after {now:?}");
            let delay = at.saturating_sub(now);
            self.at(delay, Event::Tick { node, life });
        }
        for output in &outputs {
            self.execute(node, life, output.clone());
        }
        outputs
    }

    fn execute(&mut self, node: usize, life: u64, output: PeersOutput) {
        match output {
            PeersOutput::Dial { link, endpoint, expect, held } => {
                self.noise += 1;
                self.nodes[node].dials.insert(link);
                assert!(!self.wires.contains_key(&link), "a link id was used twice");
                let wire =
                    Wire { dialler: (node, life), acceptor: None, expect, dialler_up: false };
                self.wires.insert(link, wire);
                let hello = self.terms(node).hello(Lane::Control, link, held);
                let delay = self.latency();
                self.at(delay, Event::Knock { link, hello, endpoint });
            }
            PeersOutput::Close { link, .. } => self.close(link, (node, life)),
            PeersOutput::Ping { link, .. } => {
                self.carry(link, (node, life), PeersInput::Heard { link });
            }
            PeersOutput::Swim { link, packet } => {
                self.carry(link, (node, life), PeersInput::Swim { link, packet });
            }
            PeersOutput::Member(MemberEvent { member, state }) => {
                self.noise += 1;
                self.check_member(node, &member.node, state);
            }
            PeersOutput::Renewed { me } => {
                self.noise += 1;
                assert!(self.nodes[node].up.is_empty(), "all links end with a life");
                assert!(me.incarnation > self.nodes[node].id.incarnation);
                self.nodes[node].id = me;
                self.nodes[node].over.clear();
            }
            PeersOutput::PeerUp { peer, link } => {
                self.noise += 1;
                let name = peer.name.clone();
                let before = self.nodes[node].up.insert(name, (peer, link));
                assert_eq!(before, None, "a peer came up twice");
            }
            PeersOutput::PeerDown { peer, link, .. } => {
                self.noise += 1;
                let before = self.nodes[node].up.remove(&peer.name);
                assert_eq!(before, Some((peer, link)), "what goes down was up");
            }
            PeersOutput::Superseded { .. } => panic!("nobody was superseded while it ran"),
            PeersOutput::Accept { .. }
            | PeersOutput::Refuse { .. }
            | PeersOutput::SeedDropped { .. } => {}
        }
    }

    fn check_member(&mut self, node: usize, member: &NodeId, state: MemberState) {
        let over = &mut self.nodes[node].over;
        assert!(!over.contains(member) || state.is_over(), "{member} is {state:?} after its end");
        if state.is_over() {
            over.insert(member.clone());
        }
    }

    fn terms(&self, node: usize) -> Terms {
        Terms {
            protocol: VersionRange { min: 1, max: 1 },
            codec: crate::CodecId(1),
            cluster: "test".parse().unwrap(),
            node: self.nodes[node].id.clone(),
            listen: Some(self.nodes[node].endpoint.clone()),
        }
    }

    /// The other end of a wire, seen from one.
    fn other(&self, link: LinkId, from: (usize, u64)) -> Option<(usize, u64)> {
        let wire = self.wires.get(&link)?;
        if wire.dialler == from { wire.acceptor } else { Some(wire.dialler) }
    }

    fn carry(&mut self, link: LinkId, from: (usize, u64), input: PeersInput) {
        let Some(to) = self.other(link, from) else { return };
        if !self.is_cut(from.0, to.0) {
            let delay = self.latency();
            self.at(delay, Event::Input { node: to.0, life: to.1, input });
        }
    }

    /// One end closes: the other sees it, unless nothing gets through.
    fn close(&mut self, link: LinkId, by: (usize, u64)) {
        let other = self.other(link, by);
        let Some(wire) = self.wires.remove(&link) else { return };
        let Some(to) = other else { return };
        if self.is_cut(by.0, to.0) {
            return;
        }
        let reason = Reason::cut("closed");
        let input = if wire.dialler == to && !wire.dialler_up {
            PeersInput::DialFailed { link, reason }
        } else {
            PeersInput::LinkDown { link, why: LinkEnd::Broken(reason) }
        };
        let delay = self.latency();
        self.at(delay, Event::Input { node: to.0, life: to.1, input });
    }

    fn fail_dial(&mut self, link: LinkId, delay: Duration) {
        let Some(wire) = self.wires.remove(&link) else { return };
        let reason = Reason::cut("failed");
        let (node, life) = wire.dialler;
        self.at(delay, Event::Input { node, life, input: PeersInput::DialFailed { link, reason } });
        if let Some((node, life)) = wire.acceptor {
            let why = LinkEnd::Broken(Reason::cut("failed"));
            let input = PeersInput::LinkDown { link, why };
            self.at(delay, Event::Input { node, life, input });
        }
    }

    fn knock(&mut self, link: LinkId, hello: Hello, endpoint: &Endpoint) {
        let Some(wire) = self.wires.get(&link) else { return };
        let dialler = wire.dialler;
        let found = self.nodes.iter().position(|node| node.endpoint == *endpoint);
        let found = found.filter(|index| self.nodes[*index].peers.is_some());
        let Some(index) = found else {
            let delay = self.latency();
            return self.fail_dial(link, delay);
        };
        let paused = self.nodes[index].paused_until > self.now;
        if paused || self.is_cut(dialler.0, index) || self.lossy() {
            return self.fail_dial(link, DIAL_TIMEOUT);
        }
        let life = self.nodes[index].life;
        self.wires.get_mut(&link).unwrap().acceptor = Some((index, life));
        self.sequence += 1;
        let token = self.sequence;
        self.tokens.insert(token, link);
        let outputs = self.step(index, life, PeersInput::HelloReceived { token, hello });
        let refusal = outputs.into_iter().find_map(|output| match output {
            PeersOutput::Refuse { token: refused, refusal } if refused == token => Some(refusal),
            _ => None,
        });
        let delay = self.latency();
        match refusal {
            Some(refusal) => {
                self.wires.remove(&link);
                let by = self.nodes[index].name.clone();
                let input = PeersInput::DialRefused { link, by, refusal };
                self.at(delay, Event::Input { node: dialler.0, life: dialler.1, input });
            }
            None if self.lossy() => self.fail_dial(link, delay),
            None => self.at(delay, Event::Welcomed { link }),
        }
    }

    fn broken(&self, link: LinkId) -> bool {
        self.wires.get(&link).is_none_or(|wire| {
            let (a, b) = (wire.dialler, wire.acceptor.unwrap());
            !self.alive(a) || !self.alive(b) || self.is_cut(a.0, b.0)
        })
    }

    fn welcomed(&mut self, link: LinkId) {
        if self.broken(link) {
            return self.fail_dial(link, Duration::ZERO);
        }
        let wire = &self.wires[&link];
        let (dialler, acceptor) = (wire.dialler, wire.acceptor.unwrap());
        let found = self.nodes[acceptor.0].name.clone();
        if let Some(expected) = wire.expect.clone().filter(|expected| *expected != found) {
            let refusal = Refusal::WrongNode { expected, found: found.clone() };
            let input = PeersInput::DialRefused { link, by: found, refusal };
            self.wires.get_mut(&link).unwrap().dialler_up = true;
            self.close(link, dialler);
            self.at(Duration::ZERO, Event::Input { node: dialler.0, life: dialler.1, input });
            return;
        }
        let delay = self.latency();
        self.at(delay, Event::DataLane { link });
    }

    fn data_lane(&mut self, link: LinkId) {
        if self.broken(link) || self.lossy() {
            return self.fail_dial(link, Duration::ZERO);
        }
        let wire = &self.wires[&link];
        let ((dialler, _), (node, life)) = (wire.dialler, wire.acceptor.unwrap());
        if self.nodes[node].paused_until > self.now {
            return self.fail_dial(link, DIAL_TIMEOUT);
        }
        let hello = self.terms(dialler).hello(Lane::Data, link, Held::default());
        let peer = hello.node.clone();
        let outputs = self.step(node, life, PeersInput::HelloReceived { token: 0, hello });
        if outputs.iter().any(|output| matches!(output, PeersOutput::Refuse { .. })) {
            return self.fail_dial(link, Duration::ZERO);
        }
        let listen = Some(self.nodes[dialler].endpoint.clone());
        self.step(node, life, PeersInput::LinkUp { link, peer, listen });
        let delay = self.latency();
        self.at(delay, Event::DataWelcomed { link });
    }

    fn data_welcomed(&mut self, link: LinkId) {
        if self.broken(link) || self.lossy() {
            return self.fail_dial(link, Duration::ZERO);
        }
        let wire = self.wires.get_mut(&link).unwrap();
        wire.dialler_up = true;
        let ((node, life), (acceptor, _)) = (wire.dialler, wire.acceptor.unwrap());
        let peer = self.nodes[acceptor].id.clone();
        let listen = Some(self.nodes[acceptor].endpoint.clone());
        self.step(node, life, PeersInput::LinkUp { link, peer, listen });
    }

    pub(super) fn fault(&mut self, fault: Fault, config: &PeersConfig) {
        match fault {
            Fault::Kill { node, silently } => self.kill(node, silently),
            Fault::Restart { node, elsewhere } => {
                self.kill(node, false);
                if elsewhere && node >= SEEDS {
                    self.nodes[node].endpoint = endpoint(node, self.nodes[node].life);
                }
                self.start(node, config);
            }
            Fault::Pause { node, millis } => {
                let until = self.now + Duration::from_millis(millis);
                self.nodes[node].paused_until = until;
                let life = self.nodes[node].life;
                let tick = Event::Tick { node, life };
                self.at(Duration::from_millis(millis), tick);
            }
            Fault::Cut { nodes: (a, b), millis } if a != b => {
                let until = self.now + Duration::from_millis(millis);
                self.cuts.insert((a.min(b), a.max(b)), until);
            }
            Fault::Cut { .. } => {}
            Fault::Reset { node } => {
                let life = self.nodes[node].life;
                for link in self.wires_of(node) {
                    let why = LinkEnd::Broken(Reason::cut("reset"));
                    self.close(link, (node, life));
                    self.step(node, life, PeersInput::LinkDown { link, why });
                }
            }
            Fault::Leave { node } => {
                let life = self.nodes[node].life;
                for link in self.nodes[node].up.values().map(|(_, link)| *link).collect::<Vec<_>>()
                {
                    self.carry(link, (node, life), PeersInput::Goodbye { link });
                }
                self.step(node, life, PeersInput::Leave);
                self.kill(node, false);
            }
        }
    }

    fn wires_of(&self, node: usize) -> Vec<LinkId> {
        let ends = |wire: &Wire| [Some(wire.dialler), wire.acceptor];
        let mine = |wire: &Wire| ends(wire).iter().flatten().any(|end| end.0 == node);
        self.wires.iter().filter(|(_, wire)| mine(wire)).map(|(link, _)| *link).collect()
    }

    fn kill(&mut self, node: usize, silently: bool) {
        let life = self.nodes[node].life;
        for link in self.wires_of(node) {
            if silently {
                self.wires.remove(&link);
            } else {
                self.close(link, (node, life));
            }
        }
        self.nodes[node].peers = None;
        self.nodes[node].up.clear();
    }

    pub(super) fn heal(&mut self, config: &PeersConfig) {
        self.loss_percent = 0;
        self.cuts.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = self.nodes[node].paused_until.min(self.now);
            if node < SEEDS && self.nodes[node].peers.is_none() {
                self.start(node, config);
            }
        }
    }

    /// Whether each two that run are joined by one link, the same on both ends, and nobody else is up.
    pub(super) fn check_meshed(&self) -> Result<(), String> {
        let live = || self.nodes.iter().filter(|node| node.peers.is_some());
        for a in live() {
            for b in live().filter(|b| b.name != a.name) {
                let Some((seen, link)) = a.up.get(&b.name) else {
                    let view = a.peers.as_ref().unwrap().view();
                    return Err(format!("{} does not see {}: {view:#?}", a.name, b.name));
                };
                let back = b.up.get(&a.name).map(|(_, link)| *link);
                if *seen != b.id || back != Some(*link) {
                    return Err(format!("{} and {} disagree: {link} {back:?}", a.name, b.name));
                }
            }
            if a.up.len() + 1 != live().count() {
                return Err(format!("{} sees the dead: {:?}", a.name, a.up));
            }
            let members = a.peers.as_ref().unwrap().view().members;
            let alive = members.into_iter().filter(|it| !it.state.is_over());
            let alive: BTreeMap<_, _> = alive.map(|it| (it.member.node, it.state)).collect();
            let others = live().filter(|b| b.name != a.name);
            let expected: BTreeMap<_, _> =
                others.map(|b| (b.id.clone(), MemberState::Alive)).collect();
            if alive != expected {
                return Err(format!("{} knows {alive:?}, and there are {expected:?}", a.name));
            }
        }
        Ok(())
    }
}
