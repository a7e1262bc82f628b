use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::Incarnation;

type Copy = Replica<u32, u32>;
type Message = ReplicaMessage<u32, u32>;
type Output = ReplicaOutput<u32, u32>;

fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn limits(entries_max: usize, origins_max: usize, message_entries_max: usize) -> ReplicaLimits {
    ReplicaLimits { entries_max, origins_max, message_entries_max }
}

fn copy(name: &str) -> Copy {
    Replica::new(node(name, 1), limits(4, 2, 2))
}

fn up(copy: &mut Copy, peer: NodeId) -> Vec<Output> {
    copy.step(ReplicaInput::PeerUp { peer }).unwrap()
}

fn room(copy: &mut Copy, peer: NodeId) -> Vec<Output> {
    copy.step(ReplicaInput::Room { peer }).unwrap()
}

fn put(copy: &mut Copy, key: u32, value: u32) -> Vec<Output> {
    copy.step(ReplicaInput::Put { key, value }).unwrap()
}

fn receive(copy: &mut Copy, from: NodeId, message: Message) -> Stepped<u32, u32> {
    copy.step(ReplicaInput::Received { from, message })
}

fn snapshot(origin: NodeId, version: u64, entries: &[(u32, u32)]) -> Message {
    ReplicaMessage::Snapshot { origin, version, part: 0, last: true, entries: entries.to_vec() }
}

fn delta(origin: NodeId, from: u64, changes: Vec<Change<u32, u32>>) -> Message {
    ReplicaMessage::Delta { origin, from, to: from + 1, changes }
}

fn event(origin: NodeId, key: u32, kind: ReplicaEventKind<u32>) -> Output {
    ReplicaOutput::Event(ReplicaEvent { origin, key, kind })
}

fn added(value: u32) -> ReplicaEventKind<u32> {
    ReplicaEventKind::Added { value }
}

/// A copy `b` that has taken version 3 of `a`: 1 -> 10, 2 -> 20.
fn informed() -> Copy {
    let mut b = copy("b");
    up(&mut b, node("a", 1));
    receive(&mut b, node("a", 1), snapshot(node("a", 1), 3, &[(1, 10), (2, 20)])).unwrap();
    b
}

#[test]
fn a_change_is_announced_and_sent_and_the_same_once_more_is_not() {
    let mut a = copy("a");
    let me = node("a", 1);
    let change = Change::Put { key: 1, value: 10 };
    let sent = ReplicaOutput::Broadcast(delta(me.clone(), 0, vec![change]));
    assert_eq!(put(&mut a, 1, 10), [event(me.clone(), 1, added(10)), sent]);
    assert_eq!(put(&mut a, 1, 10), []);
    let changed = ReplicaEventKind::Changed { value: 11, was: 10 };
    assert_eq!(put(&mut a, 1, 11)[0], event(me.clone(), 1, changed));
    let removed = a.step(ReplicaInput::Remove { key: 1 }).unwrap();
    assert_eq!(removed[0], event(me, 1, ReplicaEventKind::Removed { was: 11 }));
    assert_eq!(a.step(ReplicaInput::Remove { key: 1 }), Ok(vec![]));
}

#[test]
fn a_peer_that_comes_up_is_sent_everything_in_parts() {
    let mut a = copy("a");
    for key in 0..3 {
        put(&mut a, key, key);
    }
    let part = |part, version, last, entries| {
        let (to, origin) = (node("b", 1), node("a", 1));
        let message = ReplicaMessage::Snapshot { origin, version, part, last, entries };
        vec![Output::Send { to, message }]
    };
    assert_eq!(up(&mut a, node("b", 1)), part(0, 3, false, vec![(0, 0), (1, 1)]));
    put(&mut a, 3, 3);
    assert_eq!(room(&mut a, node("b", 1)), part(1, 4, true, vec![(2, 2), (3, 3)]));
    assert_eq!(room(&mut a, node("b", 1)), [], "that was all");
    assert_eq!(room(&mut a, node("b", 2)), [], "nor does another life get any");
}

