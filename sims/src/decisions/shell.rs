//! What stands around the machines under test: as `umbel-cluster` does it, on a simulated network.

use std::collections::HashSet;
use std::time::Duration;

use umbel_protocol::{
    Control, Entry, EntryKey, EntryName, Health, Held, Hello, Lane, LinkEnd, LinkId, Load,
    MemberEvent, NodeId, PeersInput, PeersOutput, Reason, RegistryInput, RegistryOutput,
    ReplicaMessage, SchemaName, Tag,
};

use crate::decisions::invariants::{COUNT, Happening};
use crate::decisions::mutant::Mutant;
use crate::decisions::network::{End, Packet, Side, Wire};
use crate::decisions::node::Item;
use crate::decisions::world::{Event, World};

/// How long a dial may take: `NodeConfig::handshake_deadline`'s default.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);

/// How long a part of a snapshot takes to be written.
const WRITING: Duration = Duration::from_millis(1);

/// Under which names the workload registers.
const NAMES: [&str; 3] = ["orders", "stock", "mail"];

/// How its actors do.
const HEALTHS: [Health; 4] =
    [Health::Starting, Health::Healthy, Health::Unhealthy, Health::Draining];

/// How many actors of a node the workload registers at most.
const ACTORS: usize = 3;

impl World {
    /// A node deals with something; it is alive and not paused.
    pub(crate) fn deal(&mut self, end: End, item: Item) {
        match item {
            Item::Wake => self.step(end, PeersInput::Tick),
            Item::Room(peer) => {
                self.registry(end, RegistryInput::Room { peer });
            }
            Item::Work => self.work(end),
            Item::DialTimedOut(link) => {
                if self.network.wires.get(&link).is_some_and(|wire| !wire.dialled) {
                    self.dial_failed(end, link, "no answer in time");
                }
            }
            Item::Packet(link, side, packet) => {
                if self.network.wires.get(&link).is_some_and(|wire| wire.is_open(side)) {
                    self.packet(end, link, side, packet);
                }
            }
        }
    }

    fn packet(&mut self, end: End, link: LinkId, side: Side, packet: Packet) {
        match packet {
            Packet::Hello(hello) => self.hello(end, link, hello),
            Packet::Answer(lane, Ok(welcome)) => {
                let wire = &self.network.wires[&link];
                if wire.dialled {
                    return;
                }
                let acceptor = wire.acceptor.expect("it has answered");
                let certified = self.machines[acceptor.node].identity();
                let by = certified.node.clone();
                let expect = wire.expect.clone();
                let same = wire.welcome.as_ref().is_none_or(|first| first.node == welcome.node);
                let Some(id) = self.life(end).map(|life| life.id.clone()) else { return };
                let terms = self.machines[end.node].terms(id);
                let judged = terms.judge_welcome(&welcome, &certified, expect.as_ref());
                let wire = self.network.wires.get_mut(&link).expect("it was there just now");
                match (judged, lane) {
                    (Err(refusal), _) => {
                        wire.dialled = true;
                        self.close(link, side);
                        self.step(end, PeersInput::DialRefused { link, by, refusal });
                    }
                    (Ok(()), Lane::Control) => {
                        wire.welcome = Some(welcome);
                        let hello = terms.hello(Lane::Data, link, Held::default());
                        self.send(link, side, Packet::Hello(hello));
                    }
                    (Ok(()), Lane::Bulk) => unreachable!("large messages are not simulated"),
                    (Ok(()), Lane::Data) if !same => {
                        self.dial_failed(end, link, "restarted between the lanes");
                    }
                    (Ok(()), Lane::Data) => {
                        wire.dialled = true;
                        let (peer, listen) = (welcome.node, welcome.listen);
                        self.step(end, PeersInput::LinkUp { link, peer, listen });
                    }
                    (Ok(()), Lane::Rider) => unreachable!("no machine here carries a rider"),
                }
            }
            Packet::Answer(_, Err(refusal)) => {
                let wire = self.network.wires.get_mut(&link).expect("it was there just now");
                if !std::mem::replace(&mut wire.dialled, true) {
                    let acceptor = wire.acceptor.expect("it has answered");
                    let by = self.machines[acceptor.node].name.clone();
                    self.close(link, side);
                    self.step(end, PeersInput::DialRefused { link, by, refusal });
                }
            }
            Packet::Control(message) => self.control(end, link, message),
            Packet::Closed => {
                let wire = self.network.wires.get_mut(&link).expect("it was there just now");
                if side == Side::Dialler && !wire.dialled {
                    return self.dial_failed(end, link, "closed");
                }
                wire.close(side);
                // As in production, nobody reads from a link that is not up yet.
                if self.link_is_up(end, link) {
                    let why = LinkEnd::Broken(Reason::cut("closed"));
                    self.step(end, PeersInput::LinkDown { link, why });
                }
            }
        }
    }

