use std::fmt;
use std::io;

use thiserror::Error;

/// Why an operation on a [`Storage`](crate::storage::Storage) failed, and what became of the data.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such file or directory, or no directory for it. Nothing has changed.
    #[error("there is no `{path}`, or no directory for it")]
    NotFound {
        /// What was looked for.
        path: String,
    },
    /// There is one of that name. Nothing has changed.
    #[error("`{path}` is there already")]
    AlreadyExists {
        /// The name that is taken.
        path: String,
    },
    /// It is not of the kind that the operation is for. Nothing has changed.
    #[error("`{path}` {mismatch}")]
    Mismatch {
        /// What it is about.
        path: String,
        /// What is wrong with it.
        mismatch: Mismatch,
    },
    /// The directory is another storage's, in this process or in another. Nothing has changed.
    #[error("{path} is in use: two storages at one directory would overwrite each other's files")]
    InUse {
        /// The directory.
        path: String,
    },
    /// There are more entries than [`Storage::list`](crate::storage::Storage::list) tells.
    #[error("`{path}` has more than {max} entries")]
    TooManyEntries {
        /// The directory.
        path: String,
        /// The bound.
        max: usize,
    },
    /// There is no room. What was there before still is.
    #[error("there is no room for `{path}`: {fate}")]
    Full {
        /// What was written.
        path: String,
        /// What became of it.
        fate: Fate,
        /// The system's reason.
        source: io::Error,
    },
    /// What was written since the last sync may be durable or lost, also where it can still be read.
    /// Later syncs of the same handle fail too.
    #[error(
        "`{path}` could not be synced: what was written since the last sync may be lost; open it anew and \
         write that again"
    )]
    SyncFailed {
        /// The file or directory.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Anything else: the device failed, or access is denied.
    #[error("`{path}` could not be {doing}: {fate}")]
    Failed {
        /// What it is about.
        path: String,
        /// What was to be done with it: `read`, `written`.
        doing: &'static str,
        /// What became of it.
        fate: Fate,
        /// The system's reason.
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts an error of the system's by what it means here.
    #[must_use]
    pub fn from_io(path: String, doing: &'static str, fate: Fate, source: io::Error) -> Self {
        let mismatch = |path, mismatch| Self::Mismatch { path, mismatch };
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { path },
            io::ErrorKind::IsADirectory => mismatch(path, Mismatch::Directory),
            io::ErrorKind::NotADirectory => mismatch(path, Mismatch::NotDirectory),
            io::ErrorKind::DirectoryNotEmpty => mismatch(path, Mismatch::NotEmpty),
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, fate, source },
            _ => Self::Failed { path, doing, fate, source },
        }
    }
}

/// What is wrong with the kind of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is a directory, where a file is wanted.
    Directory,
    /// It, or what stands for a directory above it, is a file.
    NotDirectory,
    /// It is a directory with something in it.
    NotEmpty,
    /// It is the root.
    Root,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "is a directory",
            Self::NotDirectory => "is no directory, or in none",
            Self::NotEmpty => "is a directory that is not empty",
            Self::Root => "is the root, which stays",
        })
    }
}

/// What became of what a failed operation was to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing has changed.
    Unchanged,
    /// The first bytes were written, the rest was not.
    Part {
        /// How many.
        bytes: u64,
    },
    /// It was done in whole, in part or not at all.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing was changed"),
            Self::Part { bytes } => write!(f, "the first {bytes} bytes were written"),
            Self::Unknown => f.write_str("how much was done is unknown"),
        }
    }
}
