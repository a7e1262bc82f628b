//! What members say of one another, and what [`Peers`] makes of it.

use super::tests::{Bench, ME, broken, dialled, dials, hello, member, node, secs};
use super::*;
use crate::{Endpoint, Incarnation, LinkEnd, LinkId, Over, PeersOutput, Reason};

#[test]
fn a_silent_peer_is_suspect_then_down_within_the_bound() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    bench.gossip(7, &[]);
    bench.pass(secs(2));
    assert_eq!(bench.member("a"), Some(MemberState::Suspect));
    assert!(bench.is_linked_by("a", LinkId(7)), "it may show that it lives");
    let outputs = bench.pass(secs(2));
    assert_eq!(bench.member("a"), Some(MemberState::Down));
    let why = LinkEnd::Down;
    let down = PeersOutput::PeerDown { peer: node("a", 1), link: LinkId(7), why };
    assert!(outputs.contains(&down), "{outputs:?}");
    let over = Over { life: Incarnation(1), side: bench.peers.side() };
    assert_eq!(bench.hello(hello(node("a", 1), 8)), Err(Refusal::Over(over)));
    assert_eq!(bench.hello(hello(node("a", 2), 9)), Ok(vec![]), "a new life may come");
}

#[test]
fn a_peer_whose_link_breaks_is_suspect_until_it_is_linked_again() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    bench.gossip(7, &[]);
    bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    assert_eq!(bench.member("a"), Some(MemberState::Suspect));
    bench.let_in(node("a", 1), 8);
    assert_eq!(bench.member("a"), Some(MemberState::Alive));
    let told = [MemberState::Alive, MemberState::Suspect, MemberState::Alive];
    assert_eq!(bench.events, told.map(|state| (node("a", 1), state)));
}

/// Simulation, `decisions` seed 1255: a cut held up the second lane of a link that a suspect had begun.
#[test]
fn a_link_that_is_not_up_when_its_peer_is_declared_down_never_comes_up() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    bench.gossip(7, &[]);
    bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    assert_eq!(bench.hello(hello(node("a", 1), 8)), Ok(vec![]), "a suspect may come again");
    let outputs = bench.pass(secs(3));
    assert_eq!(bench.member("a"), Some(MemberState::Down));
    let close = |why| PeersOutput::Close { link: LinkId(8), why };
    assert!(outputs.contains(&close(LinkEnd::Down)), "{outputs:?}");
    assert_eq!(bench.link_up(node("a", 1), 8), [close(LinkEnd::Unwanted)]);
}

#[test]
fn nobody_makes_a_peer_suspect_that_is_heard() {
    let mut bench = Bench::new();
    for (name, link) in [("a", 7), ("b", 8)] {
        bench.let_in(node(name, 1), link);
        bench.gossip(link, &[]);
    }
    bench.gossip(7, &[(node("b", 1), foca::State::Suspect)]);
    assert_eq!(bench.member("b"), Some(MemberState::Alive));
    assert!(!bench.events.iter().any(|(_, state)| *state == MemberState::Suspect));
}

#[test]
fn a_member_that_others_declare_down_stays_down_in_that_life() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    bench.gossip(7, &[(node("c", 4), foca::State::Alive)]);
    assert_eq!(bench.member("c"), Some(MemberState::Joining));
    bench.gossip(7, &[(node("c", 4), foca::State::Down)]);
    bench.gossip(7, &[(node("c", 4), foca::State::Alive)]);
    assert_eq!(bench.member("c"), Some(MemberState::Down));
    assert!(matches!(bench.hello(hello(node("c", 4), 8)), Err(Refusal::Over(_))));
    assert!(matches!(bench.hello(hello(node("c", 3), 8)), Err(Refusal::Over(_))));
    bench.let_in(node("c", 5), 9);
    bench.gossip(9, &[]);
    assert_eq!(bench.member("c"), Some(MemberState::Alive));
}

#[test]
fn a_peer_that_is_heard_is_given_time_to_end_its_link_itself() {
    let mut bench = Bench::new();
    for (name, link) in [("a", 7), ("b", 8)] {
        bench.let_in(node(name, 1), link);
        bench.gossip(link, &[]);
    }
    bench.gossip(7, &[(node("b", 1), foca::State::Down)]);
    assert!(bench.is_linked_by("b", LinkId(8)), "its goodbye may be under way");
    let outputs = bench.step(PeersInput::Goodbye { link: LinkId(8) });
    assert!(matches!(outputs[1], PeersOutput::PeerDown { why: LinkEnd::Goodbye, .. }));
    assert_eq!(bench.member("b"), Some(MemberState::Left));

    bench.let_in(node("c", 1), 9);
    bench.gossip(9, &[]);
    bench.gossip(7, &[(node("c", 1), foca::State::Down)]);
    let outputs = bench.pass(secs(2));
    let why = LinkEnd::Down;
    let down = PeersOutput::PeerDown { peer: node("c", 1), link: LinkId(9), why };
    assert!(outputs.contains(&down), "{outputs:?}");
}

