//! One life of one other node, as addresses see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use umbel_actors::wire::{ActorPath, Encode, Route, RouteError, Wire};
use umbel_actors::{Exit, Watch};
use umbel_protocol::{Control, LinkId, NodeId};

use crate::lane::{ControlSender, DataLane, OpenAsks, Target, Unsent};

/// The watches that one node may have on another's actors.
pub(crate) const WATCHES_MAX: usize = 1 << 16;

/// One life of one other node. It outlasts links: while there is none, nothing can be sent.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    link: ArcSwapOption<PeerLink>,
    watches: Mutex<Watches>,
}

/// What sends to the peer while a link is up.
pub(crate) struct PeerLink {
    pub(crate) id: LinkId,
    pub(crate) control: ControlSender,
    pub(crate) data: Arc<DataLane>,
    /// The same lane, as encoding needs it.
    pub(crate) wire: Arc<dyn Wire>,
}

#[derive(Default)]
struct Watches {
    next: u64,
    told: BTreeMap<u64, oneshot::Sender<Exit>>,
    /// When so many are kept, those whose watcher has lost interest are taken back.
    sweep_at: usize,
}

impl Peer {
    pub(crate) fn new(id: NodeId) -> Arc<Self> {
        Arc::new(Self { id, link: ArcSwapOption::empty(), watches: Mutex::default() })
    }

    pub(crate) fn set_link(&self, link: PeerLink) {
        self.link.store(Some(Arc::new(link)));
    }

    /// The link is gone: whoever watches is told.
    pub(crate) fn clear_link(&self, id: LinkId) {
        let held = self.link.load();
        if held.as_ref().is_some_and(|held| held.id == id) {
            self.link.store(None);
            let told = std::mem::take(&mut self.watches.lock().told);
            for (_, told) in told {
                let _ = told.send(Exit::NodeDown);
            }
        }
    }

    pub(crate) fn ended(&self, token: u64, exit: Exit) {
        let told = self.watches.lock().told.remove(&token);
        if let Some(told) = told {
            let _ = told.send(exit);
        }
    }

    pub(crate) fn try_publish(
        &self,
        topic: &str,
        schema: u32,
        payload: &Arc<Vec<u8>>,
    ) -> Result<(), RouteError> {
        let link = self.link.load();
        let Some(link) = link.as_ref() else { return Err(self.unreachable()) };
        link.data.try_publish(topic, schema, payload)
    }

    pub(crate) async fn room(&self, target: &Target) {
        let link = self.link.load_full();
        if let Some(link) = link {
            link.data.wait_for_room(target).await;
        }
    }

    /// The questions that wait over the link; none while there is no link.
    pub(crate) fn open_asks(&self) -> OpenAsks {
        self.link.load().as_ref().map_or_else(OpenAsks::default, |link| link.data.open_asks())
    }

    /// What waits to be written to the peer; nothing while there is no link.
    pub(crate) fn unsent(&self) -> Unsent {
        let link = self.link.load();
        link.as_ref().map_or_else(Unsent::default, |link| Unsent {
            control_bytes: link.control.bytes(),
            data_bytes: link.data.bytes(),
        })
    }

    fn unreachable(&self) -> RouteError {
        RouteError::Unreachable(self.id.name.to_string())
    }
}

impl Route for Peer {
    fn try_send(&self, to: &ActorPath, schema: u32, encode: Encode<'_>) -> Result<(), RouteError> {
        let link = self.link.load();
        let Some(link) = link.as_ref() else { return Err(self.unreachable()) };
        link.data.try_send(&link.wire, to.actor, schema, encode)
    }

    fn room(&self, to: &ActorPath) -> BoxFuture<'_, ()> {
        let target = Target::Actor(to.actor);
        Box::pin(async move { self.room(&target).await })
    }

    fn watch(&self, to: &ActorPath) -> Watch {
        let (told, ended) = oneshot::channel();
        let watch = Watch::new(ended, Exit::NodeDown);
        let mut watches = self.watches.lock();
        // Under the lock: a link that goes down now finds this watch, or this finds no link.
        let link = self.link.load();
        let Some(link) = link.as_ref() else { return watch };
        if watches.told.len() >= watches.sweep_at.max(64) {
            let idle = watches.told.iter().filter(|(_, told)| told.is_closed());
            let idle: Vec<_> = idle.map(|(token, _)| *token).collect();
            for token in idle {
                watches.told.remove(&token);
                link.control.send(&Control::Unwatch { token });
            }
            watches.sweep_at = 2 * watches.told.len();
        }
        watches.next += 1;
        let token = watches.next;
        watches.told.insert(token, told);
        link.control.send(&Control::Watch { actor: to.actor, token });
        watch
    }
}
