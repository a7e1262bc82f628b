use super::*;
use crate::{Bounded, Incarnation, Text};

fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn registry(name: &str) -> Registry {
    Registry::new(node(name, 1), ReplicaLimits::default())
}

fn entry(message_type: &str) -> Entry {
    Entry::new(text(message_type))
}

fn register(registry: &mut Registry, name: &str, actor: u64) -> Vec<RegistryOutput> {
    let (name, entry) = (text(name), entry("T"));
    registry.step(RegistryInput::Register { name, actor, entry }).unwrap()
}

/// Joins two registries, and returns what `to` was told.
fn join(to: &mut Registry, from: &mut Registry) -> Vec<RegistryOutput> {
    let (to_id, from_id) = (to.replica.me().clone(), from.replica.me().clone());
    to.step(RegistryInput::PeerUp { peer: from_id.clone() }).unwrap();
    let mut sent = from.step(RegistryInput::PeerUp { peer: to_id.clone() }).unwrap();
    let mut told = Vec::new();
    while let Some(RegistryOutput::Send { message, .. }) = sent.pop() {
        let input = RegistryInput::Received { from: from_id.clone(), message };
        told.extend(to.step(input).unwrap());
        sent.extend(from.step(RegistryInput::Room { peer: to_id.clone() }).unwrap());
    }
    told
}

fn places(registry: &Registry, name: &str) -> Vec<(String, u64)> {
    registry.discover(name).map(|found| (found.node.to_string(), found.actor)).collect()
}

fn at(places: &[(&str, u64)]) -> Vec<(String, u64)> {
    places.iter().map(|(node, actor)| ((*node).to_owned(), *actor)).collect()
}

#[test]
fn all_actors_of_a_name_are_found_in_order_of_node_and_actor() {
    let (mut a, mut m, mut z) = (registry("a"), registry("m"), registry("z"));
    for name in ["orders", "other"] {
        register(&mut z, name, 1);
        register(&mut m, name, 9);
        register(&mut m, name, 2);
        register(&mut a, name, 5);
    }
    join(&mut m, &mut z);
    join(&mut m, &mut a);
    assert_eq!(places(&m, "orders"), at(&[("a#1", 5), ("m#1", 2), ("m#1", 9), ("z#1", 1)]));
    assert_eq!(places(&m, "nobody"), []);
}

#[test]
fn an_actor_of_this_node_is_resolved_before_those_of_others() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    register(&mut a, "orders", 5);
    join(&mut m, &mut a);
    assert_eq!(m.resolve("orders").unwrap().node, &node("a", 1));
    register(&mut m, "orders", 9);
    assert_eq!(m.resolve("orders").unwrap().node, &node("m", 1));
    assert_eq!(m.resolve("nobody"), None);
}

#[test]
fn entries_die_with_their_actor() {
    let mut a = registry("a");
    register(&mut a, "orders", 1);
    register(&mut a, "invoices", 1);
    register(&mut a, "orders", 2);
    let gone = a.step(RegistryInput::ActorEnded { actor: 1 }).unwrap();
    let broadcasts = gone.iter().filter(|it| matches!(it, RegistryOutput::Broadcast(_))).count();
    assert_eq!(broadcasts, 1);
    assert_eq!(places(&a, "orders"), at(&[("a#1", 2)]));
    assert_eq!(a.names().count(), 1);
    assert_eq!(a.own_names.len(), 1);
    assert_eq!(a.step(RegistryInput::ActorEnded { actor: 1 }), Ok(vec![]));
}

#[test]
fn entries_die_with_their_node_and_watchers_are_told() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    register(&mut a, "orders", 5);
    let told = join(&mut m, &mut a);
    let (key, origin) = (EntryKey { name: text("orders"), actor: 5 }, node("a", 1));
    let event = |kind| {
        let (origin, key) = (origin.clone(), key.clone());
        RegistryOutput::Event(RegistryEvent { origin, key, kind })
    };
    assert_eq!(told, [event(ReplicaEventKind::Added { value: entry("T") })]);
    let gone = m.step(RegistryInput::PeerDown { peer: node("a", 1) }).unwrap();
    assert_eq!(gone, [event(ReplicaEventKind::Removed { was: entry("T") })]);
    assert_eq!(places(&m, "orders"), []);
    assert_eq!(m.names().count(), 0, "no empty name stays behind");
}

