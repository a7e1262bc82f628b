//! Finding actors by name, on any node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hrw_hash::{HrwNode, HrwNodes};
use thiserror::Error;
use umbel_actors::wire::{ActorPath, Imported};
use umbel_actors::{Address, Message, Overflow, RemoteMessage, Subscription};
use umbel_protocol::{
    Entry, EntryError, EntryName, Found, NodeId, RegistryEvent, RegistryInput, ReplicaError,
    ReplicaEventKind, SchemaName, TextError,
};

use crate::home::NodeHome;
use crate::lane::Home;
use crate::node::Node;

/// How long [`Node::resolve`] waits for somebody to register the name: as long as an ask waits.
pub const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

/// The changes that a [`Discovery`] holds until they are read. One that falls further behind starts
/// over from the present state, so it never misses how things stand.
const DISCOVERY_CAPACITY: usize = 1024;

/// An actor that was found by name.
pub struct Instance<M: Message> {
    /// The node that it runs on.
    pub node: NodeId,
    /// The actor.
    pub address: Address<M>,
    /// What it was registered with.
    pub tags: BTreeSet<String>,
    /// What it was registered with.
    pub metadata: BTreeMap<String, String>,
    actor: u64,
}

/// What to tell of an actor when it is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// At most 16 tags, each of at most 63 bytes.
    pub tags: BTreeSet<String>,
    /// At most 16 keys of at most 63 bytes, with values of at most 255.
    pub metadata: BTreeMap<String, String>,
}

