//! What every storage must do, as a suite that any implementation can be run through.
//!
//! It uses no tasks and no threads, and of the clock only deadlines, so that it runs on a simulated
//! disk too. It is for tests: it panics where a claim does not hold.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use tokio::time::timeout;

use super::{Entry, Mismatch, OpenMode, Storage, StorageError, StorageFile, StoragePath};

mod script;

pub use script::follow;

/// How long a claim may take: a hang is a failure.
const CLAIM_DEADLINE: Duration = Duration::from_secs(30);

/// Holds an implementation to every claim. `make` gives a storage with nothing in it.
///
/// # Panics
/// Where a claim does not hold. The name of the last claim begun is on standard error.
pub async fn run(make: &mut dyn FnMut() -> BoxFuture<'static, Arc<dyn Storage>>) {
    for (name, claim) in CLAIMS {
        eprintln!("storage: {name}");
        let storage = make().await;
        let held = timeout(CLAIM_DEADLINE, claim(storage)).await;
        assert!(held.is_ok(), "{name}: nothing happens any more");
    }
}

type Claim = fn(Arc<dyn Storage>) -> BoxFuture<'static, ()>;

const CLAIMS: [(&str, Claim); 13] = [
    ("what_is_written_is_read", |s| what_is_written_is_read(s).boxed()),
    ("a_gap_reads_as_zeros", |s| a_gap_reads_as_zeros(s).boxed()),
    ("reading_beyond_the_end_is_empty_and_takes_no_memory", |s| {
        reading_beyond_the_end_is_empty_and_takes_no_memory(s).boxed()
    }),
    ("appends_go_to_the_end", |s| appends_go_to_the_end(s).boxed()),
    ("truncation_drops_and_extends", |s| truncation_drops_and_extends(s).boxed()),
    ("modes_say_what_must_be_there", |s| modes_say_what_must_be_there(s).boxed()),
    ("what_is_not_there_is_not_found", |s| what_is_not_there_is_not_found(s).boxed()),
    ("a_rename_replaces", |s| a_rename_replaces(s).boxed()),
    ("open_files_outlive_their_names", |s| open_files_outlive_their_names(s).boxed()),
    ("directories_are_listed_in_order", |s| directories_are_listed_in_order(s).boxed()),
    ("files_are_no_directories_and_directories_no_files", |s| {
        files_are_no_directories_and_directories_no_files(s).boxed()
    }),
    ("operations_keep_their_order", |s| operations_keep_their_order(s).boxed()),
    ("a_place_that_no_file_reaches_is_refused", |s| {
        a_place_that_no_file_reaches_is_refused(s).boxed()
    }),
];

fn path(text: &str) -> StoragePath {
    text.parse().expect("a path")
}

async fn open(storage: &dyn Storage, name: &str, mode: OpenMode) -> Arc<dyn StorageFile> {
    storage.open(&path(name), mode).await.expect("it can be opened")
}

async fn write(storage: &dyn Storage, name: &str, content: &[u8]) -> Arc<dyn StorageFile> {
    let file = open(storage, name, OpenMode::Create).await;
    file.truncate(0).await.expect("truncated");
    file.write(0, content.to_vec()).await.expect("written");
    file
}

async fn read(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = open(storage, name, OpenMode::Existing).await;
    file.read(0, usize::MAX).await.expect("it can be read")
}

fn not_found<T: Debug>(result: Result<T, StorageError>) {
    assert!(matches!(result, Err(StorageError::NotFound { .. })), "{result:?}");
}

fn taken<T: Debug>(result: Result<T, StorageError>) {
    assert!(matches!(result, Err(StorageError::AlreadyExists { .. })), "{result:?}");
}

fn mismatched<T: Debug>(result: Result<T, StorageError>, wanted: Mismatch) {
    match result {
        Err(StorageError::Mismatch { mismatch, .. }) if mismatch == wanted => {}
        other => panic!("not {wanted:?}: {other:?}"),
    }
}

async fn what_is_written_is_read(storage: Arc<dyn Storage>) {
    let file = write(&*storage, "a", b"hello world").await;
    file.write(6, b"there".to_vec()).await.expect("written");
    assert_eq!(file.read(0, 100).await.expect("read"), b"hello there");
    assert_eq!(file.read(6, 3).await.expect("read"), b"the");
    assert_eq!(file.length().await.expect("measured"), 11);
    file.sync().await.expect("synced");
    storage.sync_directory(&StoragePath::root()).await.expect("synced");
    assert_eq!(read(&*storage, "a").await, b"hello there", "another handle sees the same");
    file.write(3, Vec::new()).await.expect("nothing is written");
    assert_eq!(file.length().await.expect("measured"), 11);
}

