use super::*;
use crate::Incarnation;

fn node(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn interest(name: &str) -> Interest {
    let limits = ReplicaLimits { entries_max: 3, ..ReplicaLimits::default() };
    Interest::new(node(name, 1), limits)
}

fn subscribe(interest: &mut Interest, name: &str) -> Vec<InterestOutput> {
    interest.step(InterestInput::Subscribe { topic: topic(name) }).unwrap()
}

fn unsubscribe(interest: &mut Interest, name: &str) -> Vec<InterestOutput> {
    interest.step(InterestInput::Unsubscribe { topic: topic(name) }).unwrap()
}

fn is_news(outputs: &[InterestOutput]) -> bool {
    outputs.iter().any(|output| matches!(output, InterestOutput::Broadcast(_)))
}

/// `a`, which was told by a peer that it is interested in "prices".
fn informed() -> Interest {
    let (mut a, peer) = (interest("a"), node("b", 1));
    a.step(InterestInput::PeerUp { peer: peer.clone() }).unwrap();
    let entries = vec![(topic("prices"), ())];
    let (origin, version) = (peer.clone(), 1);
    let message = InterestMessage::Snapshot { origin, version, part: 0, last: true, entries };
    a.step(InterestInput::Received { from: peer, message }).unwrap();
    a
}

#[test]
fn only_the_first_and_the_last_subscriber_are_news() {
    let mut a = interest("a");
    assert!(is_news(&subscribe(&mut a, "prices")));
    assert!(!is_news(&subscribe(&mut a, "prices")));
    assert!(!is_news(&unsubscribe(&mut a, "prices")));
    assert_eq!(a.subscribers_here("prices"), 1);
    assert!(is_news(&unsubscribe(&mut a, "prices")));
    assert!(!is_news(&unsubscribe(&mut a, "prices")), "once too often does nothing");
    assert_eq!(a.subscribers_here("prices"), 0);
    assert!(is_news(&subscribe(&mut a, "prices")));
}

#[test]
fn peers_with_subscribers_are_known_by_topic_and_this_node_is_not_among_them() {
    let mut a = informed();
    subscribe(&mut a, "prices");
    assert_eq!(a.interested("prices").collect::<Vec<_>>(), [&node("b", 1)]);
    assert_eq!(a.interested("weather").count(), 0);
    let seen =
        TopicView { topic: topic("prices"), subscribers_here: 1, interested: vec![node("b", 1)] };
    assert_eq!(a.view().topics, [seen]);
}

#[test]
fn a_peer_that_loses_its_last_subscriber_is_no_longer_interested() {
    let mut a = informed();
    let changes = vec![crate::Change::Remove { key: topic("prices") }];
    let message = InterestMessage::Delta { origin: node("b", 1), from: 1, to: 2, changes };
    a.step(InterestInput::Received { from: node("b", 1), message }).unwrap();
    assert_eq!(a.interested("prices").count(), 0);
    assert!(a.elsewhere.is_empty());
}

#[test]
fn a_peer_that_is_down_is_interested_in_nothing() {
    let mut a = informed();
    a.step(InterestInput::PeerDown { peer: node("b", 1) }).unwrap();
    assert_eq!(a.interested("prices").count(), 0);
    assert!(a.elsewhere.is_empty());
}

#[test]
fn topics_beyond_the_bound_are_refused_and_subscribers_are_not() {
    let mut a = interest("a");
    for name in ["x", "y", "z"] {
        subscribe(&mut a, name);
    }
    let full = Err(ReplicaError::Full { entries_max: 3 });
    assert_eq!(a.step(InterestInput::Subscribe { topic: topic("one more") }), full);
    assert_eq!(a.subscribers_here("one more"), 0);
    subscribe(&mut a, "z");
    assert_eq!(a.subscribers_here("z"), 2);
}