    fn link_is_up(&mut self, end: End, link: LinkId) -> bool {
        self.life(end).is_some_and(|life| life.up.values().any(|(_, up)| *up == link))
    }

    fn dial_failed(&mut self, end: End, link: LinkId, why: &str) {
        if let Some(wire) = self.network.wires.get_mut(&link) {
            wire.dialled = true;
        }
        self.close(link, Side::Dialler);
        let reason = Reason::cut(why);
        self.step(end, PeersInput::DialFailed { link, reason });
    }

    /// One end lets go of a link; the other is told by its kernel.
    fn close(&mut self, link: LinkId, side: Side) {
        self.send(link, side, Packet::Closed);
        if let Some(wire) = self.network.wires.get_mut(&link) {
            wire.dialled |= side == Side::Dialler;
            wire.close(side);
        }
    }

    fn hello(&mut self, end: End, link: LinkId, hello: Hello) {
        let dialler = self.network.wires[&link].dialler;
        let certified = self.machines[dialler.node].identity();
        let Some(id) = self.life(end).map(|life| life.id.clone()) else { return };
        let terms = self.machines[end.node].terms(id);
        let lane = hello.lane;
        let verdict = terms.judge_hello(&hello, &certified).and_then(|welcome| {
            let input = PeersInput::HelloReceived { token: 0, hello: hello.clone() };
            let outputs = self.steps(end, input);
            let refused = outputs.into_iter().find_map(|output| match output {
                PeersOutput::Refuse { refusal, .. } => Some(refusal),
                _ => None,
            });
            refused.map_or(Ok(welcome), Err)
        });
        let refused = verdict.is_err();
        self.send(link, Side::Acceptor, Packet::Answer(lane, verdict));
        if refused {
            if lane == Lane::Control {
                self.close(link, Side::Acceptor);
            }
        } else if lane == Lane::Data {
            let (peer, listen) = (hello.node, hello.listen);
            self.step(end, PeersInput::LinkUp { link, peer, listen });
        }
    }

    /// Something came over a control lane; compare `Turn::control` in the coordinator.
    fn control(&mut self, end: End, link: LinkId, message: Control) {
        let Some(life) = self.life(end) else { return };
        // What was read before the link was given up is void.
        let Some((from, _)) = life.up.values().find(|(_, up)| *up == link).cloned() else { return };
        match message {
            Control::Ping { token } => self.say(end, link, Control::Pong { token }),
            Control::Swim(packet) => return self.step(end, PeersInput::Swim { link, packet }),
            Control::Goodbye => return self.step(end, PeersInput::Goodbye { link }),
            Control::Registry(message) => {
                let taken = self.registry(end, RegistryInput::Received { from, message });
                if !taken {
                    let why = LinkEnd::Violation(Reason::cut("registry"));
                    return self.step(end, PeersInput::LinkDown { link, why });
                }
            }
            _ => {}
        }
        self.step(end, PeersInput::Heard { link });
    }

    fn say(&mut self, end: End, link: LinkId, message: Control) {
        let side = self.network.wires.get(&link).and_then(|wire| wire.side_of(end));
        if let Some(side) = side {
            self.send(link, side, Packet::Control(message));
        }
    }

    /// Steps a node's peers and carries out what they say.
    pub(crate) fn step(&mut self, end: End, input: PeersInput) {
        self.steps(end, input);
    }

