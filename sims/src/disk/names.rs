//! Which names stand for which files and directories: in the cache, and on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngCore;
use umbel_actors::storage::{Entry, Mismatch, StorageError, StoragePath};

use super::Losses;

/// How many changes may wait for a directory to be synced. Beyond that the oldest becomes durable, as a
/// file system's own journal sees to after a while.
const PENDING_MAX: usize = 1024;

/// A file or a directory, whatever its names are. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(u64);

const ROOT: Inode = Inode(0);

/// A name in a directory.
type Place = (Inode, Arc<str>);

pub(super) struct Names {
    cached: BTreeMap<Place, Inode>,
    durable: BTreeMap<Place, Inode>,
    pending: Vec<Change>,
    directories: BTreeSet<Inode>,
    next: u64,
}

/// A name that was made (`to`), removed (`from`), or both at once.
#[derive(Clone)]
struct Change {
    inode: Inode,
    from: Option<Place>,
    to: Option<Place>,
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.from.iter().chain(&self.to)
    }

    fn is_in(&self, directory: Inode) -> bool {
        self.places().any(|(parent, _)| *parent == directory)
    }

    /// Whether it cannot be on the disk without an earlier one: it is about the same name, or removes
    /// the directory that the earlier one took something out of.
    fn needs(&self, earlier: &Self) -> bool {
        self.places().any(|place| earlier.places().any(|other| place == other))
            || earlier.is_in(self.inode)
    }

    fn apply(&self, names: &mut BTreeMap<Place, Inode>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.inode);
        }
    }
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            cached: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            directories: BTreeSet::from([ROOT]),
            next: 1,
        }
    }

    /// What a path stands for.
    pub(super) fn find(&self, path: &StoragePath) -> Result<Inode, StorageError> {
        let mut found = ROOT;
        for name in path.names() {
            if !self.is_directory(found) {
                return Err(mismatch(path, Mismatch::NotDirectory));
            }
            let below = self.cached.get(&(found, name.into()));
            found = *below.ok_or_else(|| StorageError::NotFound { path: path.to_string() })?;
        }
        Ok(found)
    }

    pub(super) fn find_directory(&self, path: &StoragePath) -> Result<Inode, StorageError> {
        let found = self.find(path)?;
        if self.is_directory(found) {
            Ok(found)
        } else {
            Err(mismatch(path, Mismatch::NotDirectory))
        }
    }

    pub(super) fn find_file(&self, path: &StoragePath) -> Result<Inode, StorageError> {
        let found = self.find(path)?;
        if self.is_directory(found) { Err(mismatch(path, Mismatch::Directory)) } else { Ok(found) }
    }

    fn is_directory(&self, inode: Inode) -> bool {
        self.directories.contains(&inode)
    }

    /// Whether something has a name, in the cache or on the disk, or may have one again.
    pub(super) fn has(&self, inode: Inode) -> bool {
        let pending = self.pending.iter().map(|change| &change.inode);
        self.cached.values().chain(self.durable.values()).chain(pending).any(|it| *it == inode)
    }

    /// Makes a file or a directory.
    pub(super) fn make(
        &mut self,
        path: &StoragePath,
        is_directory: bool,
    ) -> Result<Inode, StorageError> {
        let taken = || StorageError::AlreadyExists { path: path.to_string() };
        if path.is_root() {
            return Err(taken());
        }
        let place = self.place(path)?;
        if self.cached.contains_key(&place) {
            return Err(taken());
        }
        let inode = Inode(self.next);
        self.next += 1;
        if is_directory {
            self.directories.insert(inode);
        }
        self.change(Change { inode, from: None, to: Some(place) });
        Ok(inode)
    }

    /// Gives a file another name, and says whose name it was.
    pub(super) fn rename(
        &mut self,
        from: &StoragePath,
        to: &StoragePath,
    ) -> Result<Option<Inode>, StorageError> {
        let inode = self.find_file(from)?;
        if to.is_root() {
            return Err(mismatch(to, Mismatch::Directory));
        }
        let (old, new) = (self.place(from)?, self.place(to)?);
        let replaced = self.cached.get(&new).copied();
        if replaced.is_some_and(|replaced| self.is_directory(replaced)) {
            return Err(mismatch(to, Mismatch::Directory));
        }
        if replaced == Some(inode) {
            return Ok(None);
        }
        self.change(Change { inode, from: Some(old), to: Some(new) });
        Ok(replaced)
    }

    pub(super) fn remove(&mut self, path: &StoragePath) -> Result<Inode, StorageError> {
        let inode = self.find(path)?;
        if path.is_root() {
            return Err(mismatch(path, Mismatch::Root));
        }
        if self.below(inode).next().is_some() {
            return Err(mismatch(path, Mismatch::NotEmpty));
        }
        let place = self.place(path)?;
        self.change(Change { inode, from: Some(place), to: None });
        Ok(inode)
    }

    pub(super) fn list(&self, path: &StoragePath) -> Result<Vec<Entry>, StorageError> {
        let directory = self.find_directory(path)?;
        let entry = |(name, inode): (&Arc<str>, Inode)| Entry {
            name: name.to_string(),
            is_directory: self.is_directory(inode),
        };
        Ok(self.below(directory).map(entry).collect())
    }

    fn below(&self, directory: Inode) -> impl Iterator<Item = (&Arc<str>, Inode)> {
        let from = self.cached.range((directory, "".into())..);
        from.take_while(move |((parent, _), _)| *parent == directory)
            .map(|((_, name), inode)| (name, *inode))
    }

    fn place(&self, path: &StoragePath) -> Result<Place, StorageError> {
        // A file above is told by the path that leads through it.
        let parent = self.find_directory(&path.parent()).map_err(|why| match why {
            StorageError::Mismatch { mismatch: wrong, .. } => mismatch(path, wrong),
            _ => StorageError::NotFound { path: path.to_string() },
        })?;
        Ok((parent, path.name().into()))
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
        if self.pending.len() > PENDING_MAX {
            self.pending.remove(0).apply(&mut self.durable);
        }
    }

    /// Makes durable what was changed in a directory, and what that builds upon.
    pub(super) fn sync(&mut self, directory: Inode) {
        let mut synced: Vec<Change> = Vec::new();
        let mut rest = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            if change.is_in(directory) || synced.iter().any(|later| later.needs(&change)) {
                synced.push(change);
            } else {
                rest.push(change);
            }
        }
        for change in synced.iter().rev() {
            change.apply(&mut self.durable);
        }
        rest.reverse();
        self.pending = rest;
    }

    pub(super) fn power_loss(&mut self, chance: &mut impl RngCore, losses: &mut Losses) {
        let mut lost: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if chance.next_u64().is_multiple_of(2)
                || lost.iter().any(|earlier| change.needs(earlier))
            {
                lost.push(change);
            } else {
                losses.names_kept += 1;
                change.apply(&mut self.durable);
            }
        }
        losses.names_lost += lost.len();
        self.forget_unreachable();
        self.cached = self.durable.clone();
    }

    /// A name is lost with the directory that it is in.
    fn forget_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        loop {
            let known = reachable.len();
            let found = self.durable.iter().filter(|((parent, _), _)| reachable.contains(parent));
            let found: Vec<_> = found.map(|(_, inode)| *inode).collect();
            reachable.extend(found);
            if reachable.len() == known {
                break;
            }
        }
        self.durable.retain(|(parent, _), _| reachable.contains(parent));
        self.directories.retain(|directory| reachable.contains(directory));
    }
}

fn mismatch(path: &StoragePath, mismatch: Mismatch) -> StorageError {
    StorageError::Mismatch { path: path.to_string(), mismatch }
}
