use super::*;

/// A packet that names members.
pub(crate) fn gossip(from: &Member, to: &Member, members: &[(Member, State)]) -> Vec<u8> {
    let header = foca::Header {
        src: Life(from.clone()),
        src_incarnation: 0,
        dst: Life(to.clone()),
        message: foca::Message::Gossip,
    };
    let mut packet = Vec::new();
    PostcardCodec.encode_header(&header, &mut packet).unwrap();
    packet.extend_from_slice(&(members.len() as u16).to_be_bytes());
    for (member, state) in members {
        let member = foca::Member::new(Life(member.clone()), 0, *state);
        PostcardCodec.encode_member(&member, &mut packet).unwrap();
    }
    packet
}

fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn member(name: &str, incarnation: u64) -> Member {
    Member { node: node(name, incarnation), profile: Profile::default().role("test").unwrap() }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The failure detector of `me`, which is linked with `a`, and has heard of it.
fn swim() -> Swim {
    let config = PeersConfig { peers_max: 4, ..PeersConfig::default() };
    let mut swim = Swim::new(&config, member("me", 1), 7, Duration::ZERO);
    swim.linked(Duration::ZERO, &node("a", 1));
    hear(&mut swim, Duration::ZERO, &[]);
    swim
}

fn hear(swim: &mut Swim, now: Duration, members: &[(Member, State)]) -> Told {
    let packet = gossip(&member("a", 1), &member("me", 1), members);
    swim.received(now, &node("a", 1), &packet).unwrap()
}

fn state(swim: &Swim, name: &str) -> Option<MemberState> {
    swim.view().iter().find(|it| it.member.node.name.as_str() == name).map(|it| it.state)
}

/// Lets time pass, in which `a` is heard and nobody else.
fn pass(swim: &mut Swim, from: Duration, until: Duration) -> Vec<MemberEvent> {
    let mut events = Vec::new();
    while let Some(at) = swim.next_wakeup().filter(|at| *at <= until) {
        events.extend(swim.tick(at.max(from)).events);
    }
    events
}

#[test]
fn a_suspect_that_does_not_refute_is_down_when_its_time_is_over() {
    let mut swim = swim();
    let told = hear(&mut swim, secs(1), &[(member("b", 1), State::Suspect)]);
    assert_eq!(told.events, [MemberEvent { member: member("b", 1), state: MemberState::Suspect }]);
    pass(&mut swim, secs(1), secs(3) - Duration::from_nanos(1));
    assert_eq!(state(&swim, "b"), Some(MemberState::Suspect));
    pass(&mut swim, secs(1), secs(3));
    assert_eq!(state(&swim, "b"), Some(MemberState::Down));
}

#[test]
fn a_sleep_of_this_node_gives_suspects_more_time() {
    let mut swim = swim();
    hear(&mut swim, secs(1), &[(member("b", 1), State::Suspect)]);
    swim.slept(secs(60));
    pass(&mut swim, secs(61), secs(62));
    assert_eq!(state(&swim, "b"), Some(MemberState::Suspect));
}

#[test]
fn a_suspicion_that_was_refuted_has_no_consequences() {
    let config = PeersConfig::default();
    let mut both = ["a", "b"].map(|name| Swim::new(&config, member(name, 1), 7, Duration::ZERO));
    let ids = [node("a", 1), node("b", 1)];
    let mut now = Duration::ZERO;
    let mut wire: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut is_over = false;
    for at in 0..2 {
        let told = both[at].linked(now, &ids[1 - at]);
        wire.extend(told.packets.into_iter().map(|(_, packet)| (1 - at, packet)));
    }
    for round in 0..200 {
        // In the second second nothing gets through from `a` to `b`, nor is anything heard of it.
        let cut = (10..20).contains(&round);
        if round == 10 || round == 20 {
            both[1].quiet(now, &ids[0], round == 10);
        }
        for (to, packet) in std::mem::take(&mut wire) {
            if cut && to == 1 {
                continue;
            }
            let told = both[to].received(now, &ids[1 - to], &packet).unwrap();
            is_over |= told.is_over;
            wire.extend(told.packets.into_iter().map(|(_, packet)| (1 - to, packet)));
        }
        now += Duration::from_millis(100);
        for (at, swim) in both.iter_mut().enumerate() {
            let told = swim.tick(now);
            is_over |= told.is_over;
            wire.extend(told.packets.into_iter().map(|(_, packet)| (1 - at, packet)));
        }
    }
    assert!(!is_over, "nobody is told that it is down");
    assert_eq!(state(&both[1], "a"), Some(MemberState::Alive));
}

#[test]
fn members_beyond_the_bound_are_passed_over_unless_they_are_linked() {
    let mut swim = swim();
    for lie in 0..100 {
        hear(&mut swim, secs(1), &[(member(&format!("lie{lie}"), 1), State::Alive)]);
    }
    assert_eq!(swim.view().len(), 4);
    let z = node("z", 1);
    swim.linked(secs(2), &z);
    let packet = gossip(&member("z", 1), &member("me", 1), &[]);
    swim.received(secs(2), &z, &packet).unwrap();
    assert_eq!(state(&swim, "z"), Some(MemberState::Alive));
}

#[test]
fn a_life_from_the_future_is_passed_over_unless_it_is_proven() {
    let mut swim = swim();
    let future = member("b", u64::MAX);
    for claimed in [State::Alive, State::Down] {
        hear(&mut swim, secs(1), &[(future.clone(), claimed)]);
        assert_eq!(state(&swim, "b"), None);
    }
    swim.linked(secs(2), &future.node);
    let packet = gossip(&future, &member("me", 1), &[]);
    swim.received(secs(2), &future.node, &packet).unwrap();
    assert_eq!(state(&swim, "b"), Some(MemberState::Alive));
}

#[test]
fn who_is_down_is_forgotten_in_time_however_often_it_went_down() {
    let mut swim = swim();
    for life in 1..1000 {
        hear(&mut swim, secs(1), &[(member("b", life), State::Alive)]);
        hear(&mut swim, secs(1), &[(member("b", life), State::Down)]);
    }
    assert_eq!(swim.over(&"b".parse().unwrap()), Some(Incarnation(999)));
    assert_eq!(swim.removals.len(), 1);
    assert!(swim.timers.len() < 8, "{} timers", swim.timers.len());
    pass(&mut swim, secs(1), secs(3602));
    assert_eq!(state(&swim, "b"), None);
}

#[test]
fn what_a_member_tells_of_itself_is_known_whoever_told_of_its_end_first() {
    let mut swim = swim();
    swim.end(secs(1), &node("b", 3), false);
    let told = hear(&mut swim, secs(1), &[(member("b", 3), State::Alive)]);
    assert_eq!(told.events, [], "down is final");
    let told = hear(&mut swim, secs(1), &[(member("b", 4), State::Alive)]);
    assert_eq!(told.events, [MemberEvent { member: member("b", 4), state: MemberState::Joining }]);
    assert!(swim.view().iter().any(|it| it.member.profile.has_role("test")));
}
