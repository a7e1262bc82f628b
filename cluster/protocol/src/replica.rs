//! A map that every node of the cluster holds a copy of, with one writer for each entry.

mod input;
mod limits;
mod message;
mod origin;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use self::origin::{Origin, Sending};
use crate::{NodeId, NodeName};

pub use self::input::{ReplicaError, ReplicaEvent, ReplicaEventKind, ReplicaInput, ReplicaOutput};
pub use self::limits::{Bounded, ReplicaLimits};
pub use self::message::{Change, ReplicaMessage};

/// A replicated map in which each node writes its own entries and nobody else's.
///
/// When a link comes up, both ends send one another a snapshot of what they wrote, part by part as
/// there is [room](ReplicaInput::Room), and each change as a delta, so what a node wrote is known to
/// all that it is linked with; and when the link goes down it is forgotten at once. Entries are taken only from whoever wrote them, as its certificate
/// proves, so no peer can speak for another.
///
/// ```
/// use umbel_protocol::{Incarnation, NodeId, Replica, ReplicaInput, ReplicaLimits, ReplicaOutput};
///
/// let node = |name: &str| NodeId { name: name.parse().unwrap(), incarnation: Incarnation(1) };
/// let mut a = Replica::<u32, u32>::new(node("a"), ReplicaLimits::default());
/// let mut b = Replica::<u32, u32>::new(node("b"), ReplicaLimits::default());
/// a.step(ReplicaInput::Put { key: 7, value: 49 })?;
/// b.step(ReplicaInput::PeerUp { peer: node("a") })?;
/// for output in a.step(ReplicaInput::PeerUp { peer: node("b") })? {
///     if let ReplicaOutput::Send { message, .. } = output {
///         b.step(ReplicaInput::Received { from: node("a"), message })?;
///     }
/// }
/// assert_eq!(b.get(&node("a"), &7), Some(&49));
/// # Ok::<(), umbel_protocol::ReplicaError>(())
/// ```
#[derive(Debug)]
pub struct Replica<K, V> {
    me: NodeId,
    limits: ReplicaLimits,
    own: BTreeMap<K, V>,
    version: u64,
    origins: BTreeMap<NodeName, Origin<K, V>>,
    /// Counts peers that went down, so that the longest gone can be told.
    downs: u64,
}

/// What a step comes to.
pub(crate) type Stepped<K, V> = Result<Vec<ReplicaOutput<K, V>>, ReplicaError>;

impl<K: Ord + Clone + Bounded, V: Clone + PartialEq + Bounded> Replica<K, V> {
    /// An empty map, written by `me`.
    #[must_use]
    pub fn new(me: NodeId, limits: ReplicaLimits) -> Self {
        let (own, origins) = (BTreeMap::new(), BTreeMap::new());
        Self { me, limits, own, version: 0, origins, downs: 0 }
    }

    /// Takes note of `input` and says what to do.
    ///
    /// # Errors
    /// [`ReplicaError`], with nothing changed; each variant says who is to be told.
    pub fn step(&mut self, input: ReplicaInput<K, V>) -> Stepped<K, V> {
        match input {
            ReplicaInput::Put { key, value } => self.put(key, value),
            ReplicaInput::Remove { key } => Ok(self.remove(key)),
            ReplicaInput::Write { changes } => self.write(changes),
            ReplicaInput::PeerUp { peer } => self.peer_up(peer),
            ReplicaInput::PeerDown { peer } => Ok(self.peer_down(&peer)),
            ReplicaInput::Room { peer } => Ok(self.room(&peer)),
            ReplicaInput::Received { from, message } => self.received(from, message),
            ReplicaInput::Renewed { me } => Ok(self.renewed(me)),
        }
    }

    /// The entry of `origin` under `key`.
    #[must_use]
    pub fn get(&self, origin: &NodeId, key: &K) -> Option<&V> {
        self.entries_of(origin)?.get(key)
    }