#[test]
fn registering_again_replaces_what_is_told_of_an_actor() {
    let mut a = registry("a");
    register(&mut a, "orders", 1);
    let tagged = entry("U").tag(text("fast")).unwrap().detail(text("zone"), text("x")).unwrap();
    let (name, entry) = (text("orders"), tagged.clone());
    a.step(RegistryInput::Register { name, actor: 1, entry }).unwrap();
    assert_eq!(a.discover("orders").map(|found| found.entry).collect::<Vec<_>>(), [&tagged]);
    a.step(RegistryInput::Unregister { name: text("orders"), actor: 1 }).unwrap();
    assert_eq!(a.resolve("orders"), None);
}

#[test]
fn an_entry_has_as_many_tags_and_details_as_allowed_and_no_more() {
    let mut full = entry("T");
    for number in 0..16 {
        full = full.tag(text(&format!("t{number}"))).unwrap();
        full = full.detail(text(&format!("k{number}")), text("v")).unwrap();
    }
    assert!(full.is_within_bounds());
    assert_eq!(full.clone().tag(text("one more")), Err(EntryError::TooManyTags));
    let more = full.clone().detail(text("one more"), text("v"));
    assert_eq!(more, Err(EntryError::TooMuchMetadata));
    assert!(full.tag(text("t0")).is_ok(), "one that it has already needs no room");
}

#[test]
fn a_peer_whose_entry_has_too_many_tags_is_found_out() {
    let mut m = registry("m");
    m.step(RegistryInput::PeerUp { peer: node("a", 1) }).unwrap();
    let tags = (0..17).map(|number| text(&format!("t{number}"))).collect();
    let entry = Entry::with_tags_unchecked(tags);
    let key = EntryKey { name: text("orders"), actor: 5 };
    let message = RegistryMessage::Snapshot {
        origin: node("a", 1),
        version: 1,
        part: 0,
        last: true,
        entries: vec![(key, entry)],
    };
    let received = RegistryInput::Received { from: node("a", 1), message };
    assert_eq!(m.step(received), Err(ReplicaError::TooLarge));
    assert_eq!(places(&m, "orders"), []);
}

#[test]
fn ten_thousand_entries_reach_a_joining_node() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    for actor in 0..10_000 {
        register(&mut a, &format!("name{}", actor % 100), actor);
    }
    join(&mut m, &mut a);
    assert_eq!(m.count_of(&node("a", 1)), 10_000);
    assert_eq!(m.discover("name7").count(), 100);
    assert_eq!(m.view().entries.len(), 10_000);
}

#[test]
fn a_node_that_goes_on_as_another_life_offers_the_same_actors() {
    let (mut m, mut a) = (registry("m"), registry("a"));
    register(&mut m, "orders", 7);
    m.step(RegistryInput::Renewed { me: node("m", 5) }).unwrap();
    assert_eq!(places(&m, "orders"), at(&[("m#5", 7)]));
    join(&mut a, &mut m);
    assert_eq!(places(&a, "orders"), at(&[("m#5", 7)]));
    m.step(RegistryInput::ActorEnded { actor: 7 }).unwrap();
    assert_eq!(places(&m, "orders"), []);
}

fn set_health(registry: &mut Registry, name: &str, actor: u64, health: Health) {
    let name = text(name);
    registry.step(RegistryInput::Health { name, actor, health }).unwrap();
}

fn find(registry: &Registry, query: impl Into<Query>) -> Vec<(String, u64)> {
    let found = registry.find(&query.into());
    found.iter().map(|found| (found.node.to_string(), found.actor)).collect()
}

#[test]
fn only_those_that_can_be_given_work_are_found_unless_all_are_asked_for() {
    let mut a = registry("a");
    for actor in 1..=4 {
        register(&mut a, "orders", actor);
    }
    set_health(&mut a, "orders", 1, Health::Starting);
    set_health(&mut a, "orders", 2, Health::Unhealthy);
    set_health(&mut a, "orders", 4, Health::Draining);
    assert_eq!(find(&a, "orders"), at(&[("a#1", 3)]));
    assert_eq!(a.resolve("orders").unwrap().actor, 3);
    assert_eq!(find(&a, Query::name("orders").whatever_health()).len(), 4);
    set_health(&mut a, "orders", 3, Health::Unhealthy);
    assert_eq!(a.resolve("orders"), None);
    let views = a.view().entries;
    assert_eq!(views.iter().filter(|it| it.entry.health() == Health::Unhealthy).count(), 2);
}

#[test]
fn an_actor_of_another_node_is_resolved_while_this_nodes_own_is_unhealthy() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    register(&mut a, "orders", 5);
    join(&mut m, &mut a);
    register(&mut m, "orders", 9);
    set_health(&mut m, "orders", 9, Health::Unhealthy);
    assert_eq!(m.resolve("orders").unwrap().node, &node("a", 1));
}