async fn a_gap_reads_as_zeros(storage: Arc<dyn Storage>) {
    let file = write(&*storage, "a", b"x").await;
    file.write(1000, b"y".to_vec()).await.expect("written");
    let content = file.read(0, 2000).await.expect("read");
    assert_eq!(content.len(), 1001);
    assert_eq!((content[0], content[1000]), (b'x', b'y'));
    assert!(content[1..1000].iter().all(|byte| *byte == 0));
}

async fn reading_beyond_the_end_is_empty_and_takes_no_memory(storage: Arc<dyn Storage>) {
    let file = write(&*storage, "a", b"abc").await;
    assert_eq!(file.read(2, usize::MAX).await.expect("read"), b"c");
    assert_eq!(file.read(3, 1).await.expect("read"), b"");
    assert_eq!(file.read(u64::MAX, usize::MAX).await.expect("read"), b"");
    assert_eq!(file.read(0, 0).await.expect("read"), b"");
}

async fn appends_go_to_the_end(storage: Arc<dyn Storage>) {
    let file = open(&*storage, "a", OpenMode::New).await;
    assert_eq!(file.append(b"one".to_vec()).await.expect("appended"), 0);
    assert_eq!(file.append(b"two".to_vec()).await.expect("appended"), 3);
    file.truncate(4).await.expect("truncated");
    assert_eq!(file.append(b"!".to_vec()).await.expect("appended"), 4);
    assert_eq!(read(&*storage, "a").await, b"onet!");
}

async fn truncation_drops_and_extends(storage: Arc<dyn Storage>) {
    let file = write(&*storage, "a", b"abcdef").await;
    file.truncate(2).await.expect("truncated");
    file.truncate(4).await.expect("extended");
    assert_eq!(file.read(0, 10).await.expect("read"), b"ab\0\0", "what was dropped is gone");
    file.truncate(0).await.expect("truncated");
    assert_eq!(file.length().await.expect("measured"), 0);
}

async fn modes_say_what_must_be_there(storage: Arc<dyn Storage>) {
    not_found(storage.open(&path("a"), OpenMode::Existing).await);
    write(&*storage, "a", b"kept").await;
    taken(storage.open(&path("a"), OpenMode::New).await);
    open(&*storage, "a", OpenMode::Create).await;
    assert_eq!(read(&*storage, "a").await, b"kept", "opening changes nothing");
}

async fn what_is_not_there_is_not_found(storage: Arc<dyn Storage>) {
    for mode in [OpenMode::Existing, OpenMode::Create, OpenMode::New] {
        not_found(storage.open(&path("missing/a"), mode).await);
    }
    not_found(storage.remove(&path("a")).await);
    not_found(storage.rename(&path("a"), &path("b")).await);
    not_found(storage.list(&path("missing")).await);
    not_found(storage.sync_directory(&path("missing")).await);
    not_found(storage.create_directory(&path("missing/below")).await);
    write(&*storage, "a", b"here").await;
    not_found(storage.rename(&path("a"), &path("missing/a")).await);
    assert_eq!(read(&*storage, "a").await, b"here");
}

async fn a_rename_replaces(storage: Arc<dyn Storage>) {
    write(&*storage, "a", b"old").await;
    write(&*storage, "a.new", b"new").await;
    storage.rename(&path("a.new"), &path("a")).await.expect("renamed");
    assert_eq!(read(&*storage, "a").await, b"new");
    not_found(storage.open(&path("a.new"), OpenMode::Existing).await);
    storage.rename(&path("a"), &path("a")).await.expect("to itself");
    storage.create_directory(&path("below")).await.expect("made");
    storage.rename(&path("a"), &path("below/b")).await.expect("renamed");
    assert_eq!(read(&*storage, "below/b").await, b"new");
    assert_eq!(storage.list(&StoragePath::root()).await.expect("listed").len(), 1);
}

async fn open_files_outlive_their_names(storage: Arc<dyn Storage>) {
    let old = write(&*storage, "a", b"old").await;
    let new = write(&*storage, "b", b"new").await;
    storage.rename(&path("b"), &path("a")).await.expect("renamed");
    assert_eq!(old.read(0, 9).await.expect("read"), b"old");
    new.append(b"er".to_vec()).await.expect("appended");
    assert_eq!(read(&*storage, "a").await, b"newer");
    storage.remove(&path("a")).await.expect("removed");
    new.append(b"!".to_vec()).await.expect("appended");
    new.sync().await.expect("synced");
    assert_eq!(new.read(0, 9).await.expect("read"), b"newer!");
    not_found(storage.open(&path("a"), OpenMode::Existing).await);
}

