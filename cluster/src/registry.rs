//! Finding actors by name and tag, on any node.

mod discovery;
mod feed;
mod follow;
mod health;
mod instance;
mod pick;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use umbel_actors::{Address, Message, RemoteMessage};
use umbel_protocol::{
    Entry, EntryError, EntryName, HealthConfig, HealthConfigError, Query, ReplicaError, SchemaName,
    TextError,
};

use self::health::Registration;
use crate::lane::Home;
use crate::node::Node;

pub use self::discovery::{Change, Changes, Discovery};
pub(crate) use self::feed::Watchers;
pub use self::health::HealthCheck;
pub(crate) use self::health::{Wards, look_after};
pub use self::instance::Instance;
pub use self::pick::{ByKey, Candidate, LeastLoaded, LocalFirst, Pick, Random, RoundRobin};

/// How long [`Node::resolve`] waits for somebody to register the name: as long as an ask waits.
pub const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

/// How long whoever registers waits for a peer that does not keep up: as long as a peer may be
/// silent.
const KEEP_UP_MAX: Duration = Duration::from_secs(5);

/// What to tell of an actor when it is registered, and how its health is checked.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// At most 16 tags, each of at most 63 bytes.
    pub tags: BTreeSet<String>,
    /// At most 16 keys of at most 63 bytes, with values of at most 255.
    pub metadata: BTreeMap<String, String>,
    /// How its health is checked. Default: through its mailbox.
    pub check: HealthCheck,
    /// How often, and what the answers come to. By default, one that is stuck is not handed out any
    /// more within 8 s: it is asked every 5 s, and has failed when it did not answer 3 times within
    /// 1 s each.
    pub health: HealthConfig,
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
    /// The name is empty.
    #[error("the name to register an actor under is empty: give it one of 1 to 255 bytes")]
    NoName,
    /// The name, a tag or a piece of metadata is not allowed.
    #[error("not allowed in the registry: {0}")]
    Text(#[from] TextError),
    /// There are too many tags or pieces of metadata.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Its health cannot be checked so.
    #[error(transparent)]
    Health(#[from] HealthConfigError),
    /// This node is about to leave the cluster.
    #[error("this node is leaving the cluster")]
    Leaving,
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
    /// None of those who are registered could be given work in time.
    #[error(
        "none of the {registered} actors registered as {name:?} is healthy (waited {waited:?})"
    )]
    NotHealthy {
        /// The name.
        name: String,
        /// How many are registered.
        registered: usize,
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
    /// Lets an actor of this node be found under `name`, of 1 to 255 bytes, from every linked node,
    /// beside any others of that name, as long as it answers through its mailbox: see [`Offer`]. The
    /// entry goes when the actor is gone for good, or when this node is.
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
        offer.health.check()?;
        if address.is_gone() {
            return Err(RegisterError::Ended);
        }
        if name.is_empty() {
            return Err(RegisterError::NoName);
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
        home.peers_keep_up(KEEP_UP_MAX).await;
        home.export(actor.clone());
        let (check, config) = (offer.check, offer.health);
        home.take_in(Registration { name, actor: actor.clone(), entry, check, config })?;
        if home.wills.lock().insert(id) {
            let home = Arc::downgrade(&home);
            actor.on_gone(Box::new(move || {
                if let Some(home) = home.upgrade() {
                    home.wills.lock().remove(&id);
                    home.let_go_of_all(id);
                }
            }));
        }
        Ok(())
    }

    /// Takes back a registration.
    pub async fn unregister<M: RemoteMessage>(&self, name: &str, address: &Address<M>) {
        if let (Some(actor), Ok(name)) = (address.deliver(), EntryName::new(name)) {
            self.home().let_go(actor.id(), name);
        }
    }

    /// Has an actor of this node be given no more work under `name`: it is not handed out any more,
    /// nor asked how it does, and can be seen to be [draining](umbel_protocol::Health::Draining).
    /// What it was given before it still gets. [`Node::register`] brings it back. False where it is
    /// not registered so.
    pub async fn drain<M: RemoteMessage>(&self, name: &str, address: &Address<M>) -> bool {
        let (Some(actor), Ok(name)) = (address.deliver(), EntryName::new(name)) else {
            return false;
        };
        self.home().drain(actor.id(), name)
    }

    /// An actor of this name that can be given work: one of this node's own if there is one, else the
    /// first by node and age. Waits for at most [`RESOLVE_DEADLINE`] until there is one.
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
                if let Some(instance) = self.own_first(discovery.instances()) {
                    return instance.address.clone();
                }
                discovery.changed().await;
            }
        };
        let found = tokio::time::timeout(deadline, found).await;
        found.map_err(|_| self.why_not::<M>(name, deadline))
    }

    fn own_first<'a, M: RemoteMessage>(
        &self,
        instances: &'a [Instance<M>],
    ) -> Option<&'a Instance<M>> {
        let me = self.home().me();
        let here = instances.iter().find(|instance| instance.node == *me);
        here.or_else(|| instances.first())
    }

    fn why_not<M: RemoteMessage>(&self, name: &str, waited: Duration) -> ResolveError {
        let wanted = schema::<M>();
        let types: Vec<_> = self.home().with_registry(|registry| {
            registry.discover(name).map(|found| found.entry.message_type().to_string()).collect()
        });
        let name = name.to_owned();
        let registered = types.iter().filter(|found| **found == wanted).count();
        match types.into_iter().next() {
            Some(_) if registered > 0 => ResolveError::NotHealthy { name, registered, waited },
            Some(found) => ResolveError::OtherMessages { name, found, wanted },
            None => ResolveError::NotFound { name, waited },
        }
    }

    /// How many messages wait in the mailbox of each actor that this node has registered, with the name
    /// that it is registered under; the oldest actor first.
    #[must_use]
    pub fn unread(&self) -> Vec<(EntryName, u64)> {
        self.home().unread()
    }

    /// All actors that are looked for and take such messages, as this node knows them now; ordered by
    /// node and age. By default those that can be given work: see [`Query`].
    #[must_use]
    pub fn discover<M: RemoteMessage>(&self, query: impl Into<Query>) -> Vec<Instance<M>> {
        let (home, query) = (self.home(), query.into());
        home.with_registry(|registry| follow::instances(home, registry.find(&query)))
    }

    /// The actors that are looked for, and every change among them.
    #[must_use]
    pub fn watch<M: RemoteMessage>(&self, query: impl Into<Query>) -> Discovery<M> {
        Discovery::new(self.home().clone(), query.into())
    }
}