#[test]
fn the_health_of_what_is_not_registered_is_not_told() {
    let mut a = registry("a");
    let (name, actor, health) = (text("orders"), 1, Health::Healthy);
    assert_eq!(a.step(RegistryInput::Health { name, actor, health }), Ok(vec![]));
}

fn tagged(registry: &mut Registry, name: &str, actor: u64, tags: &[&str]) {
    let tag = |entry: Entry, tag: &&str| entry.tag(text(tag)).unwrap();
    let entry = tags.iter().fold(entry("T"), tag);
    registry.step(RegistryInput::Register { name: text(name), actor, entry }).unwrap();
}

#[test]
fn actors_are_found_by_tag_under_whatever_name_and_by_both() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    tagged(&mut a, "orders", 1, &["fast", "new"]);
    tagged(&mut a, "stock", 2, &["fast"]);
    tagged(&mut m, "orders", 3, &["fast"]);
    tagged(&mut m, "orders", 4, &[]);
    join(&mut m, &mut a);
    assert_eq!(find(&m, Query::tagged("fast")), at(&[("a#1", 1), ("a#1", 2), ("m#1", 3)]));
    assert_eq!(find(&m, Query::tagged("fast").tag("new")), at(&[("a#1", 1)]));
    assert_eq!(find(&m, Query::name("orders").tag("fast")), at(&[("a#1", 1), ("m#1", 3)]));
    assert_eq!(find(&m, Query::tagged("slow")), []);
    tagged(&mut m, "orders", 3, &["slow"]);
    assert_eq!(find(&m, Query::tagged("fast")), at(&[("a#1", 1), ("a#1", 2)]));
    assert_eq!(find(&m, Query::tagged("slow")), at(&[("m#1", 3)]));
    m.step(RegistryInput::PeerDown { peer: node("a", 1) }).unwrap();
    assert_eq!(find(&m, Query::tagged("fast")), []);
    assert_eq!(m.by_tag.len(), 1, "no empty tag stays behind");
}

fn depths(registry: &mut Registry, depths: &[(u64, u64)]) -> Vec<u64> {
    let depths = depths.iter().copied().collect();
    let outputs = registry.step(RegistryInput::Depths { depths }).unwrap();
    let told = outputs.iter().filter_map(|output| match output {
        RegistryOutput::Event(event) => Some(event.key.actor),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_load_is_told_when_it_is_another_than_was_told() {
    let mut a = registry("a");
    for actor in 1..=3 {
        register(&mut a, "orders", actor);
    }
    assert_eq!(depths(&mut a, &[(1, 0), (2, 5), (3, 1), (4, 9)]), [2, 3]);
    assert_eq!(depths(&mut a, &[(1, 0), (2, 7), (3, 0)]), [3], "5 and 7 are one load");
    let loads: Vec<_> = a.discover("orders").map(|found| found.entry.load()).collect();
    assert_eq!(loads, [0, 4, 0].map(Load::of));
}

#[test]
fn loads_that_change_all_at_once_are_told_a_bounded_number_at_a_time_each_in_its_turn() {
    let mut a = registry("a");
    let detail = |key: u64| (text(&format!("k{key}")), text(&"v".repeat(255)));
    let mut large = entry("T");
    for (key, value) in (0..16).map(detail) {
        large = large.detail(key, value).unwrap();
    }
    for actor in 0..100 {
        let (name, entry) = (text("orders"), large.clone());
        a.step(RegistryInput::Register { name, actor, entry }).unwrap();
    }
    let mut told = Vec::new();
    for round in 1.. {
        // Others change meanwhile, and must not push themselves in front.
        let now: Vec<_> = (0..100).map(|actor| (actor, 1 << round)).collect();
        let some = depths(&mut a, &now);
        assert!(some.len() * large.bytes() <= LOADS_BYTES_MAX + 2 * large.bytes());
        told.extend(some);
        if told.len() >= 100 {
            break;
        }
    }
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), 100, "each was told once before any was told twice");
}

#[test]
fn whoever_leaves_takes_all_its_entries_back_and_no_others() {
    let (mut a, mut m) = (registry("a"), registry("m"));
    register(&mut a, "orders", 5);
    register(&mut m, "orders", 6);
    register(&mut m, "stock", 7);
    join(&mut m, &mut a);
    let outputs = m.step(RegistryInput::Withdraw).unwrap();
    let sent = outputs.iter().filter(|it| matches!(it, RegistryOutput::Broadcast(_))).count();
    assert_eq!(sent, 1);
    assert_eq!(find(&m, "orders"), at(&[("a#1", 5)]));
    assert_eq!(m.count_of(&node("m", 1)), 0);
}
