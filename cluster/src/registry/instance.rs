//! An actor that was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use umbel_actors::wire::{ActorPath, Imported};
use umbel_actors::{Address, Message, RemoteMessage};
use umbel_protocol::{EntryName, Found, Health, Load, NodeId};

use super::pick::{ByKey, Candidate, Pick};
use super::schema;
use crate::home::NodeHome;
use crate::lane::Home;

/// An actor that was found.
pub struct Instance<M: Message> {
    /// The name that it is registered under.
    pub name: EntryName,
    /// The node that it runs on.
    pub node: NodeId,
    /// The actor.
    pub address: Address<M>,
    /// What it was registered with.
    pub tags: BTreeSet<String>,
    /// What it was registered with.
    pub metadata: BTreeMap<String, String>,
    /// How it does, as its node told last.
    pub health: Health,
    /// How much waits for it, as its node told last: about a second ago at most, unless very many
    /// change at once.
    pub load: Load,
    actor: u64,
}

/// Where an instance stands among others: by node, actor and name.
pub(super) type Place<'a> = (&'a NodeId, u64, &'a EntryName);

impl<M: RemoteMessage> Instance<M> {
    /// `None` where the actor takes other messages, or is gone by now.
    pub(super) fn new(home: &NodeHome, found: Found<'_>) -> Option<Self> {
        if found.entry.message_type().as_str() != schema::<M>() {
            return None;
        }
        let path = ActorPath {
            node: found.node.name.as_str().into(),
            incarnation: found.node.incarnation.0,
            actor: found.actor,
        };
        let imported = if *found.node == *home.me() {
            Imported::Here(home.actor(found.actor)?)
        } else {
            Imported::There(home.peer(found.node))
        };
        let metadata = found.entry.metadata().iter();
        Some(Self {
            name: found.name.clone(),
            node: found.node.clone(),
            address: Address::imported(path, imported)?,
            tags: found.entry.tags().iter().map(ToString::to_string).collect(),
            metadata: metadata.map(|(key, detail)| (key.to_string(), detail.to_string())).collect(),
            health: found.entry.health(),
            load: found.entry.load(),
            actor: found.actor,
        })
    }
}

impl<M: Message> Instance<M> {
    /// The instance to which `key` belongs, by rendezvous hashing: the same on every node, and when
    /// an instance goes, only its own keys move. [`ByKey`] does the same in a
    /// [`Discovery`](super::Discovery), without making all places anew for each key.
    #[must_use]
    pub fn by_key<'a>(instances: &'a [Self], key: &[u8]) -> Option<&'a Self> {
        let among: Vec<_> = instances.iter().map(|instance| instance.candidate(false)).collect();
        let picked = ByKey(key).pick(&among, &mut || 0)?;
        instances.get(picked)
    }

    pub(super) fn candidate(&self, is_here: bool) -> Candidate {
        Candidate::new(self.node.clone(), self.actor, self.load, is_here)
    }

    pub(super) fn place(&self) -> Place<'_> {
        (&self.node, self.actor, &self.name)
    }

    /// Whether all but the load is as before.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        (&self.tags, &self.metadata, self.health) == (&before.tags, &before.metadata, before.health)
    }
}

impl<M: Message> Clone for Instance<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            node: self.node.clone(),
            address: self.address.clone(),
            tags: self.tags.clone(),
            metadata: self.metadata.clone(),
            health: self.health,
            load: self.load,
            actor: self.actor,
        }
    }
}

impl<M: Message> fmt::Debug for Instance<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .field("node", &self.node)
            .field("address", &self.address)
            .field("tags", &self.tags)
            .field("metadata", &self.metadata)
            .field("health", &self.health)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}
