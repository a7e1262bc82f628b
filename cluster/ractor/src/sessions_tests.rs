use futures_util::FutureExt;
use ractor::Actor;
use ractor_cluster::NodeServer;
use tokio::io::DuplexStream;
use umbel_protocol::Incarnation;

use super::*;
use crate::door;
use crate::introduction::Introduction;

/// A real `NodeServer`, which tells these sessions.
async fn serving() -> (Arc<Sessions>, ActorRef<NodeServerMessage>) {
    let sessions = Arc::new(Sessions::default());
    let server = NodeServer::new(
        0,
        "cookie".into(),
        "a".into(),
        "a.shop".into(),
        Some(door::walled_up()),
        None,
    )
    .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into());
    let (server, _) = Actor::spawn(None, server, ()).await.unwrap();
    let subscription = Box::new(sessions.clone().events());
    let subscribe = NodeServerMessage::SubscribeToEvents { id: "test".into(), subscription };
    server.cast(subscribe).unwrap();
    sessions.serve(server.clone(), "shop".parse().unwrap());
    (sessions, server)
}

fn life(name: &str, incarnation: u64) -> NodeId {
    NodeId { name: name.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

/// Hands over a connection whose other end says nothing.
async fn hand_over(place: &Place) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1024);
    let introduction = Introduction::new("b@b.shop".into(), false);
    let (lent, lease) = Lent::new(Box::new(near), introduction, place.label().to_owned());
    place.hand_over(lent, lease, true).await.unwrap();
    far
}

/// How many sessions the server has; its listener is a child, too.
fn held(server: &ActorRef<NodeServerMessage>) -> usize {
    server.get_children().len() - 1
}

#[tokio::test]
async fn the_next_session_of_a_name_waits_until_the_server_has_forgotten_the_last() {
    let (sessions, server) = serving().await;
    let first = sessions.enter(&life("b", 1), LinkId(1)).await.unwrap();
    let _far = hand_over(&first).await;
    assert_eq!(held(&server), 1);
    let next = life("b", 2);
    let mut next = std::pin::pin!(sessions.enter(&next, LinkId(2)));
    assert!(next.as_mut().now_or_never().is_none());
    // Another name does not wait.
    let other = sessions.enter(&life("c", 1), LinkId(3)).await.unwrap();
    drop(first);
    assert!(next.as_mut().now_or_never().is_none(), "ended, and not forgotten yet");
    let next = next.await.unwrap();
    assert_eq!(held(&server), 0);
    let _far = hand_over(&next).await;
    assert_eq!(held(&server), 1);
    drop((next, other));
    sessions.end_all().await;
    server.stop_and_wait(None, None).await.unwrap();
}

#[tokio::test]
async fn a_place_that_was_never_used_is_free_at_once() {
    let (sessions, server) = serving().await;
    drop(sessions.enter(&life("b", 1), LinkId(1)).await.unwrap());
    let place = life("b", 1);
    let mut place = std::pin::pin!(sessions.enter(&place, LinkId(2)));
    assert!(matches!(place.as_mut().now_or_never(), Some(Ok(_))));
    server.stop_and_wait(None, None).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_hangs_up_ends_its_session() {
    let (sessions, server) = serving().await;
    let place = sessions.enter(&life("b", 1), LinkId(1)).await.unwrap();
    let far = hand_over(&place).await;
    drop(far);
    assert!(!place.is_ready().await);
    place.ended().await;
    server.stop_and_wait(None, None).await.unwrap();
}

#[tokio::test]
async fn when_the_server_is_gone_nobody_waits_and_nobody_enters() {
    let (sessions, server) = serving().await;
    let b = life("b", 1);
    let place = sessions.enter(&b, LinkId(1)).await.unwrap();
    let _far = hand_over(&place).await;
    let mut waiting = std::pin::pin!(sessions.enter(&b, LinkId(2)));
    assert!(waiting.as_mut().now_or_never().is_none());
    sessions.server_gone();
    assert!(matches!(waiting.await, Err(LaneError::NotRunning)));
    place.ended().await;
    assert!(matches!(sessions.enter(&b, LinkId(3)).await, Err(LaneError::NotRunning)));
    server.stop_and_wait(None, None).await.unwrap();
}
