//! Whatever is told to [`Peers`], in whatever order, its bounds and its promises hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{ME, broken, hello, node, place};
use super::*;
use crate::{Hello, Incarnation, Lane, LinkId, NodeName, Reason};

/// Inputs without sense, from few enough names and links that they meet.
fn nonsense() -> impl Strategy<Value = PeersInput> {
    let name = || prop::sample::select(vec!["a", "b", ME, "y", "z"]);
    let node_id = move || (name(), 0..4_u64).prop_map(|(name, life)| node(name, life));
    let link = || prop_oneof![0..6_u64, any::<u64>()].prop_map(LinkId);
    let lane = prop_oneof![Just(Lane::Control), Just(Lane::Data), Just(Lane::Bulk)];
    let refusal = prop_oneof![
        Just(Refusal::Crossed),
        Just(Refusal::SameNode),
        Just(Refusal::Leaving),
        (0..9_u64).prop_map(|known| Refusal::Fenced { known: Incarnation(known) }),
        link().prop_map(|link| Refusal::AlreadyLinked { link }),
        (name(), name()).prop_map(|(a, b)| Refusal::WrongNode {
            expected: a.parse().unwrap(),
            found: b.parse().unwrap()
        }),
    ];
    let listen = move || prop::option::of(name().prop_map(place));
    let info = (node_id(), name()).prop_map(|(node, at)| PeerInfo { node, endpoint: place(at) });
    let greeting = (node_id(), any::<u64>(), lane, prop::option::of(link()), listen()).prop_map(
        |(node, link, lane, lost, listen)| Hello { lane, lost, listen, ..hello(node, link % 8) },
    );
    prop_oneof![
        1 => prop::collection::vec(name().prop_map(place), 0..3)
            .prop_map(|seeds| PeersInput::Join { seeds }),
        3 => (link(), prop::collection::vec(info, 0..4))
            .prop_map(|(link, peers)| PeersInput::Learned { link, peers }),
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
