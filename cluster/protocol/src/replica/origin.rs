//! One node's copy of what another node wrote.

use std::collections::BTreeMap;

use super::{
    Change, ReplicaError, ReplicaEvent, ReplicaEventKind, ReplicaMessage, ReplicaOutput, Stepped,
};
use crate::{Incarnation, NodeId, NodeName};

#[derive(Debug)]
pub(super) struct Origin<K, V> {
    pub(super) incarnation: Incarnation,
    pub(super) up: bool,
    /// Which of all downs was this one's; counts while it is down.
    pub(super) down_since: u64,
    /// This node's own version when it last began to send the peer a snapshot.
    pub(super) answered_at: u64,
    /// How far it has come with that, until it is done.
    pub(super) sending: Option<Sending<K>>,
    pub(super) entries: BTreeMap<K, V>,
    version: Option<u64>,
    syncing: bool,
    staged: Option<Staged<K, V>>,
}

/// A snapshot that is being sent.
#[derive(Debug)]
pub(super) struct Sending<K> {
    /// The next part.
    pub(super) part: u32,
    /// The key that the part before ended with.
    pub(super) after: Option<K>,
}

/// The parts of a snapshot that have arrived so far, with the changes between them.
#[derive(Debug)]
struct Staged<K, V> {
    version: u64,
    next: u32,
    entries: BTreeMap<K, V>,
    left_out: usize,
}

impl<K: Ord, V> Staged<K, V> {
    fn put(&mut self, key: K, value: V, entries_max: usize) {
        if self.entries.len() < entries_max || self.entries.contains_key(&key) {
            self.entries.insert(key, value);
        } else {
            self.left_out += 1;
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Origin<K, V> {
    pub(super) fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            up: false,
            down_since: 0,
            answered_at: 0,
            sending: None,
            entries: BTreeMap::new(),
            version: None,
            syncing: false,
            staged: None,
        }
    }

    pub(super) fn id(&self, name: &NodeName) -> NodeId {
        NodeId { name: name.clone(), incarnation: self.incarnation }
    }

    /// Drops all entries, by key.
    pub(super) fn clear(&mut self, name: &NodeName) -> Vec<ReplicaOutput<K, V>> {
        let id = self.id(name);
        self.staged = None;
        self.version = None;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(|(key, was)| removed(&id, key, was)).collect()
    }

    pub(super) fn snapshot(
        &mut self,
        from: NodeId,
        version: u64,
        (part, last): (u32, bool),
        entries: Vec<(K, V)>,
        entries_max: usize,
    ) -> Stepped<K, V> {
        let begun = || Staged { version, next: 0, entries: BTreeMap::new(), left_out: 0 };
        let staged = if part == 0 { Some(begun()) } else { self.staged.take() };
        let expected = staged.filter(|it| (it.version, it.next) == (version, part));
        let Some(mut staged) = expected else { return Err(ReplicaError::Malformed { from }) };
        staged.next = staged.next.wrapping_add(1);
        for (key, value) in entries {
            staged.put(key, value, entries_max);
        }
        if !last {
            self.staged = Some(staged);
            return Ok(Vec::new());
        }
        self.syncing = false;
        self.staged = None;
        self.version = Some(version);
        let mut outputs = self.replace(&from, staged.entries);
        if staged.left_out > 0 {
            outputs.push(ReplicaOutput::Overflow { origin: from, left_out: staged.left_out });
        }
        Ok(outputs)
    }

    /// Takes `entries` for all there are: removals first, by key, then the rest, by key.
    fn replace(&mut self, id: &NodeId, entries: BTreeMap<K, V>) -> Vec<ReplicaOutput<K, V>> {
        let mut before = std::mem::replace(&mut self.entries, entries);
        let gone = before.extract_if(.., |key, _| !self.entries.contains_key(key));
        let mut outputs: Vec<_> = gone.map(|(key, was)| removed(id, key, was)).collect();
        for (key, value) in &self.entries {
            outputs.extend(put(id, key, value, before.remove(key)));
        }
        outputs
    }

    pub(super) fn delta(
        &mut self,
        from: NodeId,
        (base, to): (u64, u64),
        changes: Vec<Change<K, V>>,
        entries_max: usize,
    ) -> Stepped<K, V> {
        if to <= base {
            return Err(ReplicaError::Malformed { from });
        }
        if let Some(staged) = &mut self.staged {
            // On one lane, it comes right behind what the snapshot has told so far.
            if staged.version != base {
                return Err(ReplicaError::Malformed { from });
            }
            staged.version = to;
            for change in changes {
                match change {
                    Change::Put { key, value } => staged.put(key, value, entries_max),
                    Change::Remove { key } => drop(staged.entries.remove(&key)),
                }
            }
            return Ok(Vec::new());
        }
        if self.version.is_some_and(|version| to <= version) {
            return Ok(Vec::new());
        }
        if self.version != Some(base) {
            return Ok(self.ask_for_sync(from));
        }
        self.version = Some(to);
        let mut outputs = Vec::new();
        let mut left_out = 0;
        for change in changes {
            match change {
                Change::Put { key, value } => {
                    if self.entries.len() >= entries_max && !self.entries.contains_key(&key) {
                        left_out += 1;
                        continue;
                    }
                    let was = self.entries.insert(key.clone(), value.clone());
                    outputs.extend(put(&from, &key, &value, was));
                }
                Change::Remove { key } => {
                    let was = self.entries.remove(&key);
                    outputs.extend(was.map(|was| removed(&from, key, was)));
                }
            }
        }
        if left_out > 0 {
            outputs.push(ReplicaOutput::Overflow { origin: from, left_out });
        }
        Ok(outputs)
    }

    /// Once: the snapshot that answers it brings everything up to date.
    fn ask_for_sync(&mut self, from: NodeId) -> Vec<ReplicaOutput<K, V>> {
        if std::mem::replace(&mut self.syncing, true) {
            return Vec::new();
        }
        let have = self.version.unwrap_or(0);
        let message = ReplicaMessage::SyncRequest { origin: from.clone(), have };
        vec![ReplicaOutput::Send { to: from, message }]
    }
}

fn removed<K, V>(origin: &NodeId, key: K, was: V) -> ReplicaOutput<K, V> {
    let kind = ReplicaEventKind::Removed { was };
    ReplicaOutput::Event(ReplicaEvent { origin: origin.clone(), key, kind })
}

fn put<K: Clone, V: Clone + PartialEq>(
    origin: &NodeId,
    key: &K,
    value: &V,
    was: Option<V>,
) -> Option<ReplicaOutput<K, V>> {
    let value = value.clone();
    let kind = match was {
        Some(was) if was == value => return None,
        Some(was) => ReplicaEventKind::Changed { value, was },
        None => ReplicaEventKind::Added { value },
    };
    let (origin, key) = (origin.clone(), key.clone());
    Some(ReplicaOutput::Event(ReplicaEvent { origin, key, kind }))
}
