//! The simulated network: byte streams between machines, and what is wrong with them.

#[cfg(test)]
mod conformance_tests;
mod connection;
mod listener;
mod path;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use umbel_protocol::Identity;

use crate::chance::Chance;
use crate::mutant::Mutant;
use crate::trace::Trace;

pub(crate) use self::connection::Side;
use self::connection::{Connection, Payload};
use self::listener::Door;
pub(crate) use self::path::Condition;
use self::path::Path;
pub(crate) use self::transport::SimTransport;

/// What one direction of a connection holds before its writer waits: of the size of a socket's buffer.
const WINDOW_BYTES: usize = 64 * 1024;

/// A machine and one life of the process on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) machine: usize,
    pub(crate) life: u32,
}

/// What is under way to one machine, by the time at which it arrives, in order.
type Due = BTreeMap<(Duration, u64), (u64, Side, Payload)>;

/// What the network knows of a machine.
#[derive(Clone, Copy, Debug)]
struct Presence {
    /// Which life of its process runs, if one does.
    life: Option<u32>,
    has_power: bool,
}

/// Reliable byte streams, as an application sees those of TCP: in order, or broken. What is sent over a
/// cut arrives when it mends; nothing else is ever lost, but with the machine that it was on.
pub(crate) struct Network {
    now: Duration,
    seed: u64,
    trace: Trace,
    machines: Vec<Presence>,
    /// How often each machine has dialled each address.
    dials: BTreeMap<(usize, String), u64>,
    doors: BTreeMap<String, Door>,
    /// Whose an address is; it stays so when nobody listens.
    addresses: BTreeMap<String, usize>,
    connections: BTreeMap<u64, Connection>,
    paths: BTreeMap<(usize, usize), Path>,
    /// Ends that nothing reaches, until when.
    stalls: BTreeMap<(u64, Side), Duration>,
    due: Vec<Due>,
    sequence: u64,
    /// When points of the code strike, by machine.
    rare: BTreeMap<(usize, &'static str), Chance>,
    /// Whether anything goes wrong still.
    faulty: bool,
    mutant: Option<Mutant>,
    /// What [`Mutant::Overtakes`] keeps until more is written at the same end.
    kept_back: BTreeMap<(u64, Side), Payload>,
}

impl Network {
    pub(crate) fn new(machines: usize, seed: u64, keep_lines: bool) -> Self {
        let presence = Presence { life: None, has_power: true };
        Self {
            now: Duration::ZERO,
            seed,
            trace: Trace::new(keep_lines),
            machines: vec![presence; machines],
            dials: BTreeMap::new(),
            doors: BTreeMap::new(),
            addresses: BTreeMap::new(),
            connections: BTreeMap::new(),
            paths: BTreeMap::new(),
            stalls: BTreeMap::new(),
            due: vec![Due::new(); machines],
            sequence: 0,
            rare: BTreeMap::new(),
            faulty: true,
            mutant: None,
            kept_back: BTreeMap::new(),
        }
    }

    /// With a bug on purpose.
    pub(crate) fn mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// A number of the world's chance for one life of one process, and for one purpose.
    pub(crate) fn draw(&self, place: Place, purpose: u64) -> u64 {
        let name = [place.machine as u64, u64::from(place.life), purpose];
        Chance::of(self.seed, &name).next()
    }

    /// Whether something rare happens now. Of its points, a world has some that strike now and then, and
    /// others that never do, so that one does not hide behind the other.
    pub(crate) fn strikes(&mut self, place: Place, point: &'static str) -> bool {
        let name: Vec<_> = point.bytes().map(u64::from).collect();
        let mut of_world = Chance::of(self.seed, &name);
        let at = [of_world.next(), place.machine as u64, u64::from(place.life)];
        let chance =
            self.rare.entry((place.machine, point)).or_insert_with(|| Chance::of(self.seed, &at));
        let strikes = chance.one_in(5);
        of_world.one_in(3) && self.faulty && strikes
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
        let mended = self.paths.iter_mut().map(|(way, path)| (*way, path.mend(now)));
        for (way, mended) in mended.collect::<Vec<_>>() {
            if mended.pace {
                self.hasten(way);
            }
            if mended.cut {
                self.release(way);
            }
        }
        self.paths.retain(|_, path| !path.is_clear());
        let moving: Vec<_> = self.stalls.extract_if(.., |_, until| *until <= now).collect();
        for ((number, side), _) in moving {
            self.release_end(number, side);
        }
    }

