//! The actor that owns ractor_cluster's `NodeServer`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{NodeServer, NodeServerMessage};
use umbel_actors::Message;
use umbel_protocol::Identity;

use crate::door;
use crate::error::LaneError;
use crate::sessions::Sessions;

/// The name of `NodeServer` in ractor's table of names, which is one for the process as the lane is:
/// a second node of the process finds it taken.
const NAME: &str = "umbel.ractor_cluster";

/// How long sessions, and then their server, have to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Owns `NodeServer`: starts it, starts it again where it ends, and ends it with the node's system.
pub(crate) struct Keeper {
    pub(crate) me: Identity,
    pub(crate) frame_bytes_max: u64,
    pub(crate) sessions: Arc<Sessions>,
}

/// Nothing is sent to the keeper.
#[derive(Message)]
pub(crate) enum Never {}

pub(crate) struct Kept {
    server: ActorRef<NodeServerMessage>,
    sessions: Arc<Sessions>,
}

impl Drop for Kept {
    /// Not in `post_stop`: a keeper that is killed has none, and its server ends with it.
    fn drop(&mut self) {
        self.sessions.server_gone();
    }
}

impl Keeper {
    async fn serve(
        &self,
        myself: &ActorRef<Never>,
    ) -> Result<ActorRef<NodeServerMessage>, LaneError> {
        let Identity { cluster, node } = &self.me;
        // Not a secret, as all nodes of a cluster have to have the same: certificates decide who
        // comes in. Isolated: transitive sessions would dial past our links, and in plain text.
        let server = NodeServer::new(
            0,
            format!("umbel://{cluster}"),
            node.to_string(),
            host_name(&self.me),
            Some(door::walled_up()),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(self.frame_bytes_max);
        let started =
            Actor::spawn_linked(Some(NAME.to_owned()), server, (), myself.get_cell()).await;
        let (server, _) = started.map_err(|why| match why {
            SpawnErr::ActorAlreadyRegistered(_) => LaneError::Taken,
            why => LaneError::NodeServer(why),
        })?;
        let subscribe = NodeServerMessage::SubscribeToEvents {
            id: NAME.to_owned(),
            subscription: Box::new(self.sessions.clone().events()),
        };
        server.cast(subscribe).map_err(|_| LaneError::NotRunning)?;
        self.sessions.serve(server.clone(), self.me.cluster.clone());
        Ok(server)
    }
}

impl Actor for Keeper {
    type Msg = Never;
    type State = Kept;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Never>, (): ()) -> Result<Kept, ActorProcessingErr> {
        let server = self.serve(&myself).await?;
        Ok(Kept { server, sessions: self.sessions.clone() })
    }

    async fn post_stop(
        &self,
        _: ActorRef<Never>,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        // Sessions that end by themselves take back what they have entered in ractor's tables.
        let ended = tokio::time::timeout(FAREWELL, self.sessions.end_all());
        let _ = ended.await;
        let _ = kept.server.stop_and_wait(None, Some(FAREWELL)).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Never>,
        event: SupervisionEvent,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(actor, ..)
        | SupervisionEvent::ActorFailed(actor, _) = event
            && actor.get_id() == kept.server.get_id()
        {
            tracing::error!(target: "umbel", "ractor_cluster's NodeServer has ended: starting it");
            self.sessions.server_gone();
            kept.server = self.serve(&myself).await?;
        }
        Ok(())
    }
}

/// What ractor_cluster calls a node: `name@host`, with a host of its own for each node. Two nodes of
/// one host and, by chance, one port would take each other for themselves.
pub(crate) fn full_name(node: &Identity) -> String {
    format!("{}@{}", node.node, host_name(node))
}

fn host_name(node: &Identity) -> String {
    format!("{}.{}", node.node, node.cluster)
}
