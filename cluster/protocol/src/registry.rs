//! Which actors can be found by name, on which nodes.

mod entry;
mod query;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Change, Health, Load, NodeId, Replica, ReplicaError, ReplicaEvent, ReplicaEventKind,
    ReplicaInput, ReplicaLimits, ReplicaMessage, ReplicaOutput,
};

pub use self::entry::{Detail, Entry, EntryError, EntryKey, EntryName, SchemaName, Tag};
pub use self::query::Query;

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
/// *To watch*: hand out what [`Registry::find`] finds, then each [`ReplicaOutput::Event`] of which
/// the same [`Query`] says that it [matches](Query::matches). Between two steps nothing changes, so
/// nothing is missed.
#[derive(Debug)]
pub struct Registry {
    replica: Replica<EntryKey, Entry>,
    /// Where each name's entries are. **Invariant:** holds exactly the keys of `replica`.
    by_name: BTreeMap<EntryName, BTreeSet<(NodeId, u64)>>,
    /// Where each tag's entries are.
    by_tag: BTreeMap<Tag, BTreeSet<(NodeId, u64, EntryName)>>,
    /// The names of each actor of this node's own.
    own_names: BTreeMap<u64, BTreeSet<EntryName>>,
    /// The entry whose load was told last, if others have to wait their turn.
    loads_told: Option<EntryKey>,
}

/// How many bytes of entries whose load has changed are told in one go, about, and at least one: the
/// bound on what load adds to a control lane each time that [`RegistryInput::Depths`] comes. Those
/// left over come first the next time.
pub const LOADS_BYTES_MAX: usize = 32 << 10;

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
    /// An actor of this node does so, if it is there.
    Health {
        /// The name that it is registered under.
        name: EntryName,
        /// The actor's id on this node.
        actor: u64,
        /// How it does.
        health: Health,
    },
    /// So many messages wait for each of these actors of this node. Of those whose [`Load`] is
    /// another than was told, as many are told as [`LOADS_BYTES_MAX`] allows.
    Depths {
        /// The messages that wait, by the actor's id on this node.
        depths: BTreeMap<u64, u64>,
    },
    /// This node is about to leave: all its entries go.
    Withdraw,
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
    /// [`PeersOutput::Renewed`](crate::PeersOutput::Renewed): the entries of this node's own are those
    /// of its new life.
    Renewed {
        /// Which life this is now.
        me: NodeId,
    },
}