#[test]
fn a_node_that_learns_that_it_is_down_goes_on_as_a_later_life() {
    let mut bench = Bench::new();
    bench.let_in(node("a", 1), 7);
    bench.now = secs(3);
    let outputs = bench.gossip(7, &[(node(ME, 5), foca::State::Down)]);
    let why = LinkEnd::Renewed;
    let me = node(ME, 5 + 3_000_000);
    let expected = [
        PeersOutput::Close { link: LinkId(7), why: why.clone() },
        PeersOutput::PeerDown { peer: node("a", 1), link: LinkId(7), why },
        PeersOutput::Renewed { me: me.clone() },
    ];
    assert_eq!(outputs, expected);
    assert_eq!(bench.peers.view().me, me);
    assert_eq!(bench.hello(hello(node("a", 1), 8)), Ok(vec![]), "who was not down may come again");
}

#[test]
fn nobody_begins_a_life_that_no_clock_can_have_given() {
    let mut bench = Bench::new();
    let side = Side { linked: u32::MAX, first: "a".parse().unwrap() };
    let over = Over { life: Incarnation(u64::MAX), side };
    let mut lie = hello(node("a", 1), 8);
    lie.held.over = Some(over.clone());
    assert_eq!(bench.hello(lie), Ok(vec![]));
    let refusal = Refusal::Over(over);
    let by = "b".parse().unwrap();
    bench.step(PeersInput::DialRefused { link: LinkId(9), by, refusal });
    assert_eq!(bench.peers.view().me.incarnation, node(ME, 5).incarnation);
}

