use super::*;
use crate::{CodecId, Held, Hello, Incarnation, Lane, LinkId, NodeName, Reason, VersionRange};

/// A node in the middle of the alphabet, so that there are smaller and greater names.
pub(super) const ME: &str = "m";

pub(super) fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

pub(super) fn place(name: &str) -> Endpoint {
    format!("{name}:1").parse().unwrap()
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn hello(node: NodeId, link: u64) -> Hello {
    Hello {
        protocol: VersionRange { min: 1, max: 1 },
        codec: CodecId(1),
        cluster: "test".parse().unwrap(),
        listen: Some(place(node.name.as_str())),
        node,
        lane: Lane::Control,
        link: LinkId(link),
        held: Held::default(),
    }
}

pub(super) fn member(node: NodeId) -> Member {
    let endpoint = Some(place(node.name.as_str()));
    Member { node, profile: Profile::default().with_endpoint(endpoint) }
}

/// A machine with a clock and a little less to write.
pub(super) struct Bench {
    pub(super) peers: Peers,
    pub(super) now: Duration,
    /// What it has said of members.
    pub(super) events: Vec<(NodeId, MemberState)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(PeersConfig::default())
    }

    pub(super) fn with(config: PeersConfig) -> Self {
        let peers = Peers::new(config, node(ME, 5)).unwrap();
        Self { peers, now: Duration::ZERO, events: Vec::new() }
    }

    /// What is to be done, beside news of members, which are noted.
    pub(super) fn step(&mut self, input: PeersInput) -> Vec<PeersOutput> {
        let mut outputs = self.peers.step(self.now, 42, input);
        outputs.retain(|output| match output {
            PeersOutput::Member(MemberEvent { member, state }) => {
                self.events.push((member.node.clone(), *state));
                false
            }
            PeersOutput::Swim { .. } => false,
            _ => true,
        });
        outputs
    }

    /// Goes on to the next wake-up at which there is something to do.
    pub(super) fn wake(&mut self) -> Vec<PeersOutput> {
        loop {
            self.now = self.peers.next_wakeup().expect("something is awaited");
            let outputs = self.step(PeersInput::Tick);
            if !outputs.is_empty() {
                return outputs;
            }
        }
    }

    /// Goes on for a while, during which nothing comes from anywhere.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<PeersOutput> {
        let until = self.now + time;
        let mut outputs = Vec::new();
        while let Some(at) = self.peers.next_wakeup().filter(|at| *at <= until) {
            self.now = at;
            outputs.extend(self.step(PeersInput::Tick));
        }
        self.now = until;
        outputs
    }

    /// The peer at the other end of a link says how members are.
    pub(super) fn gossip(
        &mut self,
        link: u64,
        members: &[(NodeId, foca::State)],
    ) -> Vec<PeersOutput> {
        let named: Vec<_> =
            members.iter().map(|(node, state)| (member(node.clone()), *state)).collect();
        self.tell(link, &named)
    }

    /// Likewise, of members that listen where they please.
    pub(super) fn tell(
        &mut self,
        link: u64,
        members: &[(Member, foca::State)],
    ) -> Vec<PeersOutput> {
        let from = self.peers.linked_by(LinkId(link)).expect("it is linked");
        let me = Member { node: self.peers.me.clone(), profile: self.peers.profile.clone() };
        let packet = super::swim::tests::gossip(&member(from), &me, members);
        self.step(PeersInput::Swim { link: LinkId(link), packet })
    }

    pub(super) fn member(&self, name: &str) -> Option<MemberState> {
        let view = self.peers.view().members;
        view.iter().find(|it| it.member.node.name.as_str() == name).map(|it| it.state)
    }

    pub(super) fn hello(&mut self, hello: Hello) -> Result<Vec<PeersOutput>, Refusal> {
        let mut outputs = self.step(PeersInput::HelloReceived { token: 1, hello });
        let judged = outputs.iter().position(|output| {
            matches!(output, PeersOutput::Accept { .. } | PeersOutput::Refuse { .. })
        });
        match outputs.remove(judged.expect("each hello is answered at once")) {
            PeersOutput::Refuse { token: 1, refusal } => Err(refusal),
            PeersOutput::Accept { token: 1, .. } => Ok(outputs),
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(super) fn link_up(&mut self, peer: NodeId, link: u64) -> Vec<PeersOutput> {
        let listen = Some(place(peer.name.as_str()));
        self.step(PeersInput::LinkUp { link: LinkId(link), peer, listen })
    }

    /// Lets a peer dial in.
    pub(super) fn let_in(&mut self, peer: NodeId, link: u64) -> Vec<PeersOutput> {
        self.hello(hello(peer.clone(), link)).unwrap();
        let mut data = hello(peer.clone(), link);
        data.lane = Lane::Data;
        self.hello(data).unwrap();
        self.link_up(peer, link)
    }

    /// Seeds `name`, and lets it answer the dial.
    pub(super) fn dial_out(&mut self, name: &str, incarnation: u64) -> LinkId {
        let outputs = self.step(PeersInput::Join { seeds: vec![place(name)] });
        let link = dialled(&outputs).0;
        self.link_up(node(name, incarnation), link.0);
        link
    }

    pub(super) fn learn(&mut self, link: LinkId, infos: &[NodeId]) -> Vec<PeersOutput> {
        let named: Vec<_> = infos.iter().map(|node| (node.clone(), foca::State::Alive)).collect();
        self.gossip(link.0, &named)
    }

    pub(super) fn state(&self, name: &str) -> Option<PeerState> {
        let view = self.peers.view();
        view.peers.iter().find(|peer| peer.name.as_str() == name).map(|peer| peer.state)
    }

    pub(super) fn is_linked_by(&self, name: &str, id: LinkId) -> bool {
        matches!(self.state(name), Some(PeerState::Linked { link, .. }) if link == id)
    }
}

pub(super) fn dials(outputs: &[PeersOutput]) -> Vec<(LinkId, Option<NodeName>, Option<LinkId>)> {
    let dial = |output: &PeersOutput| match output {
        PeersOutput::Dial { link, expect, held, .. } => Some((*link, expect.clone(), held.lost)),
        _ => None,
    };
    outputs.iter().filter_map(dial).collect()
}

pub(super) fn dialled(outputs: &[PeersOutput]) -> (LinkId, Option<NodeName>, Option<LinkId>) {
    match &dials(outputs)[..] {
        [dial] => dial.clone(),
        _ => panic!("not one dial: {outputs:?}"),
    }
}

pub(super) fn broken() -> LinkEnd {
    LinkEnd::Broken(Reason::cut("reset"))
}

#[test]
fn a_seed_is_dialled_at_once_and_for_ever() {
    let mut bench = Bench::new();
    let mut outputs = bench.step(PeersInput::Join { seeds: vec![place("a")] });
    for _ in 0..1000 {
        let (link, expect, lost) = dialled(&outputs);
        assert_eq!((expect, lost), (None, None));
        let failed_at = bench.now;
        bench.step(PeersInput::DialFailed { link, reason: Reason::cut("no route") });
        outputs = bench.wake();
        assert!(bench.now - failed_at <= secs(5), "back-off has a bound");
    }
    assert!(bench.now > secs(1000), "and it does back off");
    let seed = &bench.peers.view().seeds[0];
    assert_eq!((seed.attempts, seed.name.clone()), (1000, None));
    assert_eq!(seed.last_error, Some(Reason::cut("no route")));
}

#[test]
fn a_link_that_comes_up_is_announced_once() {
    let mut bench = Bench::new();
    let outputs = bench.step(PeersInput::Join { seeds: vec![place("a")] });
    let (link, ..) = dialled(&outputs);
    let up = PeersOutput::PeerUp { peer: node("a", 1), link };
    assert_eq!(bench.link_up(node("a", 1), link.0), [up]);
    assert!(bench.is_linked_by("a", link));

    let up = PeersOutput::PeerUp { peer: node("b", 1), link: LinkId(9) };
    assert_eq!(bench.let_in(node("b", 1), 9)[0], up);
    assert_eq!(bench.link_up(node("b", 1), 9), [], "said twice, done once");
}

#[test]
fn a_seed_that_is_this_node_itself_is_dropped() {
    let mut bench = Bench::new();
    let outputs = bench.step(PeersInput::Join { seeds: vec![place(ME)] });
    let (link, ..) = dialled(&outputs);
    let (by, refusal) = (ME.parse().unwrap(), Refusal::SameNode);
    let outputs = bench.step(PeersInput::DialRefused { link, by, refusal });
    let why = SeedDropped::Myself;
    assert_eq!(outputs, [PeersOutput::SeedDropped { endpoint: place(ME), why }]);
    assert_eq!(bench.peers.next_wakeup(), None);
    let again = bench.step(PeersInput::Join { seeds: vec![place(ME)] });
    assert_eq!(again, [], "a source of seeds tells all that it knows each time");
}

#[test]
fn nobody_else_can_make_a_node_drop_a_seed() {
    let mut bench = Bench::new();
    let outputs = bench.step(PeersInput::Join { seeds: vec![place("a")] });
    let (link, ..) = dialled(&outputs);
    let (by, refusal) = ("a".parse().unwrap(), Refusal::SameNode);
    assert_eq!(bench.step(PeersInput::DialRefused { link, by, refusal }), []);
    dialled(&bench.wake());
}

#[test]
fn the_dial_of_the_smaller_name_goes_first_once() {
    let mut bench = Bench::new();
    let link = bench.dial_out("a", 1);
    let outputs = bench.learn(link, &[node("z", 1)]);
    let (ours, expect, _) = dialled(&outputs);
    assert_eq!(expect, Some("z".parse().unwrap()), "the smaller dials at once");
    assert_eq!(bench.hello(hello(node("z", 1), 7)), Err(Refusal::Crossed));
    assert_eq!(bench.hello(hello(node("z", 1), 8)), Ok(vec![]), "ours seems to hang");
    let outputs = bench.link_up(node("z", 1), ours.0);
    let why = LinkEnd::Replaced { by: ours };
    assert_eq!(outputs[0], PeersOutput::Close { link: LinkId(8), why });
    assert!(bench.is_linked_by("z", ours), "both came up, so that of the smaller name stays");
}

#[test]
fn the_greater_name_lets_the_smaller_in_while_it_dials() {
    let mut bench = Bench::new();
    let link = bench.dial_out("z", 1);
    assert_eq!(dials(&bench.learn(link, &[node("a", 1)])), [], "the greater waits a step");
    let mut outputs = Vec::new();
    while dials(&outputs).is_empty() {
        outputs = bench.wake();
    }
    let (ours, ..) = dialled(&outputs);
    bench.let_in(node("a", 1), 7);
    let why = LinkEnd::Replaced { by: LinkId(7) };
    let outputs = bench.link_up(node("a", 1), ours.0);
    assert_eq!(outputs, [PeersOutput::Close { link: ours, why }]);
    assert!(bench.is_linked_by("a", LinkId(7)));
}

#[test]
fn a_link_is_kept_unless_its_peer_has_lost_it() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    let already = Err(Refusal::AlreadyLinked { link: LinkId(7) });
    assert_eq!(bench.hello(hello(node("a", 1), 8)), already);
    let mut again = hello(node("a", 1), 8);
    again.held.lost = Some(LinkId(6));
    assert_eq!(bench.hello(again.clone()), already);
    again.held.lost = Some(LinkId(7));
    let why = LinkEnd::Replaced { by: LinkId(8) };
    let close = PeersOutput::Close { link: LinkId(7), why: why.clone() };
    let down = PeersOutput::PeerDown { peer: node("a", 1), link: LinkId(7), why };
    assert_eq!(bench.hello(again), Ok(vec![close, down]));
}