    fn steps(&mut self, end: End, input: PeersInput) -> Vec<PeersOutput> {
        let (now, entropy) = (self.now, self.chance.next());
        if let PeersInput::DialRefused { by, refusal, .. } = &input {
            self.trace
                .note(now, format_args!("{by} and node {} do not link: {refusal:?}", end.node));
        }
        let Some(life) = self.life(end) else { return Vec::new() };
        let id = life.id.clone();
        let outputs = life.peers.step(now - life.started, entropy, input);
        if !outputs.is_empty() {
            self.trace.note(now, format_args!("{id} decides {outputs:?}"));
        }
        for output in outputs.clone() {
            self.carry_out(end, output);
        }
        self.wake_later(end);
        outputs
    }

    fn wake_later(&mut self, end: End) {
        if self.mutant == Some(Mutant::NeverWakes) {
            return;
        }
        let Some(life) = self.life(end) else { return };
        let Some(wakeup) = life.peers.next_wakeup() else { return };
        let at = life.started + wakeup;
        if life.wake_at.is_none_or(|already| at < already) {
            life.wake_at = Some(at);
            self.at(at, Event::Wake(end));
        }
    }

    fn carry_out(&mut self, end: End, output: PeersOutput) {
        match output {
            PeersOutput::Dial { link, endpoint, expect, held } => {
                let Some(id) = self.life(end).map(|life| life.id.clone()) else { return };
                let hello = self.machines[end.node].terms(id).hello(Lane::Control, link, held);
                self.network.wires.insert(link, Wire::new(end, endpoint, expect));
                self.send(link, Side::Dialler, Packet::Hello(hello));
                self.at(self.now + DIAL_DEADLINE, Event::DialTimedOut(link));
            }
            PeersOutput::Close { link, why } => {
                if why == LinkEnd::Leaving {
                    self.say(end, link, Control::Goodbye);
                }
                let side = self.network.wires.get(&link).and_then(|wire| wire.side_of(end));
                if let Some(side) = side {
                    self.close(link, side);
                }
            }
            PeersOutput::Ping { link, token } => self.say(end, link, Control::Ping { token }),
            PeersOutput::Swim { link, packet } => self.say(end, link, Control::Swim(packet)),
            PeersOutput::Member(event) => {
                self.told(end, &Happening::Member(&event));
                let Some(life) = self.life(end) else { return };
                let MemberEvent { member, state } = event;
                if state.is_over() {
                    life.members.remove(&member.node);
                } else {
                    life.members.insert(member.node, state);
                }
            }
            PeersOutput::Renewed { me } => {
                let Some(life) = self.life(end) else { return };
                let before = std::mem::replace(&mut life.id, me.clone());
                life.members.clear();
                self.registry(end, RegistryInput::Renewed { me });
                self.is_over(before);
            }
            PeersOutput::PeerUp { peer, link } => {
                self.told(end, &Happening::Up { peer: &peer, link });
                if let Some(life) = self.life(end) {
                    life.up.insert(peer.name.clone(), (peer.clone(), link));
                }
                self.registry(end, RegistryInput::PeerUp { peer });
            }
            PeersOutput::PeerDown { peer, link, .. } => {
                if self.mutant == Some(Mutant::ForgetsDown) {
                    return;
                }
                self.told(end, &Happening::Down { peer: &peer, link });
                if let Some(life) = self.life(end) {
                    life.up.remove(&peer.name);
                }
                if self.mutant != Some(Mutant::KeepsEntries) {
                    self.registry(end, RegistryInput::PeerDown { peer });
                }
            }
            PeersOutput::Superseded { by, .. } => {
                self.told(end, &Happening::Superseded { by: &by });
            }
            PeersOutput::Accept { .. }
            | PeersOutput::Refuse { .. }
            | PeersOutput::SeedDropped { .. } => {}
        }
    }