#[test]
fn changes_between_the_parts_of_a_snapshot_are_in_it() {
    let mut a = copy("a");
    for key in [1, 2, 3, 5] {
        put(&mut a, key, 0);
    }
    let mut messages = up(&mut a, node("b", 1));
    messages.extend(a.step(ReplicaInput::Remove { key: 1 }).unwrap());
    messages.extend(put(&mut a, 2, 7));
    messages.extend(a.step(ReplicaInput::Remove { key: 3 }).unwrap());
    messages.extend(put(&mut a, 4, 8));
    messages.extend(room(&mut a, node("b", 1)));
    let mut b = copy("b");
    up(&mut b, node("a", 1));
    for message in messages {
        if let Output::Send { message, .. } | Output::Broadcast(message) = message {
            assert_eq!(b.count_of(&node("a", 1)), 0, "nothing is told before all is known");
            receive(&mut b, node("a", 1), message).unwrap();
        }
    }
    assert_eq!(b.origins[&node("a", 1).name].entries, a.own);
    let next = put(&mut a, 9, 9);
    let Output::Broadcast(next) = next[1].clone() else { panic!("{next:?}") };
    assert_eq!(receive(&mut b, node("a", 1), next).unwrap().len(), 1, "and it goes on from there");
}

#[test]
fn a_peer_that_asks_for_a_snapshot_while_it_is_sent_one_is_sent_no_other() {
    let mut a = copy("a");
    for key in 0..3 {
        put(&mut a, key, key);
    }
    up(&mut a, node("b", 1));
    put(&mut a, 3, 3);
    let request = ReplicaMessage::SyncRequest { origin: node("a", 1), have: 77 };
    assert_eq!(receive(&mut a, node("b", 1), request), Ok(vec![]));
}

#[test]
fn several_changes_are_made_together_and_go_out_in_full_messages() {
    let mut a = copy("a");
    put(&mut a, 1, 10);
    let put_ = |key, value| Change::Put { key, value };
    let changes = vec![put_(2, 20), Change::Remove { key: 1 }, put_(2, 20), put_(3, 30)];
    let outputs = a.step(ReplicaInput::Write { changes }).unwrap();
    let me = node("a", 1);
    let expected = [
        event(me.clone(), 2, added(20)),
        event(me.clone(), 1, ReplicaEventKind::Removed { was: 10 }),
        event(me.clone(), 3, added(30)),
        Output::Broadcast(delta(me.clone(), 1, vec![put_(2, 20), Change::Remove { key: 1 }])),
        Output::Broadcast(delta(me, 2, vec![put_(3, 30)])),
    ];
    assert_eq!(outputs, expected);
    let too_many = (4..8).map(|key| put_(key, 0)).collect();
    let full = Err(ReplicaError::Full { entries_max: 4 });
    assert_eq!(a.step(ReplicaInput::Write { changes: too_many }), full);
    assert_eq!(a.own.len(), 2, "all or none");
}

