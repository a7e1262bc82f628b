//! A directory of the operating system's as a storage.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::error::{Fate, Mismatch, StorageError};
use super::{ENTRIES_MAX, Entry, OpenMode, Storage, StorageFile, StoragePath};

mod file;

use file::DirFile;

/// A directory as a storage: its own as long as it, or a file of it, is open.
///
/// Files and directories that it makes are private: nobody but their owner can read them. Who can write in
/// the directory past the storage is trusted: a symbolic link in it is followed.
///
/// It works on tokio's threads for blocking work, a thread for each operation that runs, and must be used
/// within a tokio runtime.
#[derive(Clone, Debug)]
pub struct DirStorage {
    root: Arc<Root>,
}

/// The directory, locked.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Holds the lock; the system takes it back when the last process that has it open ends, however
    /// that comes about.
    _lock: Option<File>,
}

impl DirStorage {
    /// Opens a directory, and makes it (and those above) where it is not there.
    ///
    /// # Errors
    /// [`StorageError::InUse`] where another storage has it, [`StorageError::Mismatch`] where it is a
    /// file, [`StorageError::Full`], [`StorageError::Failed`].
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let path = root.into();
        let shown = path.display().to_string();
        let opened = blocking(shown.clone(), "opened", move || {
            let failed = |why| StorageError::from_io(shown.clone(), "opened", Fate::Unknown, why);
            make_private(&path).map_err(failed)?;
            let lock = lock(&path).map_err(|why| match why {
                fs::TryLockError::WouldBlock => StorageError::InUse { path: shown.clone() },
                fs::TryLockError::Error(why) => failed(why),
            })?;
            Ok(Root { path, _lock: lock })
        });
        Ok(Self { root: Arc::new(opened.await?) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    fn at(&self, path: &StoragePath) -> PathBuf {
        let mut at = self.root.path.clone();
        at.extend(path.names());
        at
    }

    /// Runs what may block elsewhere, with the root held, and names the path in its error.
    fn run<T: Send + 'static>(
        &self,
        path: &StoragePath,
        doing: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        let (root, path) = (self.root.clone(), path.to_string());
        async move {
            let name = path.clone();
            blocking(name, doing, move || {
                let _root = root;
                work().map_err(|why| StorageError::from_io(path, doing, Fate::Unchanged, why))
            })
            .await
        }
        .boxed()
    }
}

impl Storage for DirStorage {
    fn open(
        &self,
        path: &StoragePath,
        mode: OpenMode,
    ) -> BoxFuture<'static, Result<Arc<dyn StorageFile>, StorageError>> {
        if path.is_root() {
            return refused(path, Mismatch::Directory);
        }
        let (at, root, name) = (self.at(path), self.root.clone(), path.to_string());
        self.run(path, "opened", move || {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            match mode {
                OpenMode::Existing => &mut options,
                OpenMode::Create => options.create(true),
                OpenMode::New => options.create_new(true),
            };
            private(&mut options);
            let file: Arc<dyn StorageFile> = Arc::new(DirFile::new(options.open(at)?, name, root));
            Ok(file)
        })
    }

    fn create_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        let at = self.at(path);
        self.run(path, "made", move || private_directory().create(at))
    }

    fn list(&self, path: &StoragePath) -> BoxFuture<'static, Result<Vec<Entry>, StorageError>> {
        let at = self.at(path);
        let listed = self.run(path, "listed", move || {
            let mut entries = Vec::new();
            for entry in fs::read_dir(at)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                // What has no name here, or is a socket or the like, is somebody else's.
                let Ok(name) = entry.file_name().into_string() else { continue };
                if name.parse::<StoragePath>().is_ok() && (kind.is_file() || kind.is_dir()) {
                    entries.push(Entry { name, is_directory: kind.is_dir() });
                }
                if entries.len() > ENTRIES_MAX {
                    return Ok(None);
                }
            }
            entries.sort_unstable();
            Ok(Some(entries))
        });
        let path = path.to_string();
        async move { listed.await?.ok_or(StorageError::TooManyEntries { path, max: ENTRIES_MAX }) }
            .boxed()
    }

    fn rename(
        &self,
        from: &StoragePath,
        to: &StoragePath,
    ) -> BoxFuture<'static, Result<(), StorageError>> {
        let (old, new) = (self.at(from), self.at(to));
        self.run(from, "renamed", move || {
            let is_directory = |path| fs::symlink_metadata(path).map(|found| found.is_dir());
            if is_directory(&old)? || is_directory(&new).unwrap_or(false) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            fs::rename(old, new)
        })
    }

    fn remove(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        if path.is_root() {
            return refused(path, Mismatch::Root);
        }
        let at = self.at(path);
        self.run(path, "removed", move || {
            if fs::symlink_metadata(&at)?.is_dir() {
                fs::remove_dir(at)
            } else {
                fs::remove_file(at)
            }
        })
    }

    fn sync_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>> {
        let (at, name) = (self.at(path), path.to_string());
        let synced = self.run(path, "synced", move || {
            if !fs::metadata(&at)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(sync_names(&at))
        });
        async move {
            synced.await?.map_err(|source| StorageError::SyncFailed { path: name, source })
        }
        .boxed()
    }
}

fn refused<T: Send + 'static>(
    path: &StoragePath,
    mismatch: Mismatch,
) -> BoxFuture<'static, Result<T, StorageError>> {
    let error = StorageError::Mismatch { path: path.to_string(), mismatch };
    async move { Err(error) }.boxed()
}

/// Runs what may block on a thread for that. Where that thread does not say what became of it, since the
/// runtime ends, it is unknown.
async fn blocking<T: Send + 'static>(
    path: String,
    doing: &'static str,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(why) => {
            let source = io::Error::other(why);
            Err(StorageError::Failed { path, doing, fate: Fate::Unknown, source })
        }
    }
}

/// Makes a directory and those above it, durably.
fn make_private(path: &Path) -> io::Result<()> {
    let above = path.ancestors().filter(|above| !above.as_os_str().is_empty());
    let missing: Vec<_> = above.take_while(|above| !above.exists()).collect();
    for path in missing.into_iter().rev() {
        match private_directory().create(path) {
            // Somebody else was faster.
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_names(parent.unwrap_or(Path::new(".")))?;
    }
    if path.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

fn private_directory() -> fs::DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are Unix's"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(unix)]
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened like a file, and the file system sees to its names itself.
#[cfg(not(unix))]
fn sync_names(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Locks the directory itself, so that there is no file for it that somebody could remove.
#[cfg(unix)]
fn lock(directory: &Path) -> Result<Option<File>, fs::TryLockError> {
    let file = File::open(directory).map_err(fs::TryLockError::Error)?;
    file.try_lock()?;
    Ok(Some(file))
}

#[cfg(not(unix))]
fn lock(_: &Path) -> Result<Option<File>, fs::TryLockError> {
    Ok(None)
}