#[test]
fn a_node_that_is_told_of_a_link_it_lost_says_so_in_its_next_hello() {
    let mut bench = Bench::new();
    let outputs = bench.step(PeersInput::Join { seeds: vec![place("a")] });
    let (link, ..) = dialled(&outputs);
    let refusal = Refusal::AlreadyLinked { link: LinkId(77) };
    let outputs = bench.step(PeersInput::DialRefused { link, by: "a".parse().unwrap(), refusal });
    let again = (Some("a".parse().unwrap()), Some(LinkId(77)));
    let (_, expect, lost) = dialled(&outputs);
    assert_eq!((expect, lost), again);
}

#[test]
fn a_later_life_fences_the_earlier_one() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 2), 7);
    let why = LinkEnd::Fenced { by: Incarnation(3) };
    let close = PeersOutput::Close { link: LinkId(7), why: why.clone() };
    let down = PeersOutput::PeerDown { peer: node("a", 2), link: LinkId(7), why };
    assert_eq!(bench.hello(hello(node("a", 3), 8)), Ok(vec![close, down]));
    let fenced = Err(Refusal::Fenced { known: Incarnation(3) });
    assert_eq!(bench.hello(hello(node("a", 2), 9)), fenced);
}

#[test]
fn hearsay_fences_nobody() {
    let mut bench = Bench::new();
    let link = bench.dial_out("b", 1);
    bench.learn(link, &[node("a", u64::MAX)]);
    assert_eq!(bench.hello(hello(node("a", 1), 7)), Ok(vec![]));
}