/// Why an actor was not registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Only a node's own actors are registered there.
    #[error("{0} is an actor of another node: register it there")]
    NotLocal(String),
    /// The actor has ended.
    #[error("the actor has ended")]
    Ended,
    /// The name, a tag or a piece of metadata is not allowed.
    #[error("not allowed in the registry: {0}")]
    Text(#[from] TextError),
    /// There are too many tags or pieces of metadata.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The registry has no room.
    #[error(transparent)]
    Registry(#[from] ReplicaError),
}

/// Why a name led to no actor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nobody registered the name in time.
    #[error("no actor is registered as {name:?} on any linked node (waited {waited:?})")]
    NotFound {
        /// The name.
        name: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Those who are registered take other messages, or another definition of them.
    #[error("{name:?} takes messages of type {found}, not {wanted}")]
    OtherMessages {
        /// The name.
        name: String,
        /// The message type and fingerprint that the registry tells.
        found: String,
        /// Those that were asked for.
        wanted: String,
    },
}

/// The type and the fingerprint of a message, as the registry tells them.
pub(crate) fn schema<M: Message>() -> String {
    format!("{}#{:08x}", M::NAME, M::FINGERPRINT)
}

impl Node {
    /// Lets an actor of this node be found under `name` from every linked node, beside any others
    /// of that name. The entry goes when the actor is gone for good, or when this node is.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing is registered.
    pub async fn register<M: RemoteMessage>(
        &self,
        name: &str,
        address: &Address<M>,
    ) -> Result<(), RegisterError> {
        self.register_with(name, address, Offer::default()).await
    }

    /// As [`Node::register`], with tags and metadata. Once more replaces them.
    ///
    /// Waits while a linked node has 4 MiB of such news to read already, for at most 5 s; so however
    /// much is registered at once, no link is lost that still moves.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing is registered.
    pub async fn register_with<M: RemoteMessage>(
        &self,
        name: &str,
        address: &Address<M>,
        offer: Offer,
    ) -> Result<(), RegisterError> {
        let actor =
            address.deliver().ok_or_else(|| RegisterError::NotLocal(address.to_string()))?;
        if address.is_gone() {
            return Err(RegisterError::Ended);
        }
        let mut entry = Entry::new(SchemaName::new(schema::<M>())?);
        for tag in offer.tags {
            entry = entry.tag(tag.try_into()?)?;
        }
        for (key, detail) in offer.metadata {
            entry = entry.detail(key.try_into()?, detail.try_into()?)?;
        }
        let id = actor.id();
        let name = EntryName::new(name)?;
        let home = self.home().clone();
        home.peers_keep_up().await;
        home.export(actor.clone());
        home.registry(RegistryInput::Register { name, actor: id, entry })?;
        if home.wills.lock().insert(id) {
            let home = Arc::downgrade(&home);
            actor.on_gone(Box::new(move || {
                if let Some(home) = home.upgrade() {
                    home.wills.lock().remove(&id);
                    // Taking away what is there cannot fail for want of room.
                    let _ = home.registry(RegistryInput::ActorEnded { actor: id });
                }
            }));
        }
        Ok(())
    }

    /// Takes back a registration.
    pub async fn unregister<M: RemoteMessage>(&self, name: &str, address: &Address<M>) {
        if let (Some(actor), Ok(name)) = (address.deliver(), EntryName::new(name)) {
            let input = RegistryInput::Unregister { name, actor: actor.id() };
            let _ = self.home().registry(input);
        }
    }

    /// An actor of this name: one of this node's own if there is one, else the first by node and
    /// age. Waits for at most [`RESOLVE_DEADLINE`] until there is one.
    ///
    /// # Errors
    /// [`ResolveError`]
    pub async fn resolve<M: RemoteMessage>(&self, name: &str) -> Result<Address<M>, ResolveError> {
        self.resolve_within(RESOLVE_DEADLINE, name).await
    }

    /// As [`Node::resolve`], waiting for at most `deadline`.
    ///
    /// # Errors
    /// [`ResolveError`]
    pub async fn resolve_within<M: RemoteMessage>(
        &self,
        deadline: Duration,
        name: &str,
    ) -> Result<Address<M>, ResolveError> {
        let mut discovery = self.watch(name);
        let found = async {
            loop {
                if let Some(instance) = self.local_first(discovery.instances()) {
                    return instance.address.clone();
                }
                discovery.changed().await;
            }
        };
        let found = tokio::time::timeout(deadline, found).await;
        found.map_err(|_| self.why_not::<M>(name, deadline))
    }

    fn local_first<'a, M: RemoteMessage>(
        &self,
        instances: &'a [Instance<M>],
    ) -> Option<&'a Instance<M>> {
        let here = instances.iter().find(|instance| instance.node == self.home().me);
        here.or_else(|| instances.first())
    }

    fn why_not<M: RemoteMessage>(&self, name: &str, waited: Duration) -> ResolveError {
        let found = self.home().with_registry(|registry| {
            registry.resolve(name).map(|found| found.entry.message_type().to_string())
        });
        let (name, wanted) = (name.to_owned(), schema::<M>());
        match found {
            Some(found) => ResolveError::OtherMessages { name, found, wanted },
            None => ResolveError::NotFound { name, waited },
        }
    }

    /// All actors of this name that take such messages, as this node knows them now; ordered by node
    /// and age.
    #[must_use]
    pub fn discover<M: RemoteMessage>(&self, name: &str) -> Vec<Instance<M>> {
        let home = self.home();
        home.with_registry(|registry| instances(home, registry.discover(name)))
    }

    /// The actors of this name and every change among them.
    #[must_use]
    pub fn watch<M: RemoteMessage>(&self, name: &str) -> Discovery<M> {
        let home = self.home().clone();
        // Under one lock: no change falls between the state and the subscription.
        let (instances, events) = home.with_registry(|registry| {
            let events =
                home.registry_events.subscribe_with(DISCOVERY_CAPACITY, Overflow::DropOldest);
            (instances(&home, registry.discover(name)), events)
        });
        Discovery { home, name: name.to_owned(), instances, events, lost: 0 }
    }
}

fn instances<'a, M: RemoteMessage>(
    home: &NodeHome,
    found: impl Iterator<Item = Found<'a>>,
) -> Vec<Instance<M>> {
    let wanted = schema::<M>();
    found
        .filter(|found| found.entry.message_type().as_str() == wanted)
        .filter_map(|found| Instance::new(home, found))
        .collect()
}

impl<M: RemoteMessage> Instance<M> {
    fn new(home: &NodeHome, found: Found<'_>) -> Option<Self> {
        let path = ActorPath {
            node: found.node.name.as_str().into(),
            incarnation: found.node.incarnation.0,
            actor: found.actor,
        };
        let imported = if *found.node == home.me {
            Imported::Here(home.actor(found.actor)?)
        } else {
            Imported::There(home.peer(found.node))
        };
        Some(Self {
            node: found.node.clone(),
            address: Address::imported(path, imported)?,
            tags: found.entry.tags().iter().map(ToString::to_string).collect(),
            metadata: found
                .entry
                .metadata()
                .iter()
                .map(|(key, detail)| (key.to_string(), detail.to_string()))
                .collect(),
            actor: found.actor,
        })
    }
}

