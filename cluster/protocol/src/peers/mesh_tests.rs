//! Many [`Peers`] in a network with faults: whatever happens, in the end each pair is joined by
//! exactly one link.

use std::time::Duration;

use proptest::prelude::*;

use super::mesh::{Event, Fault, Mesh, SEEDS};
use super::*;

const SETTLE: Duration = Duration::from_secs(90);

fn faults(nodes: usize) -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let node = || 0..nodes;
    let fault = prop_oneof![
        2 => (node(), any::<bool>()).prop_map(|(node, silently)| Fault::Kill { node, silently }),
        4 => (node(), any::<bool>())
            .prop_map(|(node, elsewhere)| Fault::Restart { node, elsewhere }),
        2 => (node(), 1..20_000_u64).prop_map(|(node, millis)| Fault::Pause { node, millis }),
        2 => ((node(), node()), 1..20_000_u64)
            .prop_map(|(nodes, millis)| Fault::Cut { nodes, millis }),
        2 => node().prop_map(|node| Fault::Reset { node }),
        1 => node().prop_map(|node| Fault::Leave { node }),
    ];
    prop::collection::vec((0..30_000_u64, fault), 0..20)
}

fn scenario() -> impl Strategy<Value = (usize, u64, u64, Vec<(u64, Fault)>)> {
    (2..6_usize).prop_flat_map(|nodes| (Just(nodes), any::<u64>(), 0..30_u64, faults(nodes)))
}

fn run(nodes: usize, seed: u64, loss: u64, faults: &[(u64, Fault)]) -> Result<Mesh, String> {
    let config = PeersConfig::default();
    let mut mesh = Mesh::new(nodes, seed, loss, &config);
    for (millis, fault) in faults {
        mesh.at(Duration::from_millis(*millis), Event::Fault(fault.clone()));
    }
    let healed = Duration::from_secs(30);
    mesh.run_until(healed, &config);
    mesh.heal(&config);
    mesh.run_until(healed + SETTLE, &config);
    mesh.check_meshed()?;
    Ok(mesh)
}

proptest! {
    // A case takes two minutes of simulated time; `PROPTEST_CASES` counts four for one here.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(4),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_pair_ends_with_exactly_one_link((nodes, seed, loss, faults) in scenario()) {
        let mesh = run(nodes, seed, loss, &faults);
        prop_assert!(mesh.is_ok(), "{}", mesh.err().unwrap());
    }
}

#[test]
fn a_mesh_that_has_settled_stays_as_it_is() {
    for seed in 0..8 {
        let mut mesh = run(5, seed, 20, &[]).unwrap();
        let (noise, links) = (mesh.noise, mesh.wires.len());
        mesh.run_until(mesh.now + SETTLE, &PeersConfig::default());
        mesh.check_meshed().unwrap();
        assert_eq!(mesh.noise, noise, "nobody dials, comes or goes any more");
        assert_eq!(links, 5 * 4 / 2, "no connection is left over");
    }
}

#[test]
fn whoever_joins_through_one_is_linked_with_all_within_two_seconds() {
    for seed in 0..8 {
        let config = PeersConfig::default();
        let mut mesh = Mesh::new(10, seed, 0, &config);
        mesh.run_until(Duration::from_secs(2), &config);
        mesh.check_meshed().unwrap();
    }
}

/// Cuts ten nodes in two for a quarter of a minute; how many began another life, half a minute after.
fn partitioned(seed: u64, first: usize) -> usize {
    let config = PeersConfig::default();
    let mut mesh = Mesh::new(10, seed, 0, &config);
    mesh.run_until(Duration::from_secs(5), &config);
    mesh.check_meshed().unwrap();
    let before: Vec<_> = mesh.nodes.iter().map(|node| node.id.clone()).collect();
    for a in 0..first {
        for b in first..10 {
            mesh.fault(Fault::Cut { nodes: (a, b), millis: 15_000 }, &config);
        }
    }
    mesh.run_until(Duration::from_secs(19), &config);
    for (index, node) in mesh.nodes.iter().enumerate() {
        let side = if index < first { first } else { 10 - first };
        assert_eq!(node.up.len() + 1, side, "each side is whole by itself");
    }
    mesh.run_until(Duration::from_secs(50), &config);
    mesh.check_meshed().unwrap();
    mesh.nodes.iter().zip(&before).filter(|(node, before)| node.id != **before).count()
}

#[test]
fn a_partition_in_two_halves_heals_and_one_half_begins_anew() {
    for seed in 0..4 {
        assert_eq!(partitioned(seed, 5), 5);
    }
}

#[test]
fn a_node_that_was_cut_off_begins_anew_and_no_other_does() {
    for seed in 0..4 {
        assert_eq!(partitioned(seed, 1), 1);
    }
}

/// Found by the property above. `n3` hears where the next life of `n0` listens while its link with the
/// last one still seems to be up; `n0` hears of `n3` only when it is suspect, then down.
#[test]
fn who_is_told_of_a_later_life_elsewhere_before_its_link_ends_finds_it() {
    let faults = [
        (11_040, Fault::Cut { nodes: (0, 3), millis: 15_035 }),
        (18_385, Fault::Pause { node: 2, millis: 13_993 }),
        (20_388, Fault::Restart { node: 4, elsewhere: true }),
        (23_648, Fault::Restart { node: 0, elsewhere: false }),
    ];
    run(5, 17_087_506_887_110_051, 0, &faults).unwrap();
}

#[test]
fn two_that_were_parted_for_longer_than_peers_are_remembered_link_again() {
    let config = PeersConfig { forget_after: Duration::from_secs(20), ..PeersConfig::default() };
    for seed in 0..4 {
        let mut mesh = Mesh::new(4, seed, 0, &config);
        mesh.run_until(Duration::from_secs(5), &config);
        mesh.check_meshed().unwrap();
        // Neither is a seed. Others see both, so that neither is declared down.
        mesh.fault(Fault::Cut { nodes: (SEEDS, SEEDS + 1), millis: 60_000 }, &config);
        mesh.run_until(Duration::from_secs(80), &config);
        mesh.check_meshed().unwrap();
    }
}

#[test]
fn fifty_restarts_in_a_row_leave_nothing_of_earlier_lives() {
    let config = PeersConfig::default();
    let mut mesh = Mesh::new(3, 7, 0, &config);
    for round in 1..=50 {
        mesh.run_until(Duration::from_secs(round * 2), &config);
        mesh.fault(Fault::Restart { node: 2, elsewhere: round % 2 == 0 }, &config);
    }
    mesh.run_until(mesh.now + Duration::from_secs(20), &config);
    mesh.check_meshed().unwrap();
    for node in &mesh.nodes {
        let peers = node.peers.as_ref().unwrap();
        assert_eq!((peers.view().peers.len(), peers.view().members.len()), (2, 2));
        assert_eq!(peers.roster.dials.len(), 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let faults = [(1_000, Fault::Restart { node: 1, elsewhere: false })];
    let trace = |seed| {
        let mesh = run(4, seed, 10, &faults).unwrap();
        let ups: Vec<_> = mesh.nodes.into_iter().map(|node| node.up).collect();
        (ups, mesh.sequence, mesh.noise)
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
