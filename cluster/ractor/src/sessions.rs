//! Which sessions `NodeServer` has, or still has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ractor::ActorRef;
use ractor_cluster::node::NodeServerSessionInformation;
use ractor_cluster::{NodeEventSubscription, NodeServerMessage};
use tokio::sync::watch;
use umbel_protocol::{ClusterName, LinkId, NodeId};

use crate::error::LaneError;
use crate::lent::{Lease, Lent};

/// How long `NodeServer` may take to say that it has seen to what it was told before.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Which sessions `NodeServer` has, or still has: at most one for each name of a node.
///
/// ractor_cluster lets sessions of one name compete, and the dead one of a killed peer may win. So a
/// session is handed over only when the last one of that name is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    /// Counts the changes of `table`.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    server: Option<(ActorRef<NodeServerMessage>, ClusterName)>,
    /// By what `NodeServer` calls the peer's address.
    sessions: BTreeMap<String, Session>,
    entered: u64,
}

#[derive(Debug)]
struct Session {
    peer: NodeId,
    stage: Stage,
    lease: Option<Lease>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// A place is kept.
    Entered,
    /// The connection is on its way to `NodeServer`.
    HandedOver,
    /// `NodeServer` has a session.
    Opened,
    /// Both ends have told each other of their actors and groups.
    Ready,
}

/// What becomes of who wants to enter.
enum Door {
    Entered(Place),
    /// Another session of that name is still there.
    Occupied,
    /// As before, and it may never have become one.
    Unsettled(String),
}

impl Sessions {
    /// There is a server.
    pub(crate) fn serve(&self, server: ActorRef<NodeServerMessage>, cluster: ClusterName) {
        self.change(|table| table.server = Some((server, cluster)));
    }

    /// The server is gone, and with it all its sessions.
    pub(crate) fn server_gone(&self) {
        let sessions = self.change(|table| {
            table.server = None;
            std::mem::take(&mut table.sessions)
        });
        sessions.values().filter_map(|session| session.lease.as_ref()).for_each(Lease::end);
    }

