use thiserror::Error;

use crate::storage::{StorageError, StoragePath};

/// Why a [`Journal`](crate::storage::Journal) could not be opened, or did not take a record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is a file of that name, and it is something else. It was not touched.
    #[error("`{path}` is no journal, or its beginning is damaged; it was left as it is")]
    NotAJournal {
        /// The file.
        path: StoragePath,
    },
    /// What was durable cannot be read any more. The file was left as it is, for whoever can repair it.
    #[error(
        "journal `{path}` is damaged at byte {at_bytes}, though it was synced up to byte {synced_bytes}; \
         it was left as it is: restore it from a copy"
    )]
    Damaged {
        /// The journal.
        path: StoragePath,
        /// Where the first record begins that is not whole.
        at_bytes: u64,
        /// Up to where all records were durable.
        synced_bytes: u64,
    },
    /// The journal has a record, whole, that is larger than one may be. It was left as it is.
    #[error(
        "journal `{path}` has a record of {bytes} bytes at byte {at_bytes}; raise the limit of {max_bytes} \
         to open it"
    )]
    RecordBeyondLimit {
        /// The journal.
        path: StoragePath,
        /// Where the record begins.
        at_bytes: u64,
        /// Its length.
        bytes: u32,
        /// The limit.
        max_bytes: u32,
    },
    /// The record is larger than one may be, and was not appended.
    #[error("a record of {bytes} bytes was not appended: {max_bytes} is the most")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max_bytes: u32,
    },
    /// The journal is as long as it may be; the record was not appended.
    #[error(
        "journal `{path}` may not grow beyond {max_bytes} bytes; the record was not appended: begin a new one"
    )]
    Full {
        /// The journal.
        path: StoragePath,
        /// The limit.
        max_bytes: u64,
    },
    /// An earlier sync failed. Nothing was done.
    #[error("an earlier sync of journal `{path}` failed: open it anew to see which records it has")]
    Broken {
        /// The journal.
        path: StoragePath,
    },
    /// The storage failed, and says what became of the data.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
