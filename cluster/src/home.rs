//! What all parts of a node share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use umbel_actors::codec::CODEC_ID;
use umbel_actors::wire::{ActorPath, Charge, Deliver, Imported, WireError};
use umbel_actors::{DeadLetter, System, Traces};
use umbel_protocol::{
    CodecId, Control, Endpoint, Identity, Incarnation, Interest, InterestInput, InterestView,
    NodeId, NodeName, Registry, RegistryInput, ReplicaError, ReplicaEvent, ReplicaLimits,
    ReplicaMessage, ReplicaOutput, Terms, VersionRange,
};

use crate::config::NodeConfig;
use crate::lane::{ControlSender, Home, OpenAsks, Publication};
use crate::members::Members;
use crate::peer::Peer;
use crate::refusals::Refusals;
use crate::registry::{Wards, Watchers};
use crate::topics::Sink;

/// The protocol versions that this build speaks.
pub(crate) const PROTOCOL: VersionRange = VersionRange { min: 1, max: 1 };

/// How soon one who waits for a lane looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often in a row a node that leaves must find its links quiet.
const SETTLED_LOOKS: u32 = 4;

/// What all parts of a node share.
pub(crate) struct NodeHome {
    pub(crate) system: System,
    pub(crate) identity: Identity,
    /// Which life this is. Changed under the registry's lock, so that whoever holds that sees entries
    /// of one life.
    me: ArcSwap<NodeId>,
    pub(crate) config: NodeConfig,
    pub(crate) refusals: Refusals,
    /// How many connections were replaced.
    pub(crate) renewals: AtomicU64,
    /// Where others dial this node; known when it listens.
    listen: RwLock<Option<Endpoint>>,
    /// Every life of every node that an address or a link here still names.
    peers: Mutex<PeerTable>,
    /// The control lanes of the links that are up.
    controls: Mutex<BTreeMap<NodeId, ControlSender>>,
    /// Counts the changes of `controls`.
    links_changed: watch::Sender<u64>,
    registry: Mutex<Registry>,
    pub(crate) watchers: Watchers,
    /// The actors that this node has registered, and how they do.
    pub(crate) wards: Wards,
    /// The actors whose entries go when they do.
    pub(crate) wills: Mutex<BTreeSet<u64>>,
    interest: Mutex<Interest>,
    pub(crate) members: Members,
    /// Where what is published on other nodes goes here. Each takes itself out when it goes.
    pub(crate) sinks: Mutex<BTreeMap<String, Weak<dyn Sink>>>,
}

#[derive(Default)]
struct PeerTable {
    peers: BTreeMap<NodeId, Weak<Peer>>,
    /// When so many are kept, those that nothing names any more are forgotten.
    sweep_at: usize,
}

impl NodeHome {
    pub(crate) fn new(system: System, identity: Identity, config: NodeConfig) -> Arc<Self> {
        // In microseconds: in milliseconds, two processes that are given one name by mistake and
        // start at once would take each other for themselves.
        let started = system.clock().now().as_micros();
        let incarnation = Incarnation(u64::try_from(started).unwrap_or(u64::MAX));
        let me = NodeId { name: identity.node.clone(), incarnation };
        let mut limits = ReplicaLimits::default();
        if system.buggify("cluster.replica.one-entry-a-part") {
            limits.message_entries_max = 1;
        }
        Arc::new(Self {
            system,
            identity,
            registry: Mutex::new(Registry::new(me.clone(), limits.clone())),
            watchers: Watchers::default(),
            wards: Wards::new(),
            interest: Mutex::new(Interest::new(me.clone(), limits)),
            members: Members::new(),
            me: ArcSwap::from_pointee(me),
            config,
            refusals: Refusals::default(),
            renewals: AtomicU64::new(0),
            wills: Mutex::default(),
            listen: RwLock::default(),
            peers: Mutex::default(),
            controls: Mutex::default(),
            links_changed: watch::Sender::new(0),
            sinks: Mutex::default(),
        })
    }

