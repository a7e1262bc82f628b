//! Which actors can be found by name, on which nodes.

mod entry;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{NodeId, Replica, ReplicaError, ReplicaEvent, ReplicaEventKind, ReplicaInput};
use crate::{ReplicaLimits, ReplicaMessage, ReplicaOutput};

pub use self::entry::{Detail, Entry, EntryError, EntryKey, EntryName, SchemaName, Tag};

/// What registries say to one another.
pub type RegistryMessage = ReplicaMessage<EntryKey, Entry>;

/// An entry has come, changed or gone. `key.name` says whose watchers are to be told.
pub type RegistryEvent = ReplicaEvent<EntryKey, Entry>;

/// Something to be done, in the order given.
pub type RegistryOutput = ReplicaOutput<EntryKey, Entry>;

/// The group registry: any number of actors, on any nodes, under each name. It is eventually
/// consistent and says who *offers* something; who *owns* something is not its business.
///
/// ```
/// use umbel_protocol::{Entry, Incarnation, NodeId, Registry, RegistryInput, ReplicaLimits};
///
/// let me = NodeId { name: "a".parse()?, incarnation: Incarnation(1) };
/// let mut registry = Registry::new(me.clone(), ReplicaLimits::default());
/// let entry = Entry::new("shop.Order".try_into()?);
/// registry.step(RegistryInput::Register { name: "orders".try_into()?, actor: 7, entry })?;
/// let found = registry.resolve("orders").unwrap();
/// assert_eq!((found.node, found.actor), (&me, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// *To watch a name*: hand out what [`Registry::discover`] finds, then each
/// [`ReplicaOutput::Event`] with that name. Between two steps nothing changes, so nothing is missed.
#[derive(Debug)]
pub struct Registry {
    replica: Replica<EntryKey, Entry>,
    /// Where each name's entries are. **Invariant:** holds exactly the keys of `replica`.
    by_name: BTreeMap<EntryName, BTreeSet<(NodeId, u64)>>,
    /// The names of each actor of this node's own.
    own_names: BTreeMap<u64, BTreeSet<EntryName>>,
}

/// Something that happened, for [`Registry::step`] to take note of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryInput {
    /// An actor of this node is to be found under a name, beside any others. Once more replaces its
    /// entry.
    Register {
        /// The name.
        name: EntryName,
        /// The actor's id on this node.
        actor: u64,
        /// What to tell of it.
        entry: Entry,
    },
    /// An actor of this node is no longer to be found under a name.
    Unregister {
        /// The name.
        name: EntryName,
        /// The actor's id on this node.
        actor: u64,
    },
    /// An actor of this node has ended: all its entries go.
    ActorEnded {
        /// The actor's id on this node.
        actor: u64,
    },
    /// [`PeersOutput::PeerUp`](crate::PeersOutput::PeerUp).
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// [`PeersOutput::PeerDown`](crate::PeersOutput::PeerDown): all its entries go.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// [`ReplicaInput::Room`](crate::ReplicaInput::Room).
    Room {
        /// Who.
        peer: NodeId,
    },
    /// A [`Control::Registry`](crate::Control::Registry) has arrived.
    Received {
        /// From the peer at the other end of the link, as authenticated by the link.
        from: NodeId,
        /// The message.
        message: RegistryMessage,
    },
}

/// An actor that was found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The node that it runs on.
    pub node: &'a NodeId,
    /// Its id there.
    pub actor: u64,
    /// What its node tells of it.
    pub entry: &'a Entry,
}

impl Registry {
    /// An empty registry of the node `me`.
    #[must_use]
    pub fn new(me: NodeId, limits: ReplicaLimits) -> Self {
        let (by_name, own_names) = (BTreeMap::new(), BTreeMap::new());
        Self { replica: Replica::new(me, limits), by_name, own_names }
    }