async fn directories_are_listed_in_order(storage: Arc<dyn Storage>) {
    assert_eq!(storage.list(&StoragePath::root()).await.expect("listed"), []);
    for name in ["b", "a", "ab", "c"] {
        write(&*storage, name, b"").await;
    }
    storage.create_directory(&path("aa")).await.expect("made");
    write(&*storage, "aa/below", b"").await;
    let names = |entries: Vec<Entry>| {
        entries.into_iter().map(|e| (e.name, e.is_directory)).collect::<Vec<_>>()
    };
    let of = |name: &str, is_directory| (name.to_owned(), is_directory);
    let wanted = [of("a", false), of("aa", true), of("ab", false), of("b", false), of("c", false)];
    assert_eq!(names(storage.list(&StoragePath::root()).await.expect("listed")), wanted);
    let below = storage.list(&path("aa")).await.expect("listed");
    assert_eq!(names(below), [of("below", false)]);
}

async fn files_are_no_directories_and_directories_no_files(storage: Arc<dyn Storage>) {
    let root = StoragePath::root();
    write(&*storage, "f", b"file").await;
    storage.create_directory(&path("d")).await.expect("made");
    write(&*storage, "d/x", b"").await;
    for mode in [OpenMode::Existing, OpenMode::Create] {
        mismatched(storage.open(&path("d"), mode).await, Mismatch::Directory);
    }
    for mode in [OpenMode::Existing, OpenMode::Create, OpenMode::New] {
        mismatched(storage.open(&path("f/x"), mode).await, Mismatch::NotDirectory);
        mismatched(storage.open(&root, mode).await, Mismatch::Directory);
    }
    taken(storage.open(&path("d"), OpenMode::New).await);
    mismatched(storage.list(&path("f")).await, Mismatch::NotDirectory);
    mismatched(storage.sync_directory(&path("f")).await, Mismatch::NotDirectory);
    mismatched(storage.create_directory(&path("f/x")).await, Mismatch::NotDirectory);
    mismatched(storage.rename(&path("d"), &path("e")).await, Mismatch::Directory);
    mismatched(storage.rename(&path("f"), &path("d")).await, Mismatch::Directory);
    mismatched(storage.rename(&path("f"), &root).await, Mismatch::Directory);
    mismatched(storage.remove(&path("d")).await, Mismatch::NotEmpty);
    mismatched(storage.remove(&root).await, Mismatch::Root);
    for name in ["f", "d"] {
        taken(storage.create_directory(&path(name)).await);
    }
    taken(storage.create_directory(&root).await);
    storage.remove(&path("d/x")).await.expect("removed");
    storage.remove(&path("d")).await.expect("it is empty");
    assert_eq!(read(&*storage, "f").await, b"file");
}

async fn operations_keep_their_order(storage: Arc<dyn Storage>) {
    let file = open(&*storage, "a", OpenMode::New).await;
    for round in 0..50_u8 {
        let (first, second) =
            join(file.write(0, vec![round; 8]), file.write(4, vec![!round; 8])).await;
        first.and(second).expect("written");
        let mut wanted = vec![round; 4];
        wanted.extend([!round; 8]);
        assert_eq!(file.read(0, 20).await.expect("read"), wanted, "round {round}");
    }
    // One that is given up happens before the next one, if it does.
    let given_up = file.write(0, vec![1; 4]).now_or_never();
    file.write(0, vec![2; 4]).await.expect("written");
    assert_eq!(file.read(0, 4).await.expect("read"), [2; 4], "{given_up:?}");
    drop(file.write(0, vec![3; 4]));
    assert_eq!(file.read(0, 4).await.expect("read"), [2; 4], "it was never polled");
}

async fn a_place_that_no_file_reaches_is_refused(storage: Arc<dyn Storage>) {
    let file = write(&*storage, "a", b"kept").await;
    for offset in [u64::MAX, u64::MAX - 3, i64::MAX as u64] {
        let refused = file.write(offset, b"beyond".to_vec()).await;
        assert!(refused.is_err(), "{offset}");
    }
    assert!(file.truncate(u64::MAX).await.is_err());
    assert_eq!(file.read(0, 10).await.expect("read"), b"kept");
    assert_eq!(file.length().await.expect("measured"), 4);
}