#[test]
fn whoever_is_told_that_its_life_is_over_says_so() {
    let mut bench = Bench::new();
    let outputs = bench.step(PeersInput::Join { seeds: vec![place("a")] });
    let (link, ..) = dialled(&outputs);
    let by: NodeName = "a".parse().unwrap();
    let known = Incarnation(6);
    let refusal = Refusal::Fenced { known };
    let outputs = bench.step(PeersInput::DialRefused { link, by: by.clone(), refusal });
    assert_eq!(outputs, [PeersOutput::Superseded { by, known }]);
}

#[test]
fn a_link_whose_peer_never_told_of_itself_ends_at_the_bound_on_silence() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    let outputs = bench.pass(secs(5));
    let why = LinkEnd::Silent;
    let down = PeersOutput::PeerDown { peer: node("a", 1), link: LinkId(7), why };
    assert_eq!(outputs.last(), Some(&down), "{outputs:?}");
    let pings = outputs.iter().filter(|it| matches!(it, PeersOutput::Ping { .. })).count();
    assert_eq!(pings, 4);
}

#[test]
fn a_peer_that_is_heard_stays_up() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    while bench.now < secs(600) {
        bench.wake();
        bench.step(PeersInput::Heard { link: LinkId(7) });
    }
    assert!(bench.is_linked_by("a", LinkId(7)));
}