    /// Takes note of `input` and says what to do.
    ///
    /// # Errors
    /// [`ReplicaError`], with nothing changed; each variant says who is to be told.
    pub fn step(&mut self, input: RegistryInput) -> Result<Vec<RegistryOutput>, ReplicaError> {
        match input {
            RegistryInput::Register { name, actor, entry } => {
                self.replicate(ReplicaInput::Put { key: EntryKey { name, actor }, value: entry })
            }
            RegistryInput::Unregister { name, actor } => {
                self.replicate(ReplicaInput::Remove { key: EntryKey { name, actor } })
            }
            RegistryInput::ActorEnded { actor } => {
                let mut outputs = Vec::new();
                for name in self.own_names.get(&actor).cloned().unwrap_or_default() {
                    let key = EntryKey { name, actor };
                    outputs.extend(self.replicate(ReplicaInput::Remove { key })?);
                }
                Ok(outputs)
            }
            RegistryInput::PeerUp { peer } => self.replicate(ReplicaInput::PeerUp { peer }),
            RegistryInput::PeerDown { peer } => self.replicate(ReplicaInput::PeerDown { peer }),
            RegistryInput::Room { peer } => self.replicate(ReplicaInput::Room { peer }),
            RegistryInput::Received { from, message } => {
                self.replicate(ReplicaInput::Received { from, message })
            }
        }
    }

    /// All actors under `name`, ordered by node and then by actor. Finding them takes time
    /// logarithmic in the number of entries.
    pub fn discover(&self, name: &str) -> impl Iterator<Item = Found<'_>> {
        self.by_name.get_key_value(name).into_iter().flat_map(|(name, places)| {
            places.iter().map(|(node, actor)| {
                let key = EntryKey { name: name.clone(), actor: *actor };
                let entry = self.replica.get(node, &key);
                let entry = entry.expect("the index holds only what the replica holds");
                Found { node, actor: *actor, entry }
            })
        })
    }

    /// One actor under `name`: this node's own if it has one, else the first that
    /// [`Registry::discover`] finds.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Found<'_>> {
        let me = self.replica.me();
        self.discover(name).find(|found| found.node == me).or_else(|| self.discover(name).next())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &EntryName> {
        self.by_name.keys()
    }

    /// How many entries a node has here.
    #[must_use]
    pub fn count_of(&self, node: &NodeId) -> usize {
        self.replica.count_of(node)
    }

    /// What there is to see: all entries, by name, node and actor.
    #[must_use]
    pub fn view(&self) -> RegistryView {
        let found = self.by_name.keys().flat_map(|name| {
            self.discover(name.as_str()).map(move |found| RegisteredView {
                name: name.clone(),
                node: found.node.clone(),
                actor: found.actor,
                entry: found.entry.clone(),
            })
        });
        RegistryView { entries: found.collect() }
    }

    fn replicate(
        &mut self,
        input: ReplicaInput<EntryKey, Entry>,
    ) -> Result<Vec<RegistryOutput>, ReplicaError> {
        let outputs = self.replica.step(input)?;
        for output in &outputs {
            if let ReplicaOutput::Event(event) = output {
                self.index(event);
            }
        }
        Ok(outputs)
    }

    fn index(&mut self, RegistryEvent { origin, key, kind }: &RegistryEvent) {
        let EntryKey { name, actor } = key.clone();
        let own = origin == self.replica.me();
        match kind {
            ReplicaEventKind::Added { .. } => {
                if own {
                    self.own_names.entry(actor).or_default().insert(name.clone());
                }
                self.by_name.entry(name).or_default().insert((origin.clone(), actor));
            }
            ReplicaEventKind::Changed { .. } => {}
            ReplicaEventKind::Removed { .. } => {
                if own {
                    discard(&mut self.own_names, &actor, &name);
                }
                discard(&mut self.by_name, &name, &(origin.clone(), actor));
            }
        }
    }
}

/// Takes `value` out of the set under `key`, and the set as well when that leaves it empty.
fn discard<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// All entries as one node sees them at one moment, for the command line, the dashboard and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryView {
    /// The entries, by name, node and actor.
    pub entries: Vec<RegisteredView>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredView {
    /// Its name.
    pub name: EntryName,
    /// The node that the actor runs on.
    pub node: NodeId,
    /// The actor's id there.
    pub actor: u64,
    /// What its node tells of it.
    pub entry: Entry,
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