    /// Ends all sessions and lets no other in; done when the server has forgotten them.
    pub(crate) async fn end_all(&self) {
        let leases: Vec<_> = self.change(|table| {
            table.server = None;
            table.sessions.values().filter_map(|session| session.lease.clone()).collect()
        });
        leases.iter().for_each(Lease::end);
        let mut changes = self.changed.subscribe();
        while !self.table.lock().sessions.is_empty() {
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    pub(crate) fn server(&self) -> Option<ActorRef<NodeServerMessage>> {
        self.table.lock().server.as_ref().map(|(server, _)| server.clone())
    }

    /// Told at each change.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The peers whose sessions are ready, by name.
    pub(crate) fn ready(&self) -> Vec<NodeId> {
        let table = self.table.lock();
        let ready = table.sessions.values().filter(|session| session.stage == Stage::Ready);
        let mut ready: Vec<_> = ready.map(|session| session.peer.clone()).collect();
        ready.sort();
        ready
    }

    /// A place for a session with `peer`: waits until there is no other with a node of its name.
    ///
    /// # Errors
    /// [`LaneError::NotRunning`].
    pub(crate) async fn enter(
        self: &Arc<Self>,
        peer: &NodeId,
        link: LinkId,
    ) -> Result<Place, LaneError> {
        let mut changes = self.changed.subscribe();
        loop {
            match self.try_enter(peer, link)? {
                Door::Entered(place) => return Ok(place),
                Door::Unsettled(label) => self.settle(&label).await,
                Door::Occupied => {
                    let _ = changes.changed().await;
                }
            }
        }
    }

    fn try_enter(self: &Arc<Self>, peer: &NodeId, link: LinkId) -> Result<Door, LaneError> {
        let mut table = self.table.lock();
        let Some((_, cluster)) = &table.server else { return Err(LaneError::NotRunning) };
        let cluster = cluster.clone();
        let held = table.sessions.iter().find(|(_, session)| session.peer.name == peer.name);
        if let Some((label, session)) = held {
            return Ok(match session.stage {
                Stage::HandedOver => Door::Unsettled(label.clone()),
                _ => Door::Occupied,
            });
        }
        table.entered += 1;
        let label = format!("{peer} by link {link}, ride {}", table.entered);
        let session = Session { peer: peer.clone(), stage: Stage::Entered, lease: None };
        table.sessions.insert(label.clone(), session);
        Ok(Door::Entered(Place { label, cluster, sessions: self.clone() }))
    }

    /// Waits until `NodeServer` has dealt with what was handed over; if that became no session, its
    /// place is free.
    async fn settle(&self, label: &str) {
        let Some(server) = self.server() else { return };
        // Its mailbox is in order, so its answer comes after the hand-over, and what it told of it.
        let _ = server.call(NodeServerMessage::GetSessions, Some(SETTLED_WITHIN)).await;
        self.change(|table| {
            let stage = table.sessions.get(label).map(|session| session.stage);
            if stage == Some(Stage::HandedOver) {
                table.sessions.remove(label);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = change(&mut self.table.lock());
        self.changed.send_modify(|changes| *changes += 1);
        changed
    }

    pub(crate) fn events(self: Arc<Self>) -> impl NodeEventSubscription {
        Events(self)
    }
}

/// A kept place: the session in it ends when this is dropped.
pub(crate) struct Place {
    label: String,
    cluster: ClusterName,
    sessions: Arc<Sessions>,
}

impl Place {
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Gives the connection to `NodeServer`; done when it has a session with it.
    ///
    /// # Errors
    /// [`LaneError::NotRunning`], [`LaneError::Ended`].
    pub(crate) async fn hand_over(
        &self,
        lent: Lent,
        lease: Lease,
        is_server: bool,
    ) -> Result<(), LaneError> {
        let stream = Box::new(lent);
        // Under the lock, so that whoever finds it handed over finds it in the server's mailbox.
        self.sessions.change(|table| {
            let Some((server, _)) = &table.server else { return Err(LaneError::NotRunning) };
            let session = table.sessions.get_mut(&self.label).ok_or(LaneError::NotRunning)?;
            let opened = NodeServerMessage::ConnectionOpenedExternal { stream, is_server };
            server.cast(opened).map_err(|_| LaneError::NotRunning)?;
            session.stage = Stage::HandedOver;
            session.lease = Some(lease);
            Ok(())
        })?;
        self.sessions.settle(&self.label).await;
        self.stage().map(|_| ()).ok_or(LaneError::Ended)
    }

    /// Waits until both ends are ready; `false` where the session ended instead.
    pub(crate) async fn is_ready(&self) -> bool {
        self.until(|stage| stage.is_none_or(|stage| stage == Stage::Ready)).await.is_some()
    }

    /// Waits until the server has forgotten the session.
    pub(crate) async fn ended(&self) {
        self.until(|stage| stage.is_none()).await;
    }

    async fn until(&self, holds: impl Fn(Option<Stage>) -> bool) -> Option<Stage> {
        let mut changes = self.sessions.changed.subscribe();
        loop {
            let stage = self.stage();
            if holds(stage) {
                return stage;
            }
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    fn stage(&self) -> Option<Stage> {
        self.sessions.table.lock().sessions.get(&self.label).map(|session| session.stage)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let lease = self.sessions.change(|table| {
            let session = table.sessions.get(&self.label)?;
            if session.stage == Stage::Entered {
                table.sessions.remove(&self.label);
                return None;
            }
            // It is kept until the server says that it has forgotten the session.
            session.lease.clone()
        });
        if let Some(lease) = lease {
            lease.end();
        }
    }
}

/// What `NodeServer` tells of its sessions.
struct Events(Arc<Sessions>);

impl Events {
    fn reached(&self, session: &NodeServerSessionInformation, stage: Stage) {
        self.0.change(|table| {
            if let Some(known) = table.sessions.get_mut(&session.peer_addr) {
                known.stage = known.stage.max(stage);
            }
        });
    }
}

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, session: NodeServerSessionInformation) {
        self.reached(&session, Stage::Opened);
    }

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        self.reached(&session, Stage::Ready);
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        self.0.change(|table| table.sessions.remove(&session.peer_addr));
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
