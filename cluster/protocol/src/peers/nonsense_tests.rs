//! Whatever is told to [`Peers`], in whatever order, its bounds and its promises hold.

use std::collections::BTreeMap;

use foca::State;
use proptest::prelude::*;

use super::tests::{ME, broken, hello, member, node, place};
use super::*;
use crate::{Held, Hello, Incarnation, Lane, LinkId, NodeName, Over, Reason};

/// Inputs without sense, from few enough names and links that they meet.
fn nonsense() -> impl Strategy<Value = PeersInput> {
    let name = || prop::sample::select(vec!["a", "b", ME, "y", "z"]);
    let node_id = move || (name(), 0..4_u64).prop_map(|(name, life)| node(name, life));
    let link = || prop_oneof![0..6_u64, any::<u64>()].prop_map(LinkId);
    let lane =
        prop_oneof![Just(Lane::Control), Just(Lane::Data), Just(Lane::Rider), Just(Lane::Bulk)];
    let over = (prop_oneof![4 => 0..9_u64, 1 => any::<u64>()], 0..3_u32, name()).prop_map(
        |(life, linked, first)| Over {
            life: Incarnation(life),
            side: Side { linked, first: first.parse().unwrap() },
        },
    );
    let refusal = prop_oneof![
        Just(Refusal::Crossed),
        Just(Refusal::SameNode),
        Just(Refusal::Leaving),
        Just(Refusal::Renewing),
        over.clone().prop_map(Refusal::Over),
        (0..9_u64).prop_map(|known| Refusal::Fenced { known: Incarnation(known) }),
        link().prop_map(|link| Refusal::AlreadyLinked { link }),
        (name(), name()).prop_map(|(a, b)| Refusal::WrongNode {
            expected: a.parse().unwrap(),
            found: b.parse().unwrap()
        }),
    ];
    let listen = move || prop::option::of(name().prop_map(place));
    let state = prop::sample::select(vec![State::Alive, State::Suspect, State::Down]);
    let named = (node_id(), state).prop_map(|(node, state)| (member(node), state));
    let packet =
        (node_id(), node_id(), prop::collection::vec(named, 0..4)).prop_map(|(from, to, named)| {
            swim::tests::gossip(
                &member(from),
                &Member { node: to, profile: Profile::default() },
                &named,
            )
        });
    let packet = prop_oneof![4 => packet, 1 => prop::collection::vec(any::<u8>(), 0..64)];
    let held = (prop::option::of(link()), prop::option::of(over.clone()))
        .prop_map(|(lost, over)| Held { lost, over });
    let greeting = (node_id(), any::<u64>(), lane, held, listen()).prop_map(
        |(node, link, lane, held, listen)| Hello { lane, held, listen, ..hello(node, link % 8) },
    );
    prop_oneof![
        1 => prop::collection::vec(name().prop_map(place), 0..3)
            .prop_map(|seeds| PeersInput::Join { seeds }),
        3 => (link(), packet).prop_map(|(link, packet)| PeersInput::Swim { link, packet }),
        6 => greeting.prop_map(|hello| PeersInput::HelloReceived { token: 1, hello }),
        1 => link().prop_map(|link| PeersInput::DialFailed { link, reason: Reason::cut("no") }),
        2 => (link(), name(), refusal).prop_map(|(link, by, refusal)| {
            PeersInput::DialRefused { link, by: by.parse().unwrap(), refusal }
        }),
        6 => (link(), node_id(), listen())
            .prop_map(|(link, peer, listen)| PeersInput::LinkUp { link, peer, listen }),
        2 => link().prop_map(|link| PeersInput::LinkDown { link, why: broken() }),
        2 => link().prop_map(|link| PeersInput::Heard { link }),
        1 => link().prop_map(|link| PeersInput::Goodbye { link }),
        2 => Just(PeersInput::Tick),
    ]
}

/// Half of the time, makes a nonsensical input answer a real dial.
fn aim(input: PeersInput, dial: Option<LinkId>, aimed: bool) -> PeersInput {
    let Some(real) = dial.filter(|_| aimed) else { return input };
    match input {
        PeersInput::LinkUp { peer, listen, .. } => PeersInput::LinkUp { link: real, peer, listen },
        PeersInput::DialFailed { reason, .. } => PeersInput::DialFailed { link: real, reason },
        PeersInput::DialRefused { by, refusal, .. } => {
            PeersInput::DialRefused { link: real, by, refusal }
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn no_input_makes_it_panic_or_break_its_bounds(
        steps in prop::collection::vec((0..20_000_u64, any::<u64>(), nonsense(), any::<bool>()), 0..200)
    ) {
        let config =
            PeersConfig { peers_max: 3, dials_max: 2, seeds_max: 2, ..PeersConfig::default() };
        let mut peers = Peers::new(config, node(ME, 2)).unwrap();
        let mut now = Duration::ZERO;
        let mut up: BTreeMap<NodeName, (NodeId, LinkId)> = BTreeMap::new();
        for (millis, entropy, input, aimed) in steps {
            now += Duration::from_millis(millis);
            let dial = peers.roster.dials.keys().next().copied();
            let input = aim(input, dial, aimed);
            let is_hello = matches!(input, PeersInput::HelloReceived { .. });
            let mut answers = 0;
            for output in peers.step(now, entropy, input) {
                match output {
                    PeersOutput::PeerUp { peer, link } => {
                        prop_assert_eq!(up.insert(peer.name.clone(), (peer, link)), None);
                    }
                    PeersOutput::PeerDown { peer, link, .. } => {
                        prop_assert_eq!(up.remove(&peer.name), Some((peer, link)));
                    }
                    PeersOutput::Accept { .. } | PeersOutput::Refuse { .. } => answers += 1,
                    _ => {}
                }
            }
            prop_assert_eq!(answers, usize::from(is_hello));
            prop_assert!(peers.roster.peers.len() <= 3);
            prop_assert!(peers.roster.seeds.len() <= 2);
            prop_assert!(peers.roster.dials.len() <= 2);
            prop_assert!(peers.next_wakeup().is_none_or(|at| at > now), "it would spin");
            let linked: BTreeMap<_, _> = peers.roster.linked()
                .map(|(name, _, link)| (name.clone(), link.id)).collect();
            let told: BTreeMap<_, _> =
                up.iter().map(|(name, (_, link))| (name.clone(), *link)).collect();
            prop_assert_eq!(linked, told);
        }
    }
}