#[test]
fn a_snapshot_says_only_what_differs_removals_first() {
    let mut b = informed();
    let a = node("a", 1);
    let entries = [(0, 5), (2, 21), (3, 30)];
    let events = receive(&mut b, a.clone(), snapshot(a.clone(), 9, &entries)).unwrap();
    let changed = ReplicaEventKind::Changed { value: 21, was: 20 };
    let expected = [
        event(a.clone(), 1, ReplicaEventKind::Removed { was: 10 }),
        event(a.clone(), 0, added(5)),
        event(a.clone(), 2, changed),
        event(a, 3, added(30)),
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_missed_delta_is_asked_for_once_and_made_up_for() {
    let mut b = informed();
    let a = node("a", 1);
    let changes = || vec![Change::Put { key: 3, value: 30 }];
    let message = ReplicaMessage::SyncRequest { origin: a.clone(), have: 3 };
    let ask = Output::Send { to: a.clone(), message };
    assert_eq!(receive(&mut b, a.clone(), delta(a.clone(), 4, changes())), Ok(vec![ask]));
    assert_eq!(receive(&mut b, a.clone(), delta(a.clone(), 5, changes())), Ok(vec![]));
    receive(&mut b, a.clone(), snapshot(a.clone(), 6, &[(3, 30)])).unwrap();
    let events = receive(&mut b, a.clone(), delta(a.clone(), 6, changes()));
    assert_eq!(events, Ok(vec![]), "it is the same value");
    assert_eq!(b.count_of(&a), 1);
}

#[test]
fn an_old_delta_changes_nothing() {
    let mut b = informed();
    let a = node("a", 1);
    let old = delta(a.clone(), 2, vec![Change::Remove { key: 1 }]);
    assert_eq!(receive(&mut b, a.clone(), old), Ok(vec![]));
    assert_eq!(b.get(&a, &1), Some(&10));
}

#[test]
fn a_sync_request_is_answered_once_for_each_version() {
    let mut a = copy("a");
    let b = node("b", 1);
    up(&mut a, b.clone());
    let request = || ReplicaMessage::SyncRequest { origin: node("a", 1), have: 77 };
    assert_eq!(receive(&mut a, b.clone(), request()), Ok(vec![]), "it has just been sent");
    put(&mut a, 1, 10);
    assert_eq!(receive(&mut a, b.clone(), request()).unwrap().len(), 1);
    assert_eq!(receive(&mut a, b, request()), Ok(vec![]));
}

#[test]
fn what_a_node_wrote_vanishes_when_it_is_down() {
    let mut b = informed();
    let a = node("a", 1);
    let gone = b.step(ReplicaInput::PeerDown { peer: a.clone() }).unwrap();
    let removed = |key, was| event(a.clone(), key, ReplicaEventKind::Removed { was });
    assert_eq!(gone, [removed(1, 10), removed(2, 20)]);
    let late = snapshot(a.clone(), 9, &[(1, 10)]);
    assert_eq!(receive(&mut b, a.clone(), late), Ok(vec![]), "a late message brings nothing back");
    assert_eq!(b.iter().count(), 0);
}

#[test]
fn an_earlier_life_brings_nothing_back() {
    let mut b = informed();
    let (first, second) = (node("a", 1), node("a", 2));
    let gone = up(&mut b, second.clone());
    assert_eq!(gone.iter().filter(|it| matches!(it, Output::Event(_))).count(), 2);
    b.step(ReplicaInput::PeerDown { peer: second }).unwrap();
    assert_eq!(up(&mut b, first.clone()), []);
    let late = snapshot(first.clone(), 9, &[(1, 10)]);
    assert_eq!(receive(&mut b, first, late), Ok(vec![]));
    assert_eq!(b.iter().count(), 0);
}

#[test]
fn a_late_word_that_an_earlier_life_is_down_does_not_touch_the_later_one() {
    let mut b = informed();
    let second = node("a", 2);
    up(&mut b, second.clone());
    receive(&mut b, second.clone(), snapshot(second.clone(), 1, &[(1, 10)])).unwrap();
    let first = node("a", 1);
    assert_eq!(b.step(ReplicaInput::PeerDown { peer: first.clone() }), Ok(vec![]));
    let late = snapshot(first.clone(), 9, &[]);
    assert_eq!(receive(&mut b, first, late), Ok(vec![]), "nor does what it said last");
    assert_eq!(b.count_of(&second), 1);
}

#[test]
fn nobody_speaks_for_another() {
    let mut b = informed();
    up(&mut b, node("c", 1));
    for origin in [node("a", 1), node("b", 1), node("c", 2)] {
        for message in [snapshot(origin.clone(), 99, &[]), delta(origin.clone(), 3, vec![])] {
            let refused = receive(&mut b, node("c", 1), message);
            let from = node("c", 1);
            let not_its_own = ReplicaError::NotItsOwn { from, origin: origin.clone() };
            assert_eq!(refused, Err(not_its_own));
        }
    }
    let request = ReplicaMessage::SyncRequest { origin: node("a", 1), have: 0 };
    assert!(receive(&mut b, node("c", 1), request).is_err(), "nor asks one for another's entries");
    assert_eq!(b.count_of(&node("a", 1)), 2);
}

#[test]
fn numbers_that_contradict_one_another_are_refused() {
    let a = node("a", 1);
    let part = |part, last, version| ReplicaMessage::Snapshot {
        origin: node("a", 1),
        version,
        part,
        last,
        entries: vec![],
    };
    let between = |from| delta(node("a", 1), from, vec![]);
    let malformed = Err(ReplicaError::Malformed { from: a.clone() });
    for wrong in [
        vec![part(1, true, 9)],
        vec![part(0, false, 9), part(2, true, 9)],
        vec![part(0, false, 9), part(1, true, 8)],
        vec![part(u32::MAX, true, 9)],
        vec![part(0, false, 9), between(3)],
        vec![part(0, false, 9), between(9), between(9)],
        vec![part(0, false, 9), between(9), part(1, true, 9)],
        vec![ReplicaMessage::Delta { origin: a.clone(), from: 3, to: 3, changes: vec![] }],
        vec![ReplicaMessage::Delta { origin: a.clone(), from: u64::MAX, to: 0, changes: vec![] }],
    ] {
        let mut b = informed();
        let results: Vec<_> =
            wrong.into_iter().map(|message| receive(&mut b, a.clone(), message)).collect();
        assert_eq!(results.last(), Some(&malformed));
        assert_eq!(b.count_of(&a), 2, "the map is as it was");
    }
}

#[test]
fn a_node_writes_as_many_entries_as_allowed_and_no_more() {
    let mut a = copy("a");
    for key in 0..4 {
        put(&mut a, key, 0);
    }
    let full = Err(ReplicaError::Full { entries_max: 4 });
    assert_eq!(a.step(ReplicaInput::Put { key: 4, value: 0 }), full);
    assert!(!put(&mut a, 3, 1).is_empty(), "a new value for an old key needs no room");
    a.step(ReplicaInput::Remove { key: 0 }).unwrap();
    assert!(!put(&mut a, 4, 0).is_empty());
}

#[test]
fn what_a_peer_has_beyond_the_bound_is_left_out_and_said_so() {
    let a = node("a", 1);
    let mut b = informed();
    let entries: Vec<(u32, u32)> = (0..7).map(|key| (key, key)).collect();
    let outputs = receive(&mut b, a.clone(), snapshot(a.clone(), 9, &entries)).unwrap();
    let overflow = |left_out| Output::Overflow { origin: a.clone(), left_out };
    assert_eq!(outputs.last(), Some(&overflow(3)));
    assert_eq!(b.count_of(&a), 4);
    let change = |key| delta(a.clone(), 9, vec![Change::Put { key, value: 0 }]);
    assert_eq!(receive(&mut b, a.clone(), change(8)), Ok(vec![overflow(1)]));
    assert_eq!(b.count_of(&a), 4);
}

#[test]
fn at_the_bound_who_has_been_down_for_longest_is_forgotten() {
    let mut m = copy("m");
    up(&mut m, node("a", 5));
    up(&mut m, node("b", 5));
    let full = Err(ReplicaError::TooManyOrigins { origins_max: 2 });
    assert_eq!(m.step(ReplicaInput::PeerUp { peer: node("c", 1) }), full);
    m.step(ReplicaInput::PeerDown { peer: node("b", 5) }).unwrap();
    m.step(ReplicaInput::PeerDown { peer: node("a", 5) }).unwrap();
    up(&mut m, node("c", 1));
    assert_eq!(up(&mut m, node("a", 4)), [], "its last life is remembered still");
    assert!(!up(&mut m, node("b", 4)).is_empty(), "this one's is not");
}

#[derive(Clone, Debug)]
enum Action {
    Put { at: usize, key: u32, value: u32 },
    Remove { at: usize, key: u32 },
    Connect { a: usize, b: usize },
    Disconnect { a: usize, b: usize },
    Restart { at: usize },
    Deliver { from: usize, to: usize, count: usize },
    Room { from: usize, to: usize },
}

const NODES: usize = 4;

fn action() -> impl Strategy<Value = Action> {
    let at = || 0..NODES;
    prop_oneof![
        6 => (at(), 0..6_u32, 0..3_u32).prop_map(|(at, key, value)| Action::Put { at, key, value }),
        3 => (at(), 0..6_u32).prop_map(|(at, key)| Action::Remove { at, key }),
        4 => (at(), at()).prop_map(|(a, b)| Action::Connect { a, b }),
        2 => (at(), at()).prop_map(|(a, b)| Action::Disconnect { a, b }),
        1 => at().prop_map(|at| Action::Restart { at }),
        8 => (at(), at(), 1..5_usize)
            .prop_map(|(from, to, count)| Action::Deliver { from, to, count }),
        4 => (at(), at()).prop_map(|(from, to)| Action::Room { from, to }),
    ]
}

/// Copies, and channels between them that keep order and lose all when a link goes down.
struct World {
    copies: Vec<Copy>,
    /// What each copy's events amount to.
    told: Vec<BTreeMap<(NodeId, u32), u32>>,
    channels: BTreeMap<(usize, usize), VecDeque<Message>>,
}

impl World {
    fn new() -> Self {
        let copies = (0..NODES).map(|at| Self::copy(at, 1)).collect();
        Self { copies, told: vec![BTreeMap::new(); NODES], channels: BTreeMap::new() }
    }

    fn copy(at: usize, incarnation: u64) -> Copy {
        Replica::new(node(&format!("n{at}"), incarnation), limits(16, 16, 2))
    }

    fn id(&self, at: usize) -> NodeId {
        self.copies[at].me().clone()
    }

    fn step(&mut self, at: usize, input: ReplicaInput<u32, u32>) {
        for output in self.copies[at].step(input).unwrap() {
            match output {
                Output::Send { to, message } => {
                    let to = (0..NODES).find(|other| self.id(*other).name == to.name).unwrap();
                    self.channels.get_mut(&(at, to)).unwrap().push_back(message);
                }
                Output::Broadcast(message) => {
                    let mine = self.channels.iter_mut().filter(|((from, _), _)| *from == at);
                    mine.for_each(|(_, channel)| channel.push_back(message.clone()));
                }
                Output::Event(ReplicaEvent { origin, key, kind }) => {
                    let told = &mut self.told[at];
                    let key = (origin, key);
                    let (before, expected) = match kind {
                        ReplicaEventKind::Added { value } => (told.insert(key, value), None),
                        ReplicaEventKind::Changed { value, was } => {
                            (told.insert(key, value), Some(was))
                        }
                        ReplicaEventKind::Removed { was } => (told.remove(&key), Some(was)),
                    };
                    assert_eq!(before, expected, "events tell what happened");
                }
                Output::Overflow { .. } => panic!("nothing overflows here"),
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a != b && !self.channels.contains_key(&(a, b)) {
            self.channels.insert((a, b), VecDeque::new());
            self.channels.insert((b, a), VecDeque::new());
            let (a_id, b_id) = (self.id(a), self.id(b));
            self.step(a, ReplicaInput::PeerUp { peer: b_id });
            self.step(b, ReplicaInput::PeerUp { peer: a_id });
        }
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        if self.channels.remove(&(a, b)).is_some() {
            self.channels.remove(&(b, a));
            let (a_id, b_id) = (self.id(a), self.id(b));
            self.step(a, ReplicaInput::PeerDown { peer: b_id });
            self.step(b, ReplicaInput::PeerDown { peer: a_id });
        }
    }

    fn deliver(&mut self, from: usize, to: usize, count: usize) {
        let from_id = self.id(from);
        for _ in 0..count {
            let message = self.channels.get_mut(&(from, to)).and_then(VecDeque::pop_front);
            let Some(message) = message else { return };
            self.step(to, ReplicaInput::Received { from: from_id.clone(), message });
        }
    }

    fn room(&mut self, from: usize, to: usize) {
        if self.channels.contains_key(&(from, to)) {
            let peer = self.id(to);
            self.step(from, ReplicaInput::Room { peer });
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Put { at, key, value } => self.step(at, ReplicaInput::Put { key, value }),
            Action::Remove { at, key } => self.step(at, ReplicaInput::Remove { key }),
            Action::Connect { a, b } => self.connect(a, b),
            Action::Disconnect { a, b } => self.disconnect(a, b),
            Action::Restart { at } => {
                let next = self.id(at).incarnation.0 + 1;
                for other in 0..NODES {
                    self.disconnect(at, other);
                }
                self.copies[at] = Self::copy(at, next);
                self.told[at].clear();
            }
            Action::Deliver { from, to, count } => self.deliver(from, to, count),
            Action::Room { from, to } => self.room(from, to),
        }
    }

    fn settle(&mut self) {
        for a in 0..NODES {
            for b in 0..NODES {
                self.connect(a, b);
            }
        }
        let pairs: Vec<_> = self.channels.keys().copied().collect();
        // More rounds than any snapshot has parts.
        for (from, to) in std::iter::repeat_n(pairs, 16).flatten() {
            self.deliver(from, to, usize::MAX);
            self.room(from, to);
        }
        for (from, to) in self.channels.keys().copied().collect::<Vec<_>>() {
            self.deliver(from, to, usize::MAX);
        }
    }
}

#[test]
fn a_node_that_goes_on_as_another_life_writes_its_entries_under_that() {
    let mut m = copy("m");
    m.step(ReplicaInput::Put { key: 1, value: 7 }).unwrap();
    let (before, after) = (m.me().clone(), node("m", 9));
    let outputs = m.step(ReplicaInput::Renewed { me: after.clone() }).unwrap();
    let event = |origin: &NodeId, kind| {
        Output::Event(ReplicaEvent { origin: origin.clone(), key: 1, kind })
    };
    let gone = event(&before, ReplicaEventKind::Removed { was: 7 });
    let come = event(&after, ReplicaEventKind::Added { value: 7 });
    assert_eq!(outputs, [gone, come]);
    assert_eq!((m.get(&before, &1), m.get(&after, &1)), (None, Some(&7)));
    let outputs = m.step(ReplicaInput::PeerUp { peer: node("a", 1) }).unwrap();
    let Output::Send { message, .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(message.origin(), &after);
}

proptest! {
    #[test]
    fn copies_converge_and_nothing_of_an_earlier_life_remains(
        actions in prop::collection::vec(action(), 0..150)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.settle();
        let mut truth = BTreeMap::new();
        for copy in &world.copies {
            truth.extend(copy.own.iter().map(|(key, value)| ((copy.me().clone(), *key), *value)));
        }
        for (copy, told) in world.copies.iter().zip(&world.told) {
            let held: BTreeMap<_, _> =
                copy.iter().map(|(origin, key, value)| ((origin, *key), *value)).collect();
            prop_assert_eq!(&held, &truth);
            prop_assert_eq!(told, &truth);
        }
    }

    #[test]
    fn no_message_makes_it_panic_or_break_its_bounds(
        steps in prop::collection::vec((0..3_usize, 0..3_u64, 0..5_u64, 0..5_u64, 0..4_u32, 0..4_u32,
            prop::collection::vec((0..9_u32, 0..9_u32), 0..9), 0..6_u8), 0..100)
    ) {
        let mut m = copy("m");
        for (name, life, a, b, part, parts, entries, kind) in steps {
            let peer = node(["a", "b", "m"][name], life);
            let origin = peer.clone();
            let input = match kind {
                0 => ReplicaInput::PeerUp { peer },
                1 => ReplicaInput::PeerDown { peer },
                2 => ReplicaInput::Received {
                    from: peer,
                    message: ReplicaMessage::Snapshot {
                        origin,
                        version: a,
                        part,
                        last: parts > 1,
                        entries,
                    },
                },
                3 => {
                    let change = |(key, value)| {
                        if value > 4 { Change::Put { key, value } } else { Change::Remove { key } }
                    };
                    let changes = entries.into_iter().map(change).collect();
                    let message = ReplicaMessage::Delta { origin, from: a, to: b, changes };
                    ReplicaInput::Received { from: peer, message }
                }
                4 => ReplicaInput::Received {
                    from: peer,
                    message: ReplicaMessage::SyncRequest { origin: node("m", 1), have: a },
                },
                _ => ReplicaInput::Put { key: part, value: parts },
            };
            let _ = m.step(input);
            prop_assert!(m.origins.len() <= 2);
            prop_assert!(m.origins.values().all(|origin| origin.entries.len() <= 4));
        }
    }
}