    /// A point at which a simulation may have this node take its time: up to a third of a second.
    pub(crate) async fn linger(&self, point: &'static str) {
        if self.system.buggify(point) {
            tokio::time::sleep(Duration::from_millis(self.system.random() % 333)).await;
        }
    }

    /// Which life of which node this is.
    pub(crate) fn me(&self) -> Arc<NodeId> {
        self.me.load_full()
    }

    /// This node goes on as another life; nobody is linked with it.
    pub(crate) fn renew(&self, me: &NodeId) {
        let mut registry = self.registry.lock();
        self.me.store(Arc::new(me.clone()));
        let renewed = registry.step(RegistryInput::Renewed { me: me.clone() });
        let outputs =
            renewed.expect("nothing is too much for a registry that only changes its name");
        self.carry_out(outputs, Control::Registry, |event| {
            self.watchers.publish(&event);
        });
        drop(registry);
        let renewed = self.interest.lock().step(InterestInput::Renewed { me: me.clone() });
        renewed.expect("nothing is too much for interest that only changes its name");
        self.members.renew(me);
    }

    /// What this node says and judges in handshakes.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            protocol: PROTOCOL,
            codec: CodecId(CODEC_ID),
            cluster: self.identity.cluster.clone(),
            node: NodeId::clone(&self.me.load()),
            listen: self.listen.read().clone(),
        }
    }

    pub(crate) fn set_listen(&self, endpoint: Endpoint) {
        *self.listen.write() = Some(endpoint);
    }

    pub(crate) fn listen(&self) -> Option<Endpoint> {
        self.listen.read().clone()
    }

    /// The way to one life of a node, linked or not.
    pub(crate) fn peer(&self, id: &NodeId) -> Arc<Peer> {
        let mut table = self.peers.lock();
        if let Some(peer) = table.peers.get(id).and_then(Weak::upgrade) {
            return peer;
        }
        if table.peers.len() >= table.sweep_at.max(64) {
            table.peers.retain(|_, peer| peer.strong_count() > 0);
            table.sweep_at = 2 * table.peers.len();
        }
        let peer = Peer::new(id.clone());
        table.peers.insert(id.clone(), Arc::downgrade(&peer));
        peer
    }

    pub(crate) fn link_is_up(&self, peer: &NodeId, control: ControlSender) {
        self.controls.lock().insert(peer.clone(), control);
        self.links_changed.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn link_is_down(&self, peer: &NodeId) {
        self.controls.lock().remove(peer);
        self.links_changed.send_modify(|changes| *changes += 1);
    }

    /// Told at each link that comes up or goes down.
    pub(crate) fn links_changed(&self) -> watch::Receiver<u64> {
        self.links_changed.subscribe()
    }

    pub(crate) fn interest_view(&self) -> InterestView {
        self.interest.lock().view()
    }

    /// The nodes that are linked with this one, by name.
    pub(crate) fn linked(&self) -> Vec<NodeId> {
        self.controls.lock().keys().cloned().collect()
    }

    /// Reads the registry, or subscribes to its events without missing one.
    pub(crate) fn with_registry<R>(&self, read: impl FnOnce(&Registry) -> R) -> R {
        read(&self.registry.lock())
    }

    /// Tells the registry, and carries out what it says before anyone can tell it more: its deltas
    /// must reach each lane in order.
    pub(crate) fn registry(&self, input: RegistryInput) -> Result<(), ReplicaError> {
        let mut registry = self.registry.lock();
        let outputs = registry.step(input)?;
        self.carry_out(outputs, Control::Registry, |event| {
            self.watchers.publish(&event);
        });
        Ok(())
    }

    /// Which nodes want to hear of a topic.
    pub(crate) fn interested(&self, topic: &str) -> Vec<NodeId> {
        self.interest.lock().interested(topic).cloned().collect()
    }

    /// As [`Self::registry`], for topics.
    pub(crate) fn interest(&self, input: InterestInput) -> Result<(), ReplicaError> {
        let mut interest = self.interest.lock();
        let outputs = interest.step(input)?;
        self.carry_out(outputs, Control::Interest, |_| {});
        Ok(())
    }

    /// There is room on the control lane of a link: what its peer is still to be sent goes on.
    pub(crate) fn room(&self, peer: &NodeId) {
        // A part of a snapshot is no larger than when its entries were let in.
        let _ = self.registry(RegistryInput::Room { peer: peer.clone() });
        let _ = self.interest(InterestInput::Room { peer: peer.clone() });
    }

    /// Ends when every peer keeps up with what it is told over its control lane; or after `max`, for
    /// the sake of all others: what waits for who does not keep up may grow then, until its link is
    /// given up.
    pub(crate) async fn peers_keep_up(&self, max: Duration) {
        let keeping_up = async {
            while self.controls.lock().values().any(ControlSender::is_congested) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(max, keeping_up).await;
    }

    /// Ends when no question is open over any link, ours or a peer's, and what was told last is on
    /// its way; and when this has been so for a while: what a peer has asked before it was told is
    /// on its way, too.
    pub(crate) async fn settled(&self) {
        let mut looks = 0;
        while looks < SETTLED_LOOKS {
            let lanes: Vec<_> = self.controls.lock().clone().into_iter().collect();
            if lanes.is_empty() {
                return;
            }
            let is_quiet = |(id, control): &(NodeId, ControlSender)| {
                control.is_idle() && self.peer(id).open_asks() == OpenAsks::default()
            };
            looks = if lanes.iter().all(is_quiet) { looks + 1 } else { 0 };
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Does what a replica says; the caller holds its lock, so that lanes hear of it in order.
    fn carry_out<K, V>(
        &self,
        outputs: Vec<ReplicaOutput<K, V>>,
        control: fn(ReplicaMessage<K, V>) -> Control,
        on_event: impl Fn(ReplicaEvent<K, V>),
    ) {
        for output in outputs {
            match output {
                ReplicaOutput::Send { to, message } => self.send(&to, &control(message)),
                ReplicaOutput::Broadcast(message) => self.broadcast(&control(message)),
                ReplicaOutput::Event(event) => on_event(event),
                ReplicaOutput::Overflow { origin, left_out } => {
                    tracing::warn!(
                        target: "umbel", %origin, left_out,
                        "a peer registers, or subscribes to, more than this node keeps"
                    );
                }
            }
        }
    }

    fn send(&self, to: &NodeId, message: &Control) {
        if let Some(control) = self.controls.lock().get(to) {
            control.send(message);
        }
    }

    fn broadcast(&self, message: &Control) {
        ControlSender::send_to_all(self.controls.lock().values(), message);
    }
}

impl Home for NodeHome {
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath {
        let id = actor.id();
        self.system.export(actor);
        let me = self.me.load();
        ActorPath { node: me.name.as_str().into(), incarnation: me.incarnation.0, actor: id }
    }

    fn import(&self, path: &ActorPath) -> Result<Imported, WireError> {
        let name = NodeName::new(&path.node).map_err(|why| WireError::BadNode(why.to_string()))?;
        let id = NodeId { name, incarnation: Incarnation(path.incarnation) };
        if id == **self.me.load() {
            return Ok(self.actor(path.actor).map_or(Imported::Gone, Imported::Here));
        }
        Ok(Imported::There(self.peer(&id)))
    }

    fn actor(&self, id: u64) -> Option<Arc<dyn Deliver>> {
        self.system.exported(id)
    }

    fn publication(&self, publication: &Publication<'_>, charge: Charge) {
        let sink = self.sinks.lock().get(publication.topic).and_then(Weak::upgrade);
        if let Some(sink) = sink {
            sink.publication(publication, charge);
        }
    }

    fn traces(&self) -> Option<Arc<dyn Traces>> {
        self.system.traces().cloned()
    }

    fn dead_letter(&self, letter: DeadLetter) {
        self.system.dead_letter(letter);
    }
}
