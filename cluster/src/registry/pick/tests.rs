use proptest::prelude::*;
use umbel_protocol::Incarnation;

use super::*;

fn candidate(node: &str, actor: u64) -> Candidate {
    let id = NodeId { name: node.parse().unwrap(), incarnation: Incarnation(1) };
    Candidate::new(id, actor, Load::default(), false)
}

/// Two actors on each of these nodes.
fn on(nodes: &[&str]) -> Vec<Candidate> {
    let both = |node: &&str| [candidate(node, 1), candidate(node, 2)];
    nodes.iter().flat_map(both).collect()
}

fn picks(policy: &mut impl Pick, among: &[Candidate], count: usize) -> Vec<usize> {
    let mut state = 7_u64;
    let mut chance = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        rendezvous::mixed(state)
    };
    (0..count).map(|_| policy.pick(among, &mut chance).unwrap()).collect()
}

/// How often each of so many was picked.
fn counts(picks: &[usize], among: usize) -> Vec<usize> {
    (0..among).map(|index| picks.iter().filter(|picked| **picked == index).count()).collect()
}

#[test]
fn no_policy_picks_anybody_where_there_is_nobody() {
    let policies: [&mut dyn Pick; 5] = [
        &mut RoundRobin::default(),
        &mut Random,
        &mut LeastLoaded,
        &mut LocalFirst(Random),
        &mut ByKey(b"ada"),
    ];
    for policy in policies {
        assert_eq!(policy.pick(&[], &mut || 7), None);
    }
}

/// Worked out by another program from the definition: FNV-1a of `node#incarnation/actor` and of the
/// key, exclusive or, MurmurHash3's finalizer, the largest wins. A change would move keys between
/// nodes of different builds.
#[test]
fn keys_belong_where_they_always_did() {
    let among = on(&["a", "b", "c"]);
    for (key, index) in [
        ("", 5),
        ("a", 2),
        ("ada", 0),
        ("order-1", 2),
        ("order-2", 0),
        ("order-3", 4),
        ("order-4", 5),
        ("ö", 3),
    ] {
        assert_eq!(ByKey(key.as_bytes()).pick(&among, &mut || 0), Some(index), "{key:?}");
    }
}

#[test]
fn keys_are_spread_evenly() {
    let among = on(&["a", "b", "c"]);
    let picked: Vec<_> = (0..6_000)
        .map(|key| ByKey(format!("user-{key}").as_bytes()).pick(&among, &mut || 0).unwrap())
        .collect();
    for count in counts(&picked, 6) {
        assert!((900..1100).contains(&count), "{count} of 1000");
    }
}

#[test]
fn the_least_loaded_share_the_work_and_others_get_none() {
    let mut among = on(&["a", "b"]);
    for (candidate, depth) in among.iter_mut().zip([5, 1, 900, 1]) {
        candidate.load = Load::of(depth);
    }
    let counts = counts(&picks(&mut LeastLoaded, &among, 1000), 4);
    assert_eq!((counts[0], counts[2]), (0, 0));
    assert!(counts[1].abs_diff(counts[3]) < 150, "{counts:?}");
}

#[test]
fn actors_of_this_node_come_first_while_there_are_any() {
    let mut among = on(&["a", "b", "c"]);
    for candidate in &mut among[2..4] {
        candidate.is_here = true;
    }
    assert_eq!(picks(&mut LocalFirst(RoundRobin::default()), &among, 4), [2, 3, 2, 3]);
    let elsewhere = on(&["a", "c"]);
    assert_eq!(picks(&mut LocalFirst(RoundRobin::default()), &elsewhere, 4), [0, 1, 2, 3]);
}

#[test]
fn chance_reaches_everybody_about_as_often() {
    for count in counts(&picks(&mut Random, &on(&["a", "b"]), 4_000), 4) {
        assert!((850..1150).contains(&count), "{count} of 1000");
    }
}

/// Different actors, in the order in which a registry tells them.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::btree_set((0..9_u8, 0..50_u64), 2..30).prop_map(|places| {
        places.into_iter().map(|(node, actor)| candidate(&format!("n{node}"), actor)).collect()
    })
}

proptest! {
    #[test]
    fn when_an_actor_goes_only_its_own_keys_move(
        among in candidates(), gone in any::<prop::sample::Index>(),
        keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..50)
    ) {
        let gone = gone.index(among.len());
        let mut left = among.clone();
        left.remove(gone);
        for key in keys {
            let before = ByKey(&key).pick(&among, &mut || 0).unwrap();
            let after = ByKey(&key).pick(&left, &mut || 0).unwrap();
            if before != gone {
                prop_assert_eq!(&left[after], &among[before]);
            }
        }
    }

    #[test]
    fn a_key_belongs_to_the_same_actor_whatever_the_order(
        among in candidates(), key in prop::collection::vec(any::<u8>(), 0..12)
    ) {
        let mut turned = among.clone();
        turned.reverse();
        let one = ByKey(&key).pick(&among, &mut || 0).unwrap();
        let other = ByKey(&key).pick(&turned, &mut || 0).unwrap();
        prop_assert_eq!(&among[one], &turned[other]);
    }

    #[test]
    fn round_robin_gives_each_as_much_as_any_other_but_for_one(
        among in candidates(), count in 0..200_usize
    ) {
        let counts = counts(&picks(&mut RoundRobin::default(), &among, count), among.len());
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", counts);
    }
}
