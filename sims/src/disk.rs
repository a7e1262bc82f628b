//! A machine's disk, which loses, tears, fills up and fails on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngCore;
use umbel_actors::storage::StoragePath;

mod content;
mod names;
mod storage;

use content::Content;
use names::{Inode, Names};
pub use storage::SimStorage;

/// What fits on a disk, in bytes, unless [`Disk::full_at`] says otherwise: 1 GiB.
pub const DISK_BYTES: u64 = 1 << 30;

/// A disk: one a machine, which outlives the machine's crashes. Clones are the same disk.
///
/// What a life of the machine writes, by a [`SimStorage`] of its own, goes to a page cache. A sync moves a
/// file's content to the disk, or a directory's names. [`power_loss`](Self::power_loss) leaves of the
/// rest what chance leaves; [`process_kill`](Self::process_kill) loses nothing. After either, the storages
/// handed out before are dead: what is asked of them never ends, as nothing does on a machine without
/// power. Drop the runtime, or the tasks, of the life that used them.
///
/// All that happens follows from what is asked of it and from the generators handed in.
///
/// ```
/// use rand::SeedableRng;
/// use umbel_actors::storage::{OpenMode, Storage, StoragePath};
/// use umbel_sims::Disk;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let disk = Disk::new();
/// let path: StoragePath = "log".parse()?;
/// let file = disk.storage().open(&path, OpenMode::New).await?;
/// file.append(b"durable".to_vec()).await?;
/// file.sync().await?;
/// disk.storage().sync_directory(&StoragePath::root()).await?;
/// file.append(b", perhaps".to_vec()).await?;
///
/// disk.power_loss(&mut rand::rngs::StdRng::seed_from_u64(7));
/// let file = disk.storage().open(&path, OpenMode::Existing).await?;
/// assert!(file.read(0, 100).await?.starts_with(b"durable"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    /// Storages of earlier lives are dead.
    life: u64,
    names: Names,
    contents: BTreeMap<Inode, Content>,
    /// How many handles each file is open by: a file without a name stays as long.
    handles: BTreeMap<Inode, usize>,
    faults: Faults,
}

/// What goes wrong from now on.
struct Faults {
    capacity_bytes: u64,
    reads: u32,
    writes: u32,
    syncs: u32,
    failed_sync: FailedSync,
    delay: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            capacity_bytes: DISK_BYTES,
            reads: 0,
            writes: 0,
            syncs: 0,
            failed_sync: FailedSync::Dropped,
            delay: Duration::ZERO,
        }
    }
}

/// What a sync that fails leaves in the page cache. On the disk there is nothing of it in either case, and
/// the cache counts as clean, so a later sync has nothing to write. Operating systems do both: see *Can
/// Applications Recover from fsync Failures?* (Rebello and others, USENIX ATC 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedSync {
    /// What could not be written is read no more.
    Dropped,
    /// It can be read until the power is lost.
    Readable,
}

/// What a power loss has done to what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Writes and truncations that were on the disk by then.
    pub kept: usize,
    /// Those of which nothing was; where a file had become longer, zeros may stand in their place.
    pub lost: usize,
    /// Writes of which some sectors were.
    pub torn: usize,
    /// Names that were made, replaced or removed, which it still was by then.
    pub names_kept: usize,
    /// Names that are as if nothing had happened.
    pub names_lost: usize,
}

impl Disk {
    /// An empty disk without faults, of [`DISK_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as this life of the machine uses it: until the next [`power_loss`](Self::power_loss) or
    /// [`process_kill`](Self::process_kill).
    #[must_use]
    pub fn storage(&self) -> SimStorage {
        SimStorage::new(self.clone(), self.0.lock().life)
    }

    /// Ends the machine's life as a power cut does. Each write since the last sync of its file is kept, lost
    /// or torn by chance, whatever the others are. So is each name, but that one does not outlive an
    /// earlier change that it builds upon: file systems order those.
    pub fn power_loss(&self, chance: &mut impl RngCore) -> Losses {
        let mut state = self.0.lock();
        let mut losses = Losses::default();
        state.names.power_loss(chance, &mut losses);
        // In the order of their numbers, whatever names they have by now.
        for content in state.contents.values_mut() {
            content.power_loss(chance, &mut losses);
        }
        state.next_life();
        losses
    }

    /// Ends the life of the process alone: what it wrote is in the page cache, and stays. Nor is it any
    /// more durable than before.
    pub fn process_kill(&self) {
        self.0.lock().next_life();
    }

    /// From now on the disk has room for so many bytes: the lengths of all files together. A write beyond is
    /// [`Full`](umbel_actors::storage::StorageError::Full), after what fitted.
    pub fn full_at(&self, bytes: u64) {
        self.0.lock().faults.capacity_bytes = bytes;
    }

    /// The next `times` reads fail, of any file; those of names do not.
    pub fn fail_reads(&self, times: u32) {
        self.0.lock().faults.reads = times;
    }

    /// The next `times` writes and truncations fail. Of a write, the first half is done.
    pub fn fail_writes(&self, times: u32) {
        self.0.lock().faults.writes = times;
    }

    /// The next `times` syncs fail. A directory's changes stay, and wait for the next sync of it.
    pub fn fail_syncs(&self, times: u32, left: FailedSync) {
        let mut state = self.0.lock();
        state.faults.syncs = times;
        state.faults.failed_sync = left;
    }

    /// Each operation takes so long from now on, on tokio's clock, before it happens.
    pub fn slow(&self, delay: Duration) {
        self.0.lock().faults.delay = delay;
    }

    /// Ends what [`full_at`](Self::full_at), [`slow`](Self::slow) and the like have begun.
    pub fn heal(&self) {
        self.0.lock().faults = Faults::default();
    }

    /// Flips the bits of `mask` in one byte of a file, on the disk and in the cache, as a medium that
    /// decays does. Whether there is such a byte on the disk.
    pub fn decay(&self, path: &StoragePath, offset_bytes: u64, mask: u8) -> bool {
        let mut state = self.0.lock();
        let Ok(inode) = state.names.find(path) else { return false };
        let content = state.contents.get_mut(&inode);
        content.is_some_and(|content| content.decay(offset_bytes, mask))
    }

    /// The bytes that are in use: the lengths of all files, as [`full_at`](Self::full_at) counts them.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }
}

impl State {
    fn next_life(&mut self) {
        self.life += 1;
        self.handles.clear();
        self.forget_unnamed();
    }

    /// Frees what has neither a name nor a handle.
    fn forget_unnamed(&mut self) {
        let Self { names, contents, handles, .. } = self;
        contents.retain(|inode, _| handles.contains_key(inode) || names.has(*inode));
    }

    fn used_bytes(&self) -> u64 {
        self.contents.values().map(Content::length).sum()
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            life: 0,
            names: Names::new(),
            contents: BTreeMap::new(),
            handles: BTreeMap::new(),
            faults: Faults::default(),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Disk")
            .field("life", &state.life)
            .field("used_bytes", &state.used_bytes())
            .finish_non_exhaustive()
    }
}