    /// All entries: this node's own, then those of peers by name, each by key.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &K, &V)> {
        let peers = self.origins.iter().map(|(name, origin)| (origin.id(name), &origin.entries));
        std::iter::once((self.me.clone(), &self.own)).chain(peers).flat_map(|(id, entries)| {
            entries.iter().map(move |(key, value)| (id.clone(), key, value))
        })
    }

    /// The entries of this node's own, by key, beginning behind `key` where there is one.
    pub(crate) fn own_after(&self, key: Option<&K>) -> impl Iterator<Item = (&K, &V)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.own.range((from, Bound::Unbounded))
    }

    /// How many entries there are of `origin`.
    #[must_use]
    pub fn count_of(&self, origin: &NodeId) -> usize {
        self.entries_of(origin).map_or(0, BTreeMap::len)
    }

    /// The node that writes here.
    #[must_use]
    pub fn me(&self) -> &NodeId {
        &self.me
    }

    fn entries_of(&self, id: &NodeId) -> Option<&BTreeMap<K, V>> {
        if *id == self.me {
            return Some(&self.own);
        }
        let origin = self.origins.get(&id.name)?;
        (origin.incarnation == id.incarnation).then_some(&origin.entries)
    }

    fn put(&mut self, key: K, value: V) -> Stepped<K, V> {
        if !key.is_within_bounds() || !value.is_within_bounds() {
            return Err(ReplicaError::TooLarge);
        }
        let was = self.own.get(&key);
        if was.is_none() && self.own.len() >= self.limits.entries_max {
            return Err(ReplicaError::Full { entries_max: self.limits.entries_max });
        }
        if was == Some(&value) {
            return Ok(Vec::new());
        }
        Ok(self.make([Change::Put { key, value }]))
    }

    fn remove(&mut self, key: K) -> Vec<ReplicaOutput<K, V>> {
        self.make([Change::Remove { key }])
    }

    fn write(&mut self, changes: Vec<Change<K, V>>) -> Stepped<K, V> {
        let fits = |change: &Change<K, V>| match change {
            Change::Put { key, value } => key.is_within_bounds() && value.is_within_bounds(),
            Change::Remove { key } => key.is_within_bounds(),
        };
        if !changes.iter().all(fits) {
            return Err(ReplicaError::TooLarge);
        }
        let new: BTreeSet<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Put { key, .. } if !self.own.contains_key(key) => Some(key),
                _ => None,
            })
            .collect();
        if self.own.len() + new.len() > self.limits.entries_max && !new.is_empty() {
            return Err(ReplicaError::Full { entries_max: self.limits.entries_max });
        }
        Ok(self.make(changes))
    }

    /// Makes changes that may be made: first what to tell here, then what to tell peers.
    fn make(
        &mut self,
        changes: impl IntoIterator<Item = Change<K, V>>,
    ) -> Vec<ReplicaOutput<K, V>> {
        let mut outputs = Vec::new();
        let mut made = Vec::new();
        for change in changes {
            let (key, kind) = match &change {
                Change::Put { key, value } => {
                    let kind = match self.own.insert(key.clone(), value.clone()) {
                        Some(was) if was == *value => continue,
                        Some(was) => ReplicaEventKind::Changed { value: value.clone(), was },
                        None => ReplicaEventKind::Added { value: value.clone() },
                    };
                    (key.clone(), kind)
                }
                Change::Remove { key } => match self.own.remove(key) {
                    Some(was) => (key.clone(), ReplicaEventKind::Removed { was }),
                    None => continue,
                },
            };
            outputs.push(ReplicaOutput::Event(ReplicaEvent { origin: self.me.clone(), key, kind }));
            made.push(change);
        }
        let size = self.limits.message_entries_max.max(1);
        let mut made = made.into_iter().peekable();
        while made.peek().is_some() {
            let (origin, from) = (self.me.clone(), self.version);
            self.version += 1;
            let changes = made.by_ref().take(size).collect();
            let delta = ReplicaMessage::Delta { origin, from, to: self.version, changes };
            outputs.push(ReplicaOutput::Broadcast(delta));
        }
        outputs
    }

    fn peer_up(&mut self, peer: NodeId) -> Stepped<K, V> {
        if peer.name == self.me.name {
            return Ok(Vec::new());
        }
        let mut outputs = Vec::new();
        match self.origins.get_mut(&peer.name) {
            Some(known) if known.incarnation > peer.incarnation => return Ok(outputs),
            Some(known) => outputs = known.clear(&peer.name),
            None => self.make_room()?,
        }
        let mut origin = Origin::new(peer.incarnation);
        origin.up = true;
        self.origins.insert(peer.name.clone(), origin);
        outputs.extend(self.begin_snapshot(&peer));
        Ok(outputs)
    }

    fn peer_down(&mut self, peer: &NodeId) -> Vec<ReplicaOutput<K, V>> {
        let Some(origin) = self.origins.get_mut(&peer.name) else { return Vec::new() };
        if origin.incarnation != peer.incarnation || !origin.up {
            return Vec::new();
        }
        let gone = origin.clear(&peer.name);
        self.downs += 1;
        *origin = Origin::new(peer.incarnation);
        origin.down_since = self.downs;
        gone
    }

    fn renewed(&mut self, me: NodeId) -> Vec<ReplicaOutput<K, V>> {
        let before = std::mem::replace(&mut self.me, me);
        let event = |origin: &NodeId, key: &K, kind| {
            ReplicaOutput::Event(ReplicaEvent { origin: origin.clone(), key: key.clone(), kind })
        };
        let gone = self
            .own
            .iter()
            .map(|(key, was)| event(&before, key, ReplicaEventKind::Removed { was: was.clone() }));
        let come = self.own.iter().map(|(key, value)| {
            event(&self.me, key, ReplicaEventKind::Added { value: value.clone() })
        });
        gone.chain(come).collect()
    }

    /// At the bound, the peer that has been down for longest is forgotten.
    fn make_room(&mut self) -> Result<(), ReplicaError> {
        if self.origins.len() < self.limits.origins_max {
            return Ok(());
        }
        let down = self.origins.iter().filter(|(_, origin)| !origin.up);
        let longest = down.min_by_key(|(_, origin)| origin.down_since);
        let Some(name) = longest.map(|(name, _)| name.clone()) else {
            return Err(ReplicaError::TooManyOrigins { origins_max: self.limits.origins_max });
        };
        self.origins.remove(&name);
        Ok(())
    }

    fn received(&mut self, from: NodeId, message: ReplicaMessage<K, V>) -> Stepped<K, V> {
        let Some(origin) = self.origins.get_mut(&from.name) else { return Ok(Vec::new()) };
        if !origin.up || origin.incarnation != from.incarnation {
            // From a link that is down: what is still in its pipe counts no more.
            return Ok(Vec::new());
        }
        let expected = if message.is_request() { &self.me } else { &from };
        if message.origin() != expected {
            let origin = message.origin().clone();
            return Err(ReplicaError::NotItsOwn { from, origin });
        }
        if !message.is_within_bounds() {
            return Err(ReplicaError::TooLarge);
        }
        match message {
            ReplicaMessage::Snapshot { version, part, last, entries, .. } => {
                origin.snapshot(from, version, (part, last), entries, self.limits.entries_max)
            }
            ReplicaMessage::Delta { from: base, to, changes, .. } => {
                origin.delta(from, (base, to), changes, self.limits.entries_max)
            }
            // Lanes lose nothing, so whoever was sent this version has it. A request to send it once
            // more can only come from a peer that wants to see this node at work.
            ReplicaMessage::SyncRequest { have, .. } => {
                let is_up_to_date = have == self.version || origin.answered_at == self.version;
                if is_up_to_date || origin.sending.is_some() {
                    return Ok(Vec::new());
                }
                Ok(self.begin_snapshot(&from))
            }
        }
    }

    fn begin_snapshot(&mut self, peer: &NodeId) -> Vec<ReplicaOutput<K, V>> {
        if let Some(origin) = self.origins.get_mut(&peer.name) {
            origin.answered_at = self.version;
            origin.sending = Some(Sending { part: 0, after: None });
        }
        self.room(peer)
    }

    /// The next part for a peer that has not been sent all yet. It tells how things stand now of
    /// the keys behind the part before: their earlier changes, which went out as deltas, are in it.
    fn room(&mut self, peer: &NodeId) -> Vec<ReplicaOutput<K, V>> {
        let Some(origin) = self.origins.get_mut(&peer.name) else { return Vec::new() };
        if origin.incarnation != peer.incarnation {
            return Vec::new();
        }
        let Some(Sending { part, after }) = origin.sending.take() else { return Vec::new() };
        let mut left = self.own_after(after.as_ref());
        let size = self.limits.message_entries_max.max(1);
        let entries: Vec<_> =
            left.by_ref().take(size).map(|(key, value)| (key.clone(), value.clone())).collect();
        let last = left.next().is_none();
        drop(left);
        if !last && let Some(origin) = self.origins.get_mut(&peer.name) {
            let after = entries.last().map(|(key, _)| key.clone());
            origin.sending = Some(Sending { part: part + 1, after });
        }
        let (origin, version) = (self.me.clone(), self.version);
        let message = ReplicaMessage::Snapshot { origin, version, part, last, entries };
        vec![ReplicaOutput::Send { to: peer.clone(), message }]
    }
}

#[cfg(test)]
#[path = "replica/tests.rs"]
mod tests;