#[test]
fn a_lost_peer_is_dialled_where_it_listens_with_the_lost_link() {
    let mut bench = Bench::new();
    bench.let_in(node("z", 1), 7);
    bench.now = secs(60);
    let outputs = bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    assert!(matches!(outputs[1], PeersOutput::PeerDown { .. }));
    let outputs = if dials(&outputs).is_empty() { bench.wake() } else { outputs };
    assert!(bench.now <= secs(60) + Duration::from_millis(100));
    let (_, expect, lost) = dialled(&outputs);
    assert_eq!((expect, lost), (Some("z".parse().unwrap()), Some(LinkId(7))));
}

#[test]
fn a_peer_that_said_goodbye_is_neither_dialled_nor_let_in_again() {
    let mut bench = Bench::new();
    let link = bench.dial_out("b", 1);
    bench.let_in(node("a", 1), 7);
    let outputs = bench.step(PeersInput::Goodbye { link: LinkId(7) });
    let (peer, why) = (node("a", 1), LinkEnd::Goodbye);
    assert_eq!(outputs[1], PeersOutput::PeerDown { peer, link: LinkId(7), why });
    assert_eq!(dials(&bench.learn(link, &[node("a", 1)])), [], "others may not know yet");
    let fenced = Err(Refusal::Fenced { known: Incarnation(1) });
    assert_eq!(bench.hello(hello(node("a", 1), 8)), fenced);
    assert!(matches!(bench.state("a"), Some(PeerState::Left { .. })));
    assert_eq!(bench.hello(hello(node("a", 2), 9)), Ok(vec![]), "a new life may come");
}

#[test]
fn a_peer_out_of_reach_is_forgotten_at_the_bound_and_a_seed_never() {
    let mut bench = Bench::new();
    let seed = bench.dial_out("s", 1);
    bench.let_in(node("a", 1), 7);
    bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    bench.step(PeersInput::LinkDown { link: seed, why: broken() });
    while bench.now < secs(7200) {
        if bench.now < secs(3600) {
            assert!(bench.state("a").is_some(), "at {:?}", bench.now);
        }
        for (link, ..) in dials(&bench.wake()) {
            bench.step(PeersInput::DialFailed { link, reason: Reason::cut("no") });
        }
    }
    assert_eq!(bench.state("a"), None);
    assert!(bench.state("s").is_some());
}