    /// Steps a node's registry and carries out what it says; false where the input was refused.
    pub(crate) fn registry(&mut self, end: End, input: RegistryInput) -> bool {
        let Some(life) = self.life(end) else { return true };
        let Ok(outputs) = life.registry.step(input) else { return false };
        for output in outputs {
            let Some(life) = self.life(end) else { return true };
            let mut links: Vec<(NodeId, LinkId)> = life.up.values().cloned().collect();
            match output {
                RegistryOutput::Send { to, message } => {
                    if let Some((_, link)) = links.iter().find(|(peer, _)| *peer == to) {
                        self.say(end, *link, Control::Registry(message));
                        self.at(self.now + WRITING, Event::Room(end, to));
                    }
                }
                RegistryOutput::Broadcast(message) => {
                    if self.mutant == Some(Mutant::HashOrder) {
                        let shuffled: HashSet<_> = links
                            .drain(..)
                            .map(|(peer, link)| (peer.to_string(), link.0))
                            .collect();
                        for (_, link) in shuffled {
                            self.say(end, LinkId(link), Control::Registry(message.clone()));
                        }
                    }
                    for (_, link) in links {
                        self.say(end, link, Control::Registry(message.clone()));
                    }
                }
                RegistryOutput::Event(event) => self.told(end, &Happening::Entry(&event)),
                RegistryOutput::Overflow { .. } => {}
            }
        }
        true
    }

    /// Registers something, changes it, says how it does, or takes it back.
    fn work(&mut self, end: End) {
        let name = NAMES[self.chance.below(NAMES.len())];
        let name = EntryName::new(name).expect("a word is a name");
        let actor = self.chance.below(ACTORS) as u64;
        let (draw, count) = (self.chance.below(8), self.chance.next());
        let Some(life) = self.life(end) else { return };
        let key = EntryKey { name: name.clone(), actor };
        let input = match draw {
            0 => {
                life.own.remove(&key);
                RegistryInput::Unregister { name, actor }
            }
            1 => {
                life.own.retain(|key, _| key.actor != actor);
                RegistryInput::ActorEnded { actor }
            }
            2 => {
                let health = HEALTHS[count as usize % HEALTHS.len()];
                if let Some(entry) = life.own.get_mut(&key) {
                    *entry = entry.clone().in_health(health);
                }
                RegistryInput::Health { name, actor, health }
            }
            3 => {
                // Small entries, and few: all fit into one message.
                let depth = count % 100;
                for (_, entry) in life.own.iter_mut().filter(|(key, _)| key.actor == actor) {
                    *entry = entry.clone().under_load(Load::of(depth));
                }
                RegistryInput::Depths { depths: [(actor, depth)].into() }
            }
            _ => {
                let entry = entry(self.now.as_micros() as u64, count);
                let Some(life) = self.life(end) else { return };
                life.own.insert(key, entry.clone());
                RegistryInput::Register { name, actor, entry }
            }
        };
        self.registry(end, input);
    }

    /// A mutant's: the network brings back a dead life, and what it had registered.
    pub(crate) fn haunt(&mut self, ghost: &NodeId) {
        let victim = self.machines.iter().position(|machine| {
            machine.name != ghost.name
                && machine.running.as_ref().is_some_and(|life| life.paused_until.is_none())
        });
        let Some(node) = victim else { return };
        let end = End { node, life: self.machines[node].lives };
        let machine = self.machines.iter().find(|machine| machine.name == ghost.name);
        let terms = machine.expect("every life is a machine's").terms(ghost.clone());
        let link = LinkId(self.chance.next());
        for lane in [Lane::Control, Lane::Data] {
            let hello = terms.hello(lane, link, Held::default());
            self.step(end, PeersInput::HelloReceived { token: 0, hello });
        }
        let (peer, listen) = (ghost.clone(), terms.listen.clone());
        self.step(end, PeersInput::LinkUp { link, peer, listen });
        let key = EntryKey { name: EntryName::cut("ghost"), actor: 1 };
        let message = ReplicaMessage::Snapshot {
            origin: ghost.clone(),
            version: 1,
            part: 0,
            last: true,
            entries: vec![(key, entry(0, 0))],
        };
        self.registry(end, RegistryInput::Received { from: ghost.clone(), message });
    }
}

/// An entry that tells how new it is.
fn entry(count: u64, salt: u64) -> Entry {
    let entry = Entry::new(SchemaName::new("sim.Order").expect("a word is a name"));
    let detail = |key: &str, value: String| {
        (Tag::new(key).expect("a word is a tag"), value.try_into().expect("digits are text"))
    };
    let (key, value) = detail(COUNT, count.to_string());
    let entry = entry.detail(key, value).expect("one of sixteen");
    let (key, value) = detail("salt", (salt % 1000).to_string());
    entry.detail(key, value).expect("two of sixteen")
}
