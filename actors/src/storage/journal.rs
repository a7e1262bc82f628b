//! A log of records in one file.

use std::fmt;
use std::sync::Arc;

use super::{OpenMode, Storage, StorageFile, StoragePath};

mod error;
mod layout;
mod replay;

pub use error::JournalError;
use layout::{HEADER_BYTES, Header, Mark};
use replay::Replay;

/// The most bytes of a record, unless [`JournalOptions`] says otherwise: 1 MiB.
pub const RECORD_BYTES_MAX: u32 = 1024 * 1024;

/// The most bytes of a journal, unless [`JournalOptions`] says otherwise: 1 GiB.
pub const JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// An append-only log of records, which knows after a crash how far it goes.
///
/// [`append`](Self::append) writes a record, [`sync`](Self::sync) makes all records so far durable, and
/// [`open`](Self::open) reads them back in order. What a power loss left of records that were not synced is
/// told by checksums (CRC-32C): the journal ends before the first record that is not whole, and what is
/// behind it is removed, for a record must not come back after one before it was lost. What was handed out at
/// opening is durable.
///
/// The file notes at each sync how far the last one went. Damage before that place is no tear, but
/// something that the disk has lost, and is an error. (Damage to what the last sync before a power loss
/// covered can pass for a tear: the note itself is durable with the next one.)
///
/// A journal has its file for itself. It grows up to a bound; to begin anew, write what its records amount to
/// elsewhere, durably, begin a journal of another name, and remove this one.
///
/// ```
/// use std::sync::Arc;
/// use umbel_actors::storage::{DirStorage, Journal, JournalOptions, Storage, StoragePath};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let storage: Arc<dyn Storage> = Arc::new(DirStorage::open(directory.path()).await?);
/// let path: StoragePath = "orders.log".parse()?;
///
/// let mut log = Journal::open(&*storage, &path, JournalOptions::default(), |_| {}).await?;
/// log.append(b"two apples").await?;
/// log.append(b"a pear").await?;
/// log.sync().await?;                     // from here on they outlive a power loss
/// drop(log);
///
/// let mut orders = Vec::new();
/// let keep = |record: &[u8]| orders.push(record.to_vec());
/// Journal::open(&*storage, &path, JournalOptions::default(), keep).await?;
/// assert_eq!(orders, [b"two apples".to_vec(), b"a pear".to_vec()]);
/// # Ok(())
/// # }
/// ```
pub struct Journal {
    file: Arc<dyn StorageFile>,
    path: StoragePath,
    options: JournalOptions,
    /// Where the next record goes.
    end: u64,
    /// The last record's checksum, which the next one's goes on from.
    chain: u32,
    /// Up to where records are durable.
    synced: u64,
    /// Where the next note of that goes.
    mark: Mark,
    replayed: Replayed,
    /// A sync has failed.
    broken: bool,
}

/// The bounds of a [`Journal`].
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// The most bytes of one record, [`RECORD_BYTES_MAX`] by default. As much memory is needed to read it.
    /// Never lower it below what the journal has already: it would not open.
    pub record_bytes_max: u32,
    /// The most bytes of the file, [`JOURNAL_BYTES_MAX`] by default. A journal that is longer
    /// already opens, and takes nothing more.
    pub journal_bytes_max: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { record_bytes_max: RECORD_BYTES_MAX, journal_bytes_max: JOURNAL_BYTES_MAX }
    }
}

/// What was found when a [`Journal`] was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many records were read.
    pub records: u64,
    /// How many bytes behind the last whole record were removed: what a crash left of later ones.
    pub torn_bytes: u64,
}

impl Journal {
    /// Opens a journal, or makes one where there is none, and hands each of its records to `replay`, in
    /// order. It takes memory for one record and 64 KiB.
    ///
    /// When it returns, these records are durable, and so is the journal's name.
    ///
    /// # Errors
    /// [`JournalError::NotAJournal`], [`JournalError::Damaged`], [`JournalError::RecordBeyondLimit`],
    /// [`JournalError::Storage`]. Forget the records that were handed out. Nothing was removed but what was
    /// torn.
    pub async fn open(
        storage: &dyn Storage,
        path: &StoragePath,
        options: JournalOptions,
        replay: impl FnMut(&[u8]) + Send,
    ) -> Result<Self, JournalError> {
        let file = storage.open(path, OpenMode::Create).await?;
        let length = file.length().await?;
        let (synced, mark) = match Header::of(&file.read(0, HEADER_BYTES as usize).await?, length) {
            Header::Whole { synced, next } => (synced, next),
            Header::Unfinished => {
                file.write(0, layout::new_header()).await?;
                file.sync().await?;
                (HEADER_BYTES, Mark::SECOND)
            }
            Header::Unmarked => {
                return Err(JournalError::Damaged {
                    path: path.clone(),
                    at_bytes: layout::MARKS_AT,
                    synced_bytes: HEADER_BYTES,
                });
            }
            Header::Foreign => return Err(JournalError::NotAJournal { path: path.clone() }),
        };
        let length = length.max(HEADER_BYTES);
        let found = Replay::new(&*file, path, length).run(options.record_bytes_max, replay).await?;
        if found.end < synced {
            return Err(JournalError::Damaged {
                path: path.clone(),
                at_bytes: found.end,
                synced_bytes: synced,
            });
        }
        let mut journal = Self {
            file,
            path: path.clone(),
            options,
            end: found.end,
            chain: found.chain,
            synced,
            mark,
            replayed: Replayed { records: found.records, torn_bytes: length - found.end },
            broken: false,
        };
        journal.settle(length).await?;
        storage.sync_directory(&path.parent()).await?;
        Ok(journal)
    }

