//! A disk as one life of its machine sees it.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use umbel_actors::storage::{
    ENTRIES_MAX, Entry, Fate, Mismatch, OpenMode, Storage, StorageError, StorageFile, StoragePath,
};

use super::names::Inode;
use super::{Disk, State};

/// What one life of a machine writes its files through: [`Disk::storage`].
#[derive(Clone, Debug)]
pub struct SimStorage {
    disk: Disk,
    life: u64,
}

impl SimStorage {
    pub(super) fn new(disk: Disk, life: u64) -> Self {
        Self { disk, life }
    }

    /// Does something with the disk once its delay is over; never, in a life that has ended.
    async fn run<T>(self, work: impl FnOnce(&mut State) -> T) -> T {
        let delay = self.disk.0.lock().faults.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let done = {
            let mut state = self.disk.0.lock();
            (state.life == self.life).then(|| work(&mut state))
        };
        match done {
            Some(done) => done,
            None => pending().await,
        }
    }

    fn boxed<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, StorageError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        self.clone().run(work).boxed()
    }
}

impl Storage for SimStorage {
    fn open(
        &self,
        path: &StoragePath,
        mode: OpenMode,
    ) -> BoxFuture<'static, Result<Arc<dyn StorageFile>, StorageError>> {
        let (path, storage) = (path.clone(), self.clone());
        self.boxed(move |state| {
            let inode = open(state, &path, mode)?;
            *state.handles.entry(inode).or_default() += 1;
            let handle = Handle { storage, inode, path, sync_failed: Arc::default() };
            Ok(Arc::new(SimFile(Arc::new(handle))) as Arc<dyn StorageFile>)
        })
    }

    fn create_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        let path = path.clone();
        self.boxed(move |state| state.names.make(&path, true).map(drop))
    }

    fn list(&self, path: &StoragePath) -> BoxFuture<'static, Result<Vec<Entry>, StorageError>> {
        let path = path.clone();
        self.boxed(move |state| {
            let entries = state.names.list(&path)?;
            if entries.len() > ENTRIES_MAX {
                return Err(StorageError::TooManyEntries {
                    path: path.to_string(),
                    max: ENTRIES_MAX,
                });
            }
            Ok(entries)
        })
    }

    fn rename(
        &self,
        from: &StoragePath,
        to: &StoragePath,
    ) -> BoxFuture<'static, Result<(), StorageError>> {
        let (from, to) = (from.clone(), to.clone());
        self.boxed(move |state| {
            if let Some(replaced) = state.names.rename(&from, &to)? {
                state.forget(replaced);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        let path = path.clone();
        self.boxed(move |state| {
            let removed = state.names.remove(&path)?;
            state.forget(removed);
            Ok(())
        })
    }

    fn sync_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        let path = path.clone();
        self.boxed(move |state| {
            let directory = state.names.find_directory(&path)?;
            if due(&mut state.faults.syncs) {
                return Err(StorageError::SyncFailed { path: path.to_string(), source: broken() });
            }
            state.names.sync(directory);
            state.forget_unnamed();
            Ok(())
        })
    }
}

fn open(state: &mut State, path: &StoragePath, mode: OpenMode) -> Result<Inode, StorageError> {
    if path.is_root() {
        return Err(StorageError::Mismatch {
            path: path.to_string(),
            mismatch: Mismatch::Directory,
        });
    }
    match (state.names.find(path), mode) {
        (Ok(_), OpenMode::New) => Err(StorageError::AlreadyExists { path: path.to_string() }),
        (Ok(_), _) => state.names.find_file(path),
        (Err(StorageError::NotFound { .. }), OpenMode::Create | OpenMode::New) => {
            let made = state.names.make(path, false)?;
            state.contents.entry(made).or_default();
            Ok(made)
        }
        (Err(why), _) => Err(why),
    }
}

impl State {
    /// Frees what has neither a name nor a handle. On the disk a name may be left, until it is synced.
    fn forget(&mut self, inode: Inode) {
        if !self.handles.contains_key(&inode) && !self.names.has(inode) {
            self.contents.remove(&inode);
        }
    }
}

/// An open file.
struct SimFile(Arc<Handle>);

struct Handle {
    storage: SimStorage,
    inode: Inode,
    path: StoragePath,
    /// Held by the operation that runs: the lock is fair, so they keep their order.
    sync_failed: Arc<Mutex<bool>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.storage.disk.0.lock();
        if state.life != self.storage.life {
            return;
        }
        let left = state.handles.get_mut(&self.inode).map_or(0, |handles| {
            *handles -= 1;
            *handles
        });
        if left == 0 {
            state.handles.remove(&self.inode);
            state.forget(self.inode);
        }
    }
}

