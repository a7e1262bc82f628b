//! The seam to files: what durable parts write through, so that a simulation can lose, tear and fail
//! what they write.
//!
//! Who needs storage takes an `Arc<dyn Storage>`. [`DirStorage`] is a directory of the operating system's;
//! `umbel-sims` has a disk that breaks on demand; the suite in `storage::conformance` holds for both.
//!
//! ```
//! use std::sync::Arc;
//! use umbel_actors::storage::{DirStorage, OpenMode, Storage, StorageError, StoragePath};
//!
//! /// Replaces a small file, whole or not at all, whatever happens meanwhile.
//! async fn replace(storage: &dyn Storage, path: &StoragePath, content: &[u8])
//!     -> Result<(), StorageError>
//! {
//!     let new = path.with_suffix(".new").expect("the name is short");
//!     let file = storage.open(&new, OpenMode::Create).await?;
//!     file.truncate(0).await?;
//!     file.write(0, content.to_vec()).await?;
//!     file.sync().await?;                                // the content, before it has the name
//!     storage.rename(&new, path).await?;
//!     storage.sync_directory(&path.parent()).await       // and then the name
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let storage: Arc<dyn Storage> = Arc::new(DirStorage::open(directory.path()).await?);
//! let path: StoragePath = "snapshot".parse()?;
//! replace(&*storage, &path, b"one").await?;
//! replace(&*storage, &path, b"two").await?;
//! let file = storage.open(&path, OpenMode::Existing).await?;
//! assert_eq!(file.read(0, 100).await?, b"two");
//! # Ok(())
//! # }
//! ```
//!
//! [`Journal`] is a log of records on top of it.
//!
//! # What is durable
//! What was written is seen by every later read, also by a later life of the process, but the machine may
//! lose it with its power until [`StorageFile::sync`] has returned. Until then each write may be kept,
//! lost or torn, whatever its order. A *name* that was made, replaced or removed is durable once its
//! directory was synced, and it is only as durable as the names of the directories above.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

#[doc(hidden)]
pub mod conformance;
mod dir;
mod error;
mod journal;
mod path;

pub use dir::DirStorage;
pub use error::{Fate, Mismatch, StorageError};
pub use journal::{
    JOURNAL_BYTES_MAX, Journal, JournalError, JournalOptions, RECORD_BYTES_MAX, Replayed,
};
pub use path::{StoragePath, StoragePathError};

/// How many entries a directory may have for [`Storage::list`] to tell them.
pub const ENTRIES_MAX: usize = 65_536;

/// Files by name, below a root of their own.
///
/// The futures own what they need, and do nothing before they are polled. An operation whose future is
/// dropped while it runs may still happen, whole or in part, but never after one that was begun later on
/// the same [`StorageFile`].
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens a file, to read and to write. The directory must be there.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] where the file (with [`OpenMode::Existing`]) or its directory is not
    /// there, [`StorageError::AlreadyExists`] with [`OpenMode::New`], [`StorageError::Mismatch`] where it
    /// is a directory, [`StorageError::Full`], [`StorageError::Failed`].
    fn open(
        &self,
        path: &StoragePath,
        mode: OpenMode,
    ) -> BoxFuture<'static, Result<Arc<dyn StorageFile>, StorageError>>;

    /// Makes a directory. The one above must be there.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::AlreadyExists`], [`StorageError::Mismatch`],
    /// [`StorageError::Full`], [`StorageError::Failed`]; nothing was made.
    fn create_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>>;

    /// What is in a directory, ordered by name: files and directories that [`StoragePath`] can name.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Mismatch`] where it is a file,
    /// [`StorageError::TooManyEntries`] beyond [`ENTRIES_MAX`], [`StorageError::Failed`].
    fn list(&self, path: &StoragePath) -> BoxFuture<'static, Result<Vec<Entry>, StorageError>>;

    /// Gives a file another name. A file that had that name is replaced: at no time does the name
    /// stand for anything but the one or the other, also after a power loss. Open files stay open.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] where the file or the new directory is not there,
    /// [`StorageError::Mismatch`] where either is a directory, [`StorageError::Full`],
    /// [`StorageError::Failed`].
    fn rename(
        &self,
        from: &StoragePath,
        to: &StoragePath,
    ) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Removes a file, or a directory that is empty. An open file can be used until it is dropped.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Mismatch`] for a directory that is not empty and for
    /// the root, [`StorageError::Failed`].
    fn remove(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Makes durable which names a directory has: what was created, renamed or removed in it.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Mismatch`], [`StorageError::SyncFailed`].
    fn sync_directory(&self, path: &StoragePath) -> BoxFuture<'static, Result<(), StorageError>>;
}

/// A file that is open. Its operations happen one after the other, in the order in which their futures
/// were first polled. One file should be written through one handle: operations of two have no order.
pub trait StorageFile: fmt::Debug + Send + Sync + 'static {
    /// Reads from a place on. There are fewer bytes than were asked for at the end of the file only,
    /// and none beyond it. It takes memory for the bytes that are there.
    ///
    /// # Errors
    /// [`StorageError::Failed`].
    fn read(
        &self,
        offset_bytes: u64,
        length_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<u8>, StorageError>>;

    /// Writes at a place. Where that is beyond the end, what lies between reads as zeros.
    ///
    /// # Errors
    /// [`StorageError::Full`], [`StorageError::Failed`]; [`Fate`] says how much was written. What the
    /// file has elsewhere is unchanged.
    fn write(
        &self,
        offset_bytes: u64,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Writes at the end, and says where that was.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    fn append(&self, bytes: Vec<u8>) -> BoxFuture<'static, Result<u64, StorageError>>;

    /// How long the file is, in bytes.
    ///
    /// # Errors
    /// [`StorageError::Failed`].
    fn length(&self) -> BoxFuture<'static, Result<u64, StorageError>>;

    /// Makes the file so long: what is beyond is dropped, what is missing reads as zeros.
    ///
    /// # Errors
    /// [`StorageError::Full`], [`StorageError::Failed`].
    fn truncate(&self, length_bytes: u64) -> BoxFuture<'static, Result<(), StorageError>>;

    /// Makes the content durable, with its length; the name is [`Storage::sync_directory`]'s.
    ///
    /// # Errors
    /// [`StorageError::SyncFailed`]. Then every later sync of this handle fails too, even where the first
    /// future was dropped before it could tell: operating systems forget what they could not write, so a
    /// second sync that succeeds says nothing.
    fn sync(&self) -> BoxFuture<'static, Result<(), StorageError>>;
}

/// What [`Storage::open`] does about a file that is there, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must be there.
    Existing,
    /// A file that is not there is made, empty.
    Create,
    /// The file must not be there, and is made.
    New,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without those of the directories above.
    pub name: String,
    /// Whether it can be listed; else it can be opened.
    pub is_directory: bool,
}