/// An actor that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The name that it is registered under.
    pub name: &'a EntryName,
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
        Self {
            replica: Replica::new(me, limits),
            by_name: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            own_names: BTreeMap::new(),
            loads_told: None,
        }
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
                let names = self.own_names.get(&actor).into_iter().flatten();
                let keys = names.map(|name| EntryKey { name: name.clone(), actor });
                let changes = keys.map(|key| Change::Remove { key }).collect();
                self.replicate(ReplicaInput::Write { changes })
            }
            RegistryInput::Health { name, actor, health } => {
                let key = EntryKey { name, actor };
                let Some(entry) = self.own(&key) else { return Ok(Vec::new()) };
                let value = entry.clone().in_health(health);
                self.replicate(ReplicaInput::Put { key, value })
            }
            RegistryInput::Depths { depths } => {
                let changes = self.loads(&depths);
                self.replicate(ReplicaInput::Write { changes })
            }
            RegistryInput::Withdraw => {
                let keys = self.replica.own_after(None).map(|(key, _)| key.clone());
                let changes = keys.map(|key| Change::Remove { key }).collect();
                self.replicate(ReplicaInput::Write { changes })
            }
            RegistryInput::PeerUp { peer } => self.replicate(ReplicaInput::PeerUp { peer }),
            RegistryInput::PeerDown { peer } => self.replicate(ReplicaInput::PeerDown { peer }),
            RegistryInput::Room { peer } => self.replicate(ReplicaInput::Room { peer }),
            RegistryInput::Received { from, message } => {
                self.replicate(ReplicaInput::Received { from, message })
            }
            RegistryInput::Renewed { me } => self.replicate(ReplicaInput::Renewed { me }),
        }
    }

    /// All actors under `name`, whatever their health, ordered by node and then by actor. Finding
    /// them takes time logarithmic in the number of entries.
    pub fn discover(&self, name: &str) -> impl Iterator<Item = Found<'_>> {
        self.by_name.get_key_value(name).into_iter().flat_map(move |(name, places)| {
            places.iter().map(move |(node, actor)| self.found(node, *actor, name))
        })
    }

    /// All that `query` looks for, ordered by node, actor and name. Takes time in proportion to the
    /// entries of its name, or, without a name, of the rarest of its tags.
    #[must_use]
    pub fn find(&self, query: &Query) -> Vec<Found<'_>> {
        let of_tag = |tag: &String| self.by_tag.get_key_value(tag.as_str());
        let sizes = query.tags.iter().map(|tag| (of_tag(tag).map_or(0, |it| it.1.len()), tag));
        let mut found: Vec<_> = match (&query.name, sizes.min()) {
            (Some(name), _) => self.discover(name).collect(),
            (None, Some((_, rarest))) => of_tag(rarest)
                .into_iter()
                .flat_map(|(_, places)| places)
                .map(|(node, actor, name)| self.found(node, *actor, name))
                .collect(),
            (None, None) => self.by_name.keys().flat_map(|it| self.discover(it.as_str())).collect(),
        };
        found.retain(|found| query.matches(found.name, found.entry));
        found.sort_unstable_by_key(|found| (found.node, found.actor, found.name));
        found
    }

    /// One actor under `name` that can be given work: this node's own if it has one, else the first
    /// by node and actor.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Found<'_>> {
        let me = self.replica.me();
        let mut found = self.discover(name).filter(|found| found.entry.health().takes_work());
        let first = found.next()?;
        let own = std::iter::once(first).chain(found).find(|found| found.node == me);
        own.or(Some(first))
    }

    fn found<'a>(&'a self, node: &'a NodeId, actor: u64, name: &'a EntryName) -> Found<'a> {
        let entry = self.replica.get(node, &EntryKey { name: name.clone(), actor });
        let entry = entry.expect("the index holds only what the replica holds");
        Found { name, node, actor, entry }
    }

    fn own(&self, key: &EntryKey) -> Option<&Entry> {
        self.replica.get(self.replica.me(), key)
    }

    /// The entries whose load is to be told now, in turn.
    fn loads(&mut self, depths: &BTreeMap<u64, u64>) -> Vec<Change<EntryKey, Entry>> {
        let after = self.loads_told.take();
        let behind = self.replica.own_after(after.as_ref());
        let before = self.replica.own_after(None);
        let before = before.take_while(|(key, _)| after.as_ref().is_some_and(|it| *key <= it));
        let mut bytes = 0;
        let mut changes = Vec::new();
        for (key, entry) in behind.chain(before) {
            let Some(load) = depths.get(&key.actor).map(|depth| Load::of(*depth)) else { continue };
            if load == entry.load() {
                continue;
            }
            if bytes >= LOADS_BYTES_MAX {
                let last: Option<&Change<EntryKey, Entry>> = changes.last();
                self.loads_told = last.map(|change| change.key().clone());
                break;
            }
            bytes += key.name.as_str().len() + entry.bytes();
            let (key, value) = (key.clone(), entry.clone().under_load(load));
            changes.push(Change::Put { key, value });
        }
        changes
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
        let (is, was) = match kind {
            ReplicaEventKind::Added { value } => (Some(value), None),
            ReplicaEventKind::Changed { value, was } => (Some(value), Some(was)),
            ReplicaEventKind::Removed { was } => (None, Some(was)),
        };
        let (is, was) = (is.map(Entry::tags), was.map(Entry::tags));
        if is != was {
            let place = (origin.clone(), actor, name.clone());
            for tag in was.into_iter().flatten() {
                discard(&mut self.by_tag, tag, &place);
            }
            for tag in is.into_iter().flatten() {
                self.by_tag.entry(tag.clone()).or_default().insert(place.clone());
            }
        }
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