    /// Appends a record. It is durable after the next [`sync`](Self::sync); until then it, or it and others
    /// before it that were not synced either, may be lost with the power. It may be empty.
    ///
    /// # Errors
    /// [`JournalError::RecordTooLarge`], [`JournalError::Full`], [`JournalError::Broken`],
    /// [`JournalError::Storage`]; the record was not appended. But for `Broken` the journal is as it was, and
    /// may be tried again: where the disk was full, when there is room.
    ///
    /// A record whose write failed, or was given up by dropping the future, lies behind the end until the
    /// next one takes its place. If the process ends before that one is durable, it may be found at the
    /// next opening, as the last record: its fate is unknown, like that of any request without an answer.
    pub async fn append(&mut self, record: &[u8]) -> Result<(), JournalError> {
        self.check_whole()?;
        // The length is told with one added, and fits into four bytes.
        let max_bytes = self.options.record_bytes_max.min(u32::MAX - 1);
        let length = match u32::try_from(record.len()) {
            Ok(length) if length <= max_bytes => length,
            _ => return Err(JournalError::RecordTooLarge { bytes: record.len(), max_bytes }),
        };
        let (bytes, chain) = layout::frame(self.chain, length, record);
        let end = self.end.saturating_add(bytes.len() as u64);
        if end > self.options.journal_bytes_max {
            let max_bytes = self.options.journal_bytes_max;
            return Err(JournalError::Full { path: self.path.clone(), max_bytes });
        }
        // At a place, not at the file's end: there may be the rest of one that failed.
        self.file.write(self.end, bytes).await?;
        self.end = end;
        self.chain = chain;
        Ok(())
    }

    /// Makes durable what was appended. Where nothing was since the last sync, it does nothing.
    ///
    /// # Errors
    /// [`JournalError::Storage`]: which of the records since the last sync are durable is unknown, and the
    /// journal is of no more use. Open it anew, which tells. [`JournalError::Broken`] after that.
    pub async fn sync(&mut self) -> Result<(), JournalError> {
        self.check_whole()?;
        if self.synced == self.end {
            return Ok(());
        }
        let synced = self.file.sync().await;
        self.broken = synced.is_err();
        synced?;
        self.synced = self.end;
        self.note_synced().await;
        Ok(())
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.end
    }

    fn check_whole(&self) -> Result<(), JournalError> {
        if self.broken { Err(JournalError::Broken { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Removes what is torn, and makes durable what was read beyond the last sync.
    async fn settle(&mut self, length: u64) -> Result<(), JournalError> {
        if self.end < length {
            self.file.truncate(self.end).await?;
        } else if self.end == self.synced {
            return Ok(());
        }
        // A sync is not enough: after one that failed, what can be read may be on no disk, and count as
        // clean. It is as much as was appended without a sync.
        let mut at = self.synced;
        while at < self.end {
            let part = (self.end - at).min(replay::CHUNK_BYTES as u64);
            let bytes = self.file.read(at, part as usize).await?;
            if bytes.len() as u64 != part {
                return Err(JournalError::Damaged {
                    path: self.path.clone(),
                    at_bytes: at + bytes.len() as u64,
                    synced_bytes: self.end,
                });
            }
            self.file.write(at, bytes).await?;
            at += part;
        }
        self.file.sync().await?;
        self.synced = self.end;
        self.note_synced().await;
        Ok(())
    }

    /// Notes how far the last sync went.
    async fn note_synced(&mut self) {
        let (at, bytes) = self.mark.at(self.synced);
        // The records are durable whether or not this is written; the other note stays as it is, and the
        // next sync writes this one again.
        if self.file.write(at, bytes).await.is_ok() {
            self.mark = self.mark.next();
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path)
            .field("length_bytes", &self.end)
            .field("synced_bytes", &self.synced)
            .finish_non_exhaustive()
    }
}