impl<M: Message> Instance<M> {
    /// The instance to which `key` belongs, by rendezvous hashing: the same on every node, and when
    /// an instance goes, only its own keys move.
    #[must_use]
    pub fn by_key<'a>(instances: &'a [Self], key: &[u8]) -> Option<&'a Self> {
        #[derive(Clone, Hash, PartialEq, Eq)]
        struct Place(u64, usize);
        impl HrwNode for Place {}
        let places = instances.iter().enumerate().map(|(index, instance)| {
            let place = format!("{}/{}", instance.node, instance.actor);
            Place(fnv1a(place.as_bytes()), index)
        });
        let places = HrwNodes::new(places);
        let first = places.sorted(&fnv1a(key)).next()?;
        instances.get(first.1)
    }
}

/// FNV-1a, 64 bits: placement must be the same in every build on every machine.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The actors of one name, kept up to date.
pub struct Discovery<M: RemoteMessage> {
    home: Arc<NodeHome>,
    name: String,
    instances: Vec<Instance<M>>,
    events: Subscription<RegistryEvent>,
    lost: u64,
}

/// What became of an actor of the watched name.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change<M: Message> {
    /// It is there now.
    Added(Instance<M>),
    /// Its tags or metadata are others now.
    Changed(Instance<M>),
    /// It is gone, by itself or with its node.
    Removed {
        /// Where it was.
        node: NodeId,
        /// What it was.
        address: Address<M>,
    },
    /// So many changes came at once that some were lost: look at [`Discovery::instances`].
    Refreshed,
}

impl<M: RemoteMessage> Discovery<M> {
    /// The actors, as of the last change that was returned; ordered by node and age.
    #[must_use]
    pub fn instances(&self) -> &[Instance<M>] {
        &self.instances
    }

    /// Waits for the next change, and brings [`Self::instances`] up to it. Can be cancelled without
    /// losing one.
    pub async fn changed(&mut self) -> Change<M> {
        loop {
            let event = self.events.recv().await;
            let lost = self.events.lost();
            if lost > self.lost {
                let home = self.home.clone();
                self.instances = home.with_registry(|registry| {
                    // What is queued is older than what is read here.
                    while self.events.try_recv().is_some() {}
                    instances(&home, registry.discover(&self.name))
                });
                self.lost = self.events.lost();
                return Change::Refreshed;
            }
            let Some(event) = event else {
                unreachable!("the home that is held here never disconnects its subscribers")
            };
            if let Some(change) = self.apply(event) {
                return change;
            }
        }
    }

    fn apply(&mut self, event: RegistryEvent) -> Option<Change<M>> {
        if event.key.name.as_str() != self.name {
            return None;
        }
        let (node, actor) = (event.origin, event.key.actor);
        let place = self
            .instances
            .binary_search_by(|known| (&known.node, known.actor).cmp(&(&node, actor)));
        let entry = match event.kind {
            ReplicaEventKind::Removed { .. } => {
                let Instance { node, address, .. } = self.instances.remove(place.ok()?);
                return Some(Change::Removed { node, address });
            }
            ReplicaEventKind::Added { value } | ReplicaEventKind::Changed { value, .. } => value,
        };
        if entry.message_type().as_str() != schema::<M>() {
            return None;
        }
        let name = &event.key.name;
        let found = Found { name, node: &node, actor, entry: &entry };
        let instance = Instance::new(&self.home, found)?;
        match place {
            Ok(place) => {
                self.instances[place] = instance.clone();
                Some(Change::Changed(instance))
            }
            Err(place) => {
                self.instances.insert(place, instance.clone());
                Some(Change::Added(instance))
            }
        }
    }
}

impl<M: Message> Clone for Instance<M> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            address: self.address.clone(),
            tags: self.tags.clone(),
            metadata: self.metadata.clone(),
            actor: self.actor,
        }
    }
}

impl<M: Message> fmt::Debug for Instance<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("node", &self.node)
            .field("address", &self.address)
            .field("tags", &self.tags)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> fmt::Debug for Discovery<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("name", &self.name)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}
