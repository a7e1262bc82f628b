//! An open file of a directory.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::super::error::{Fate, StorageError};
use super::{Root, StorageFile, blocking};

/// A file and what came of its syncs.
///
/// The lock is fair, and goes along to the thread that works: so operations keep their order, also where
/// the future of one is dropped while its thread is at it.
pub(super) struct DirFile {
    open: Arc<Mutex<Open>>,
    path: Arc<str>,
}

struct Open {
    file: File,
    sync_failed: bool,
    /// The directory is ours while one of its files is open.
    _root: Arc<Root>,
}

impl DirFile {
    pub(super) fn new(file: File, path: String, root: Arc<Root>) -> Self {
        let open = Open { file, sync_failed: false, _root: root };
        Self { open: Arc::new(Mutex::new(open)), path: path.into() }
    }

    fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Open, String) -> Result<T, StorageError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        let (open, path) = (self.open.clone(), self.path.to_string());
        async move {
            let mut open = open.lock_owned().await;
            let name = path.clone();
            blocking(path, doing, move || work(&mut open, name)).await
        }
        .boxed()
    }
}

impl StorageFile for DirFile {
    fn read(
        &self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, StorageError>> {
        self.run("read", move |open, path| {
            read(&open.file, offset_bytes, length_bytes)
                .map_err(|why| StorageError::from_io(path, "read", Fate::Unchanged, why))
        })
    }

    fn write(
        &self,
        offset_bytes: u64,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run("written", move |open, path| write(&open.file, path, offset_bytes, &bytes))
    }

    fn append(&self, bytes: Vec<u8>) -> BoxFuture<'static, Result<u64, StorageError>> {
        self.run("written", move |open, path| {
            let end = match open.file.metadata() {
                Ok(metadata) => metadata.len(),
                Err(why) => {
                    return Err(StorageError::from_io(path, "written", Fate::Unchanged, why));
                }
            };
            write(&open.file, path, end, &bytes).map(|()| end)
        })
    }

    fn length(&self) -> BoxFuture<'static, Result<u64, StorageError>> {
        self.run("measured", move |open, path| match open.file.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(why) => Err(StorageError::from_io(path, "measured", Fate::Unchanged, why)),
        })
    }

    fn truncate(&self, length_bytes: u64) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run("truncated", move |open, path| {
            let done = open.file.set_len(length_bytes);
            done.map_err(|why| StorageError::from_io(path, "truncated", Fate::Unchanged, why))
        })
    }

    fn sync(&self) -> BoxFuture<'static, Result<(), StorageError>> {
        self.run("synced", move |open, path| {
            if open.sync_failed {
                let source = io::Error::other("an earlier sync of it failed");
                return Err(StorageError::SyncFailed { path, source });
            }
            // With the length, and without the times, which nobody here reads.
            open.file.sync_data().map_err(|source| {
                open.sync_failed = true;
                StorageError::SyncFailed { path, source }
            })
        })
    }
}

impl fmt::Debug for DirFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    // Memory for what is there: the length asked for may be anything.
    let there = file.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(length)];
    let mut filled = 0;
    while filled < bytes.len() {
        match read_at(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn write(file: &File, path: String, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
    let mut written = 0;
    while written < bytes.len() {
        let why = match offset.checked_add(written as u64) {
            None => io::ErrorKind::FileTooLarge.into(),
            Some(at) => match write_at(file, &bytes[written..], at) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => why,
            },
        };
        let fate = match (written, why.kind()) {
            (0, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Fate::Unchanged,
            (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Fate::Part { bytes: written as u64 }
            }
            // What a device did before it failed, nobody says.
            _ => Fate::Unknown,
        };
        return Err(StorageError::from_io(path, "written", fate, why));
    }
    Ok(())
}

#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(bytes, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}