#[test]
fn of_two_that_take_each_other_for_dead_the_smaller_side_begins_anew() {
    let told = |linked: u32, first: &str| Over {
        life: Incarnation(5),
        side: Side { linked, first: first.parse().unwrap() },
    };
    let lonely = || {
        let mut bench = Bench::new();
        bench.let_in(node("b", 1), 6);
        bench.let_in(node("a", 1), 7);
        bench.gossip(7, &[]);
        bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
        bench.pass(secs(2));
        assert_eq!(bench.member("a"), Some(MemberState::Down));
        bench
    };
    // Linked with `b`, whose name is the first on this side.
    for (over, yields) in
        [(told(2, "z"), true), (told(0, "a"), false), (told(1, "a"), true), (told(1, "c"), false)]
    {
        let mut bench = lonely();
        bench.step(PeersInput::Heard { link: LinkId(6) });
        let mut hello = hello(node("a", 1), 8);
        hello.held.over = Some(over.clone());
        let mut outputs = bench.step(PeersInput::HelloReceived { token: 1, hello });
        let renewed = outputs.iter().any(|it| matches!(it, PeersOutput::Renewed { .. }));
        assert_eq!(renewed, yields, "told by {over:?}");
        let refused = outputs.pop();
        let Some(PeersOutput::Refuse { refusal, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal == Refusal::Renewing, yields);
        assert_eq!(matches!(refusal, Refusal::Over(_)), !yields);
    }
}

#[test]
fn links_with_those_who_are_over_or_quiet_stand_behind_nobody() {
    let mut bench = Bench::new();
    for (name, link) in [("a", 7), ("b", 8)] {
        bench.let_in(node(name, 1), link);
        bench.gossip(link, &[]);
    }
    assert_eq!(bench.peers.side(), Side { linked: 2, first: "a".parse().unwrap() });
    bench.gossip(8, &[(node("a", 1), foca::State::Down)]);
    assert!(bench.is_linked_by("a", LinkId(7)), "it has some time to end its link itself");
    assert_eq!(bench.peers.side(), Side { linked: 1, first: "b".parse().unwrap() });
    bench.pass(secs(2));
    assert_eq!(bench.peers.side(), Side { linked: 0, first: ME.parse().unwrap() });
}

#[test]
fn a_dialler_that_is_told_that_it_is_over_yields_unless_its_side_is_greater() {
    for (linked, yields) in [(0, false), (1, true), (2, true)] {
        let mut bench = Bench::new();
        bench.let_in(node("b", 1), 6);
        bench.let_in(node("z", 1), 7);
        bench.gossip(7, &[]);
        let outputs = bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
        let outputs = if dials(&outputs).is_empty() { bench.wake() } else { outputs };
        let (link, ..) = dialled(&outputs);
        let side = Side { linked, first: "z".parse().unwrap() };
        let refusal = Refusal::Over(Over { life: Incarnation(5), side });
        let outputs =
            bench.step(PeersInput::DialRefused { link, by: "z".parse().unwrap(), refusal });
        let renewed = outputs.iter().any(|it| matches!(it, PeersOutput::Renewed { .. }));
        assert_eq!(renewed, yields, "{linked} stand behind it");
        assert_eq!(bench.member("z"), (!yields).then_some(MemberState::Down));
    }
}

/// The same nodes may stand behind both: then their names decide, or neither would begin anew.
#[test]
fn of_two_that_hold_each_other_for_over_and_have_the_same_behind_them_the_greater_name_yields() {
    for (other, yields) in [("a", true), ("z", false)] {
        let mut bench = Bench::new();
        bench.let_in(node("aa", 1), 6);
        bench.gossip(6, &[(node(other, 1), foca::State::Down)]);
        let side = bench.peers.side();
        assert_eq!(bench.peers.yields_to(&other.parse().unwrap(), &side), yields, "to {other}");
    }
}

/// The life that refuses a dial may be one that the dialler was never linked with.
#[test]
fn who_does_not_yield_takes_the_latest_life_it_has_heard_of_for_over() {
    let mut bench = Bench::new();
    bench.let_in(node("b", 1), 6);
    bench.let_in(node("z", 1), 7);
    bench.gossip(7, &[]);
    bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    let outputs = bench.gossip(6, &[(node("z", 2), foca::State::Alive)]);
    let outputs = if dials(&outputs).is_empty() { bench.wake() } else { outputs };
    let (link, ..) = dialled(&outputs);
    let side = Side { linked: 0, first: "z".parse().unwrap() };
    let refusal = Refusal::Over(Over { life: Incarnation(5), side });
    bench.step(PeersInput::DialRefused { link, by: "z".parse().unwrap(), refusal });
    assert_eq!(bench.peers.over(&"z".parse().unwrap()), Some(Incarnation(2)));
}

/// The news may come over another link before the end of this one does, and comes but once.
#[test]
fn a_later_life_that_was_heard_of_while_its_peer_was_linked_is_dialled_where_it_listens() {
    let mut bench = Bench::new();
    bench.let_in(node("b", 1), 6);
    bench.let_in(node("z", 1), 7);
    bench.gossip(7, &[]);
    let elsewhere: Endpoint = "elsewhere:1".parse().unwrap();
    let profile = Profile::default().with_endpoint(Some(elsewhere.clone()));
    let later = Member { node: node("z", 2), profile };
    bench.tell(6, &[(later, foca::State::Alive)]);
    assert!(bench.is_linked_by("z", LinkId(7)), "hearsay fences nobody");
    bench.step(PeersInput::LinkDown { link: LinkId(7), why: broken() });
    let mut dialled = Vec::new();
    while dialled.len() < 2 {
        for output in bench.wake() {
            let PeersOutput::Dial { link, endpoint, .. } = output else { continue };
            bench.step(PeersInput::DialFailed { link, reason: Reason::cut("nobody there") });
            dialled.push(endpoint);
        }
    }
    assert!(dialled.contains(&elsewhere), "{dialled:?}");
}

/// Its life is over only as far as this node knows: unless it is dialled, neither learns better.
#[test]
fn who_is_heard_of_only_when_it_is_suspect_or_down_is_dialled_all_the_same() {
    for state in [foca::State::Suspect, foca::State::Down] {
        let mut bench = Bench::new();
        bench.let_in(node("b", 1), 6);
        let mut outputs = bench.gossip(6, &[(node("z", 4), state)]);
        outputs.extend(bench.pass(secs(1)));
        let expect = Some("z".parse().unwrap());
        let dialled: Vec<_> = dials(&outputs).into_iter().map(|(_, expect, _)| expect).collect();
        assert_eq!(dialled, [expect], "{state:?}");
        assert_eq!(
            bench.events.iter().any(|(peer, _)| peer.name.as_str() == "z"),
            state == foca::State::Suspect
        );
    }
}

#[test]
fn new_lives_are_begun_no_more_often_than_the_longest_back_off() {
    let mut bench = Bench::new();
    let mut lives = 0;
    for round in 0..100 {
        bench.now = Duration::from_millis(100 * round);
        let (me, link) = (bench.peers.me.clone(), 100 + round);
        bench.let_in(node("a", round + 1), link);
        let outputs = bench.gossip(link, &[(me, foca::State::Down)]);
        lives += outputs.iter().filter(|it| matches!(it, PeersOutput::Renewed { .. })).count();
    }
    assert_eq!(lives, 2, "in ten seconds");
}

#[test]
fn a_packet_that_is_none_or_speaks_for_another_ends_its_link() {
    let me = member(node(ME, 5));
    let foreign = super::swim::tests::gossip(&member(node("b", 1)), &me, &[]);
    for packet in [vec![], vec![0; 40_000], vec![255; 100], foreign] {
        let mut bench = Bench::new();
        bench.let_in(node("a", 1), 7);
        let outputs = bench.step(PeersInput::Swim { link: LinkId(7), packet });
        assert!(matches!(&outputs[0], PeersOutput::Close { why: LinkEnd::Violation(_), .. }));
    }
}
