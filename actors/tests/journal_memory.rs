//! How much a journal reads and writes at once, seen from below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use umbel_actors::storage::{
    DirStorage, Entry, Journal, JournalError, JournalOptions, OpenMode, Storage, StorageError,
    StorageFile, StoragePath,
};

/// A storage that notes the most bytes of a single read or write.
#[derive(Clone, Debug)]
struct Watched<T>(T, Arc<AtomicUsize>);

impl<T> Watched<T> {
    fn note(&self, bytes: usize) {
        self.1.fetch_max(bytes, Ordering::Relaxed);
    }
}

type Answer<T> = BoxFuture<'static, Result<T, StorageError>>;

impl Storage for Watched<DirStorage> {
    fn open(&self, path: &StoragePath, mode: OpenMode) -> Answer<Arc<dyn StorageFile>> {
        let (opened, most) = (self.0.open(path, mode), self.1.clone());
        async move { Ok(Arc::new(Watched(opened.await?, most)) as Arc<dyn StorageFile>) }.boxed()
    }

    fn create_directory(&self, path: &StoragePath) -> Answer<()> {
        self.0.create_directory(path)
    }

    fn list(&self, path: &StoragePath) -> Answer<Vec<Entry>> {
        self.0.list(path)
    }

    fn rename(&self, from: &StoragePath, to: &StoragePath) -> Answer<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &StoragePath) -> Answer<()> {
        self.0.remove(path)
    }

    fn sync_directory(&self, path: &StoragePath) -> Answer<()> {
        self.0.sync_directory(path)
    }
}

impl StorageFile for Watched<Arc<dyn StorageFile>> {
    fn read(&self, offset_bytes: u64, length_bytes: usize) -> Answer<Vec<u8>> {
        self.note(length_bytes);
        self.0.read(offset_bytes, length_bytes)
    }

    fn write(&self, offset_bytes: u64, bytes: Vec<u8>) -> Answer<()> {
        self.note(bytes.len());
        self.0.write(offset_bytes, bytes)
    }

    fn append(&self, bytes: Vec<u8>) -> Answer<u64> {
        self.note(bytes.len());
        self.0.append(bytes)
    }

    fn length(&self) -> Answer<u64> {
        self.0.length()
    }

    fn truncate(&self, length_bytes: u64) -> Answer<()> {
        self.0.truncate(length_bytes)
    }

    fn sync(&self) -> Answer<()> {
        self.0.sync()
    }
}

const CHUNK_BYTES: usize = 64 * 1024;

/// Opens the journal in a directory, and says how many records it has, and how much was read or
/// written at once.
async fn open(
    directory: &TempDir,
    record_bytes_max: u32,
) -> (Result<(Journal, usize), JournalError>, usize) {
    let storage = DirStorage::open(directory.path()).await.unwrap();
    let watched = Watched(storage, Arc::default());
    let options = JournalOptions { record_bytes_max, ..JournalOptions::default() };
    let mut records = 0;
    let path: StoragePath = "log".parse().unwrap();
    let opened = Journal::open(&watched, &path, options, |_| records += 1).await;
    (opened.map(|journal| (journal, records)), watched.1.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_replay_takes_a_chunk_at_once_however_long_the_journal_is() {
    let directory = TempDir::new().unwrap();
    let (opened, _) = open(&directory, 1000).await;
    let (mut journal, _) = opened.unwrap();
    for _ in 0..2000 {
        journal.append(&[7; 1000]).await.unwrap();
    }
    drop(journal);
    let (opened, most) = open(&directory, 1000).await;
    assert_eq!(opened.unwrap().1, 2000);
    assert!(most <= CHUNK_BYTES, "{most} bytes at once, of 2 MB that were not synced");
}

#[tokio::test]
async fn a_record_that_is_larger_than_a_chunk_takes_as_much_as_itself() {
    let directory = TempDir::new().unwrap();
    let length = 1_000_000;
    let (opened, _) = open(&directory, length).await;
    opened.unwrap().0.append(&vec![7; length as usize]).await.unwrap();
    let (opened, most) = open(&directory, length).await;
    assert_eq!(opened.unwrap().1, 1);
    assert!(most <= length as usize + 8, "{most} bytes at once");

    let (refused, most) = open(&directory, 10).await;
    assert!(matches!(refused, Err(JournalError::RecordBeyondLimit { .. })));
    assert!(most <= CHUNK_BYTES, "{most} bytes at once for a record that is refused");
}