#[test]
fn whoever_answers_in_anothers_place_does_not_end_the_search() {
    let mut bench = Bench::new();
    let link = bench.dial_out("s", 1);
    bench.now = secs(60);
    let outputs = bench.step(PeersInput::LinkDown { link, why: broken() });
    let outputs = if dials(&outputs).is_empty() { bench.wake() } else { outputs };
    let (link, expect, _) = dialled(&outputs);
    assert_eq!(expect, Some("s".parse().unwrap()));
    let (expected, found) = ("s".parse().unwrap(), "t".parse::<NodeName>().unwrap());
    let refusal = Refusal::WrongNode { expected, found: found.clone() };
    let outputs = bench.step(PeersInput::DialRefused { link, by: found, refusal });
    let (link, expect, _) = dialled(&outputs);
    assert_eq!(expect, None, "the seed is asked anew who it is");
    bench.link_up(node("t", 1), link.0);
    assert_eq!(bench.peers.view().seeds[0].name, Some("t".parse().unwrap()));
}

#[test]
fn a_data_lane_needs_its_control_lane_and_comes_once() {
    let mut bench = Bench::new();
    let mut data = hello(node("a", 1), 7);
    data.lane = Lane::Data;
    assert_eq!(bench.hello(data.clone()), Err(Refusal::UnknownLink));
    bench.hello(hello(node("a", 1), 7)).unwrap();
    let mut foreign = hello(node("b", 1), 7);
    foreign.lane = Lane::Data;
    assert_eq!(bench.hello(foreign), Err(Refusal::UnknownLink));
    assert_eq!(bench.hello(data.clone()), Ok(vec![]));
    assert_eq!(bench.hello(data), Err(Refusal::AlreadyLinked { link: LinkId(7) }));
}

#[test]
fn a_bulk_lane_needs_its_data_lane_and_may_come_again() {
    let mut bench = Bench::new();
    let lane = |name, lane| Hello { lane, ..hello(node(name, 1), 7) };
    assert_eq!(bench.hello(lane("a", Lane::Bulk)), Err(Refusal::UnknownLink));
    bench.hello(lane("a", Lane::Control)).unwrap();
    assert_eq!(bench.hello(lane("a", Lane::Bulk)), Err(Refusal::UnknownLink));
    bench.hello(lane("a", Lane::Data)).unwrap();
    assert_eq!(bench.hello(lane("b", Lane::Bulk)), Err(Refusal::UnknownLink));
    // Whoever missed its welcome tries again.
    assert_eq!(bench.hello(lane("a", Lane::Bulk)), Ok(vec![]));
    assert_eq!(bench.hello(lane("a", Lane::Bulk)), Ok(vec![]));
}

#[test]
fn nobody_takes_the_id_of_anothers_link() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    assert_eq!(bench.hello(hello(node("b", 1), 7)), Err(Refusal::LinkTaken));
    let outputs = bench.step(PeersInput::Join { seeds: vec![place("c")] });
    let (link, ..) = dialled(&outputs);
    assert_eq!(bench.hello(hello(node("b", 1), link.0)), Err(Refusal::LinkTaken));
}

#[test]
fn a_handshake_without_an_end_is_given_up_at_the_bound() {
    let mut bench = Bench::new();
    let (link, ..) = dialled(&bench.step(PeersInput::Join { seeds: vec![place("a")] }));
    bench.hello(hello(node("b", 1), 7)).unwrap();
    let outputs = bench.wake();
    assert_eq!(bench.now, secs(10));
    let close = PeersOutput::Close { link: LinkId(7), why: LinkEnd::Silent };
    assert!(outputs.contains(&close), "{outputs:?}");
    let late = bench.link_up(node("a", 1), link.0);
    assert_eq!(late, [PeersOutput::Close { link, why: LinkEnd::Unwanted }]);
}

#[test]
fn a_node_that_leaves_closes_all_and_lets_nobody_in() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    let (link, ..) = dialled(&bench.step(PeersInput::Join { seeds: vec![place("b")] }));
    let outputs = bench.step(PeersInput::Leave);
    let why = LinkEnd::Leaving;
    let close = PeersOutput::Close { link: LinkId(7), why: why.clone() };
    let down = PeersOutput::PeerDown { peer: node("a", 1), link: LinkId(7), why: why.clone() };
    assert_eq!(outputs, [close, down]);
    assert_eq!(bench.hello(hello(node("c", 1), 8)), Err(Refusal::Leaving));
    assert_eq!(bench.link_up(node("b", 1), link.0), [PeersOutput::Close { link, why }]);
    assert_eq!(bench.peers.next_wakeup(), None);
}