impl SimFile {
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle, &mut State, &mut bool) -> Result<T, StorageError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        let handle = self.0.clone();
        async move {
            let mut sync_failed = handle.sync_failed.lock().await;
            let storage = handle.storage.clone();
            storage.run(|state| work(&handle, state, &mut sync_failed)).await
        }
        .boxed()
    }
}

impl StorageFile for SimFile {
    fn read(
        &self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, StorageError>> {
        self.run(move |handle, state, _| {
            if due(&mut state.faults.reads) {
                return Err(handle.failed("read", Fate::Unchanged));
            }
            Ok(state.contents.entry(handle.inode).or_default().read(offset_bytes, length_bytes))
        })
    }

    fn write(
        &self,
        offset_bytes: u64,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run(move |handle, state, _| handle.write(state, offset_bytes, bytes))
    }

    fn append(&self, bytes: Vec<u8>) -> BoxFuture<'static, Result<u64, StorageError>> {
        self.run(move |handle, state, _| {
            let end = state.contents.entry(handle.inode).or_default().length();
            handle.write(state, end, bytes).map(|()| end)
        })
    }

    fn length(&self) -> BoxFuture<'static, Result<u64, StorageError>> {
        self.run(|handle, state, _| Ok(state.contents.entry(handle.inode).or_default().length()))
    }

    fn truncate(&self, length_bytes: u64) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run(move |handle, state, _| {
            if due(&mut state.faults.writes) {
                return Err(handle.failed("truncated", Fate::Unknown));
            }
            let reach = handle.reach(state);
            let content = state.contents.entry(handle.inode).or_default();
            if length_bytes > reach.max(content.length()) {
                return Err(handle.full(Fate::Unchanged));
            }
            content.truncate(length_bytes as usize);
            Ok(())
        })
    }

    fn sync(&self) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run(|handle, state, sync_failed| {
            let path = handle.path.to_string();
            if *sync_failed {
                let source = io::Error::other("an earlier sync of it failed");
                return Err(StorageError::SyncFailed { path, source });
            }
            let fails = due(&mut state.faults.syncs);
            let content = state.contents.entry(handle.inode).or_default();
            if fails {
                *sync_failed = true;
                content.fail_sync(state.faults.failed_sync);
                return Err(StorageError::SyncFailed { path, source: broken() });
            }
            content.sync();
            Ok(())
        })
    }
}

impl Handle {
    fn write(
        &self,
        state: &mut State,
        offset: u64,
        mut bytes: Vec<u8>,
    ) -> Result<(), StorageError> {
        let fails = due(&mut state.faults.writes);
        if fails {
            bytes.truncate(bytes.len() / 2);
        }
        let reach = self.reach(state);
        let content = state.contents.entry(self.inode).or_default();
        // What only replaces bytes takes no room.
        let room = reach.max(content.length()).saturating_sub(offset);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let missing = bytes.len() - fits;
        bytes.truncate(fits);
        if fits > 0 {
            content.write(offset as usize, bytes);
        }
        match (fails, missing, fits) {
            (true, ..) => Err(self.failed("written", Fate::Unknown)),
            (false, 0, _) => Ok(()),
            (false, _, 0) => Err(self.full(Fate::Unchanged)),
            (false, _, fits) => Err(self.full(Fate::Part { bytes: fits as u64 })),
        }
    }

    /// How long this file can become.
    fn reach(&self, state: &mut State) -> u64 {
        let free = state.faults.capacity_bytes.saturating_sub(state.used_bytes());
        state.contents.entry(self.inode).or_default().length() + free
    }

    fn failed(&self, doing: &'static str, fate: Fate) -> StorageError {
        StorageError::Failed { path: self.path.to_string(), doing, fate, source: broken() }
    }

    fn full(&self, fate: Fate) -> StorageError {
        let source = io::ErrorKind::StorageFull.into();
        StorageError::Full { path: self.path.to_string(), fate, source }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// Whether a fault strikes, which it does so many times.
fn due(times: &mut u32) -> bool {
    let strikes = *times > 0;
    *times = times.saturating_sub(1);
    strikes
}

fn broken() -> io::Error {
    io::Error::other("the simulated disk fails")
}