    // --- Machines ---------------------------------------------------------------------------------

    pub(crate) fn process_started(&mut self, place: Place) {
        let presence = &mut self.machines[place.machine];
        *presence = Presence { life: Some(place.life), has_power: true };
    }

    /// The process on a machine ends: the kernel closes what it had open, unless it has ended, too.
    pub(crate) fn process_ended(&mut self, place: Place, with_power: bool) {
        let presence = &mut self.machines[place.machine];
        presence.life = None;
        presence.has_power = !with_power;
        self.doors.retain(|_, door| door.place() != place);
        if with_power {
            self.power_lost(place.machine);
        }
        let held: Vec<_> = self
            .connections
            .iter()
            .flat_map(|(number, connection)| {
                let ours = move |side: &Side| connection.is_held_by(*side, place);
                Side::BOTH.into_iter().filter(ours).map(move |side| (*number, side))
            })
            .collect();
        for (number, side) in held {
            self.drop_end(number, side, !with_power);
        }
    }

    /// A machine is without power: its kernel does nothing any more.
    pub(crate) fn power_lost(&mut self, machine: usize) {
        self.machines[machine].has_power = false;
        self.due[machine].clear();
        // What a cut holds is with its sender's kernel, which would have sent it again.
        for connection in self.connections.values_mut() {
            for side in Side::BOTH {
                if connection.way(side).is_some_and(|(from, _)| from == machine) {
                    connection.end(side).take_held();
                }
            }
        }
    }

    /// Whether this life of the process is the one that runs.
    pub(crate) fn runs(&self, place: Place) -> bool {
        self.machines[place.machine].life == Some(place.life)
    }

    // --- Faults -----------------------------------------------------------------------------------

    pub(crate) fn spoil(&mut self, from: usize, to: usize, condition: Condition) {
        self.paths.entry((from, to)).or_default().spoil(condition);
    }

    /// All paths are as good as they were.
    pub(crate) fn mend(&mut self) {
        self.faulty = false;
        for (number, side) in std::mem::take(&mut self.stalls).into_keys() {
            self.release_end(number, side);
        }
        for way in std::mem::take(&mut self.paths).into_keys() {
            self.hasten(way);
            self.release(way);
        }
    }

    /// The connections that there are stand still one way until then.
    pub(crate) fn stall(&mut self, from: usize, to: usize, until: Duration) {
        for (number, connection) in &self.connections {
            for side in Side::BOTH {
                if connection.way(side) == Some((from, to)) {
                    self.stalls.insert((*number, side), until);
                }
            }
        }
    }

    fn between(&self, a: usize, b: usize) -> Vec<u64> {
        let between = |connection: &Connection| {
            let ends = connection.machines();
            ends == [Some(a), Some(b)] || ends == [Some(b), Some(a)]
        };
        self.connections.iter().filter(|(_, one)| between(one)).map(|(number, _)| *number).collect()
    }

