//! What is left of the lane when its node is gone: nothing.

mod program;
mod support;

use umbel_cluster::{MemoryNetwork, Node, StartError};
use umbel_protocol::Identity;
use umbel_ractor_cluster::{LaneError, RactorCluster};

use support::{LONG, Possessions, Shop};

/// The child's side; a test that does nothing unless the environment says what to be.
#[test]
fn child() {
    let Some(what) = support::child() else { return };
    let [_, directory, seed] = &what[..] else { panic!("{what:?}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(support::be_node(directory.into(), seed, program::open()));
}

/// Opens a shop that trades with another process, and ends its node; what is left then is what was
/// there before.
async fn nothing_is_left(end: impl AsyncFnOnce(&Shop)) {
    // The first of all opens what a process opens once.
    let first = Shop::open().await;
    first.node.leave(LONG).await;
    let node = first.node.clone();
    drop(first);
    node.system().stopped().await;
    drop(node);
    let before = Possessions::now();
    let shop = Shop::open().await;
    let process = shop.process();
    shop.until_ready(1).await;
    assert_eq!(program::trade(&program::remote()[0]).await.unwrap(), process.id());
    let during = Possessions::now();
    assert!(during.tasks > before.tasks && during.actors > before.actors, "{during:?}");
    assert!(during.sockets > before.sockets && !during.groups.is_empty(), "{during:?}");
    end(&shop).await;
    assert!(shop.lane.node_server().is_none());
    drop((shop, process));
    before.again().await;
}

#[tokio::test]
async fn a_node_that_leaves_leaves_no_task_actor_socket_or_group_behind() {
    nothing_is_left(async |shop| {
        let report = shop.node.leave(LONG).await;
        assert!(report.is_clean(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_killed_leaves_no_task_actor_socket_or_group_behind() {
    nothing_is_left(async |shop| {
        let keeper = shop.lane.node_server().unwrap().try_get_supervisor().unwrap();
        let root = keeper.try_get_supervisor().unwrap();
        // Keeper and coordinator, with no time to end by themselves.
        assert_eq!(root.get_children().len(), 2);
        root.get_children().iter().for_each(ractor::ActorCell::kill);
        shop.node.system().shutdown(LONG).await;
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_leaves_is_no_longer_ready_and_its_actors_leave_their_groups() {
    let shop = Shop::open().await;
    let mut process = shop.process();
    shop.until_ready(1).await;
    let known = shop.lane.ready();
    let process = tokio::task::spawn_blocking(move || {
        process.leave();
        process
    });
    assert!(shop.lane.ready_changed(&known).await.is_empty());
    shop.until("its actors have left their groups", || program::remote().is_empty()).await;
    drop(process.await.unwrap());
    shop.node.leave(LONG).await;
}

#[tokio::test]
async fn a_second_node_of_the_process_is_told_why_it_cannot_have_the_lane_and_can_when_it_is_free()
{
    let shop = Shop::open().await;
    let network = MemoryNetwork::new();
    let second = || {
        let identity = Identity::new("shop".parse().unwrap(), "c".parse().unwrap());
        Node::builder().transport(network.transport(identity)).listen("c")
    };
    let refused = second().rider(RactorCluster::new()).start().await.unwrap_err();
    assert!(refused.to_string().contains("a process of its own"), "{refused}");
    let StartError::Rider(why) = refused else { panic!("{refused:?}") };
    assert!(matches!(why.downcast_ref(), Some(LaneError::Taken)), "{why:?}");
    // Without the lane it can be.
    let without = second().start().await.unwrap();
    without.leave(LONG).await;
    shop.node.leave(LONG).await;
    let lane = RactorCluster::new();
    let with = second().rider(lane.clone()).start().await.unwrap();
    assert!(lane.node_server().is_some());
    with.leave(LONG).await;
}

#[tokio::test]
async fn a_server_that_was_stopped_is_started_again_and_the_peers_are_ready_again() {
    let shop = Shop::open().await;
    let process = shop.process();
    shop.until_ready(1).await;
    let server = shop.lane.node_server().unwrap();
    server.stop(None);
    shop.until("another server", || {
        shop.lane.node_server().is_some_and(|other| other.get_id() != server.get_id())
    })
    .await;
    shop.until_ready(1).await;
    assert_eq!(program::trade(&program::remote()[0]).await.unwrap(), process.id());
    shop.node.leave(LONG).await;
}