#[test]
fn hearsay_fills_the_table_to_its_bound_and_makes_room_for_who_is_there() {
    let config = PeersConfig { peers_max: 8, dials_max: 3, ..PeersConfig::default() };
    let mut bench = Bench::with(config);
    bench.let_in(node("a", 1), 1);
    let lies: Vec<NodeId> = (0..100).map(|lie| node(&format!("lie{lie}"), 1)).collect();
    for lie in &lies {
        bench.learn(LinkId(1), std::slice::from_ref(lie));
    }
    bench.pass(secs(1));
    assert_eq!(bench.peers.roster.dials.len(), 3, "dials have a bound of their own");
    assert_eq!(bench.peers.view().peers.len(), 8);
    for link in 2..9 {
        bench.let_in(node(&format!("real{link}"), 1), link);
        assert_eq!(bench.peers.view().peers.len(), 8);
    }
    let full = Err(Refusal::TooManyPeers { peers_max: 8 });
    assert_eq!(bench.hello(hello(node("real9", 1), 9)), full);
    assert!(bench.is_linked_by("a", LinkId(1)), "nobody who is linked has to go");
}

#[test]
fn whoever_has_proven_to_exist_stays_in_the_table_before_hearsay() {
    let config = PeersConfig { peers_max: 3, ..PeersConfig::default() };
    let mut bench = Bench::with(config);
    bench.let_in(node("real", 1), 1);
    bench.let_in(node("a", 1), 2);
    bench.step(PeersInput::LinkDown { link: LinkId(1), why: broken() });
    bench.now = secs(1);
    bench.learn(LinkId(2), &[node("z", 1)]);
    bench.let_in(node("b", 1), 3);
    assert_eq!(bench.state("z"), None);
    assert!(bench.state("real").is_some(), "though it was lost before the lie was told");
}

#[test]
fn seeds_beyond_the_bound_are_dropped_and_said_so() {
    let config = PeersConfig { seeds_max: 2, ..PeersConfig::default() };
    let mut bench = Bench::with(config);
    let seeds = ["a", "b", "c"].map(place).to_vec();
    let outputs = bench.step(PeersInput::Join { seeds });
    let (endpoint, why) = (place("c"), SeedDropped::TooMany);
    assert_eq!(outputs[0], PeersOutput::SeedDropped { endpoint, why });
    assert_eq!(dials(&outputs).len(), 2);
}

#[test]
fn news_never_makes_dials_come_faster_than_the_shortest_back_off() {
    let mut bench = Bench::new();
    let link = bench.dial_out("s", 1);
    let mut made = 0;
    for life in 1..=1000 {
        bench.now += Duration::from_millis(1);
        let outputs = bench.learn(link, &[node("z", life)]);
        for (link, ..) in dials(&outputs) {
            made += 1;
            bench.step(PeersInput::DialFailed { link, reason: Reason::cut("no") });
        }
    }
    assert!((5..=20).contains(&made), "{made} dials in one second");
}

#[test]
fn a_peer_that_accepts_and_drops_is_dialled_ever_more_slowly() {
    let mut bench = Bench::new();
    let mut link = bench.dial_out("a", 1);
    for _ in 0..20 {
        let mut outputs = bench.step(PeersInput::LinkDown { link, why: broken() });
        while dials(&outputs).is_empty() {
            outputs = bench.wake();
        }
        (link, ..) = dialled(&outputs);
        bench.link_up(node("a", 1), link.0);
    }
    assert!(bench.now > secs(30), "only {:?} for 20 dials", bench.now);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let me = || node(ME, 1);
    let silence_max = secs(1);
    let config = PeersConfig { silence_max, ..PeersConfig::default() };
    let refused = Peers::new(config, me()).unwrap_err();
    assert_eq!(refused, PeersConfigError::SilenceTooShort { silence_max, ping_interval: secs(1) });
    let config = PeersConfig { peers_max: 0, ..PeersConfig::default() };
    assert_eq!(Peers::new(config, me()).unwrap_err(), PeersConfigError::Zero("peers_max"));
}