    /// All connections between two machines end with an error at both ends; what is under way is lost.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        for number in self.between(a, b) {
            for side in Side::BOTH {
                for due in &mut self.due {
                    due.retain(|_, (one, to, _)| (*one, *to) != (number, side));
                }
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.end(side).take_held();
                }
                self.post(number, side, Payload::Reset);
            }
        }
    }

    /// All connections between two machines swallow what is sent from now on and what is under way, and
    /// nobody is told. New connections work. (A middlebox that has lost its table does that.)
    pub(crate) fn swallow(&mut self, a: usize, b: usize) {
        for number in self.between(a, b) {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.swallows = true;
            }
        }
    }

    // --- Packets ----------------------------------------------------------------------------------

    fn post(&mut self, number: u64, to: Side, payload: Payload) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.swallows {
            return;
        }
        let Some(way) = connection.way(to) else { return };
        let path = self.paths.get_mut(&way);
        let stalled = self.stalls.contains_key(&(number, to));
        if stalled || path.as_ref().is_some_and(|path| path.is_cut()) || connection.end(to).holds()
        {
            connection.end(to).hold(payload);
            return;
        }
        // Most packets take some milliseconds; one in fifty meets a queue.
        let chance = connection.end(to).chance();
        let millis = match chance.below(50) {
            0 => 5 + chance.below(100),
            _ => 1 + chance.below(3),
        };
        let (now, latency) = (self.now, Duration::from_millis(millis as u64));
        let at = path.map_or(now + latency, |path| path.arrival(now, latency, payload.bytes()));
        let at = connection.end(to).arrives(at);
        self.sequence += 1;
        self.due[way.1].insert((at, self.sequence), (number, to, payload));
    }

    /// What a cut has held goes on its way, in its order.
    fn release(&mut self, way: (usize, usize)) {
        let ends = self.connections.iter().flat_map(|(number, connection)| {
            Side::BOTH.map(|side| (*number, side, connection.way(side)))
        });
        let held: Vec<_> = ends.filter(|(_, _, one)| *one == Some(way)).collect();
        for (number, side, _) in held {
            self.release_end(number, side);
        }
    }

    /// What is under way on a path that is fast again arrives soon, in its order.
    fn hasten(&mut self, way: (usize, usize)) {
        let Self { due, connections, .. } = self;
        let on_way = |_: &_, (number, side, _): &mut (u64, Side, Payload)| {
            connections.get(number).is_some_and(|one| one.way(*side) == Some(way))
        };
        let under_way: Vec<_> = due[way.1].extract_if(.., on_way).collect();
        for (_, (number, side, _)) in &under_way {
            if let Some(connection) = self.connections.get_mut(number) {
                connection.end(*side).hasten();
            }
        }
        // Not sent anew: what a cut holds was sent after it.
        for (_, (number, side, payload)) in under_way {
            if let Some(connection) = self.connections.get_mut(&number) {
                let end = connection.end(side);
                let millis = 1 + end.chance().below(3) as u64;
                let at = end.arrives(self.now + Duration::from_millis(millis));
                self.sequence += 1;
                self.due[way.1].insert((at, self.sequence), (number, side, payload));
            }
        }
    }

    fn release_end(&mut self, number: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for payload in connection.end(side).take_held() {
            // What is still cut is held once more, in the same order.
            self.post(number, side, payload);
        }
    }

    /// Gives a machine what has arrived for it; who is to be woken.
    pub(crate) fn deliver(&mut self, machine: usize) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(entry) = self.due[machine].first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (number, side, payload) = entry.remove();
            self.arrive(machine, number, side, payload, &mut woken);
        }
        woken
    }

    fn arrive(
        &mut self,
        machine: usize,
        number: u64,
        side: Side,
        payload: Payload,
        woken: &mut Vec<Waker>,
    ) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.swallows {
            return;
        }
        let (now, presence) = (self.now, self.machines[machine]);
        self.trace.arrives(now, machine, format_args!("{number}{side} {payload}"));
        if let Payload::Knock = payload {
            let address = connection.address.clone();
            match (self.doors.get_mut(&address), presence.life) {
                (Some(door), Some(life)) if door.has_room() => {
                    connection.end(Side::Acceptor).place = Some(Place { machine, life });
                    woken.extend(door.knock(number));
                }
                (Some(_), _) => {}
                (None, _) if presence.has_power => {
                    self.post(number, Side::Dialler, Payload::Refused)
                }
                (None, _) => {}
            }
            return;
        }
        let end = connection.end(side);
        let there = end.place.is_some_and(|place| presence.life == Some(place.life));
        if there && !end.is_dropped() {
            woken.extend(end.take(payload));
        } else if presence.has_power && payload.wants_answer() {
            self.post(number, side.other(), Payload::Reset);
        }
    }

    // --- What streams do --------------------------------------------------------------------------

    fn knock(&mut self, from: Place, identity: Identity, address: &str) -> u64 {
        self.sequence += 1;
        let number = self.sequence;
        let to = self.addresses.get(address).copied();
        let dials = self.dials.entry((from.machine, address.to_owned())).or_default();
        *dials += 1;
        let name = [from.machine as u64, to.map_or(u64::MAX, |to| to as u64), *dials];
        let seed = Chance::of(self.seed, &name).next();
        let mut connection = Connection::new(from, identity, address.to_owned(), to, seed);
        if to.is_none() {
            connection.end(Side::Dialler).take(Payload::Refused);
        }
        let path = to.and_then(|to| self.paths.get(&(from.machine, to)));
        connection.swallows = path.is_some_and(Path::is_half_open);
        self.connections.insert(number, connection);
        self.post(number, Side::Acceptor, Payload::Knock);
        number
    }

    fn write(
        &mut self,
        number: u64,
        side: Side,
        bytes: &[u8],
        waker: &Waker,
    ) -> connection::Written {
        let Some(connection) = self.connections.get_mut(&number) else {
            return connection::Written::Broken;
        };
        let written = connection.end(side).write(bytes, waker);
        if let connection::Written::Bytes(count) = written
            && count > 0
        {
            let payload = Payload::Bytes(bytes[..count].to_vec());
            let mutant = self.mutant.filter(|_| count == bytes.len() && is_of_actors(bytes));
            let drawn = mutant.map(|_| connection.end(side).chance().below(8));
            match (mutant, drawn) {
                (Some(Mutant::Repeats), Some(0)) => {
                    self.post(number, side.other(), payload.clone());
                    self.post(number, side.other(), payload);
                }
                (Some(Mutant::Overtakes), Some(0..4)) => {
                    let before = self.kept_back.insert((number, side), payload);
                    before.into_iter().for_each(|one| self.post(number, side.other(), one));
                }
                _ => {
                    self.post(number, side.other(), payload);
                    let after = self.kept_back.remove(&(number, side));
                    after.into_iter().for_each(|one| self.post(number, side.other(), one));
                }
            }
        }
        written
    }

    fn read(&mut self, number: u64, side: Side, room: usize, waker: &Waker) -> connection::Read {
        let Some(connection) = self.connections.get_mut(&number) else {
            return connection::Read::Reset;
        };
        // Bytes have no borders: now and then a read finds some of them only.
        let chance = connection.end(side).chance();
        let room = match self.faulty && chance.one_in(20) {
            true => 1 + chance.below(room.min(64)),
            false => room,
        };
        let (read, acknowledge) = connection.end(side).read(room, waker);
        if acknowledge > 0 {
            self.post(number, side.other(), Payload::Acknowledge(acknowledge));
        }
        read
    }

    fn shut_down(&mut self, number: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.end(side).shut_down() {
            self.post(number, side.other(), Payload::Done);
        }
    }

    fn drop_stream(&mut self, number: u64, side: Side) {
        let place = self.connections.get_mut(&number).and_then(|one| one.end(side).place);
        let told = place.is_some_and(|place| self.runs(place));
        self.drop_end(number, side, told);
    }

    /// One end is dropped. With `told`, its kernel tells the other.
    fn drop_end(&mut self, number: u64, side: Side, told: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.end(side).is_dropped() {
            return;
        }
        let was_shut_down = connection.end(side).drop_end();
        if told && !was_shut_down {
            self.post(number, side.other(), Payload::Gone);
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.is_over() {
            self.connections.remove(&number);
        }
    }
}

/// Whether that is whole frames with messages of the cast: what a mutant tampers with must be frames still.
fn is_of_actors(bytes: &[u8]) -> bool {
    let mark = b"/talker";
    bytes.windows(mark.len()).any(|window| window == mark)
}
