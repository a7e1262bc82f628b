//! A directory as a storage.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;
use tempfile::TempDir;
use umbel_actors::storage::{
    DirStorage, OpenMode, Storage, StorageError, StoragePath, conformance,
};

async fn open(directory: &Path) -> Arc<dyn Storage> {
    Arc::new(DirStorage::open(directory).await.unwrap())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[tokio::test]
async fn a_directory_conforms() {
    let directories = TempDir::new().unwrap();
    let mut made = 0;
    conformance::run(&mut || {
        made += 1;
        let directory = directories.path().join(made.to_string());
        async move { open(&directory).await }.boxed()
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_directory_does_what_the_model_says(script in prop::collection::vec(any::<u8>(), 0..160)) {
        let directory = TempDir::new().unwrap();
        runtime().block_on(async {
            conformance::follow(open(directory.path()).await, &script).await;
        });
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let directory = TempDir::new().unwrap();
    let below = directory.path().join("made/on/the/way");
    let path: StoragePath = "a".parse().unwrap();
    {
        let storage = open(&below).await;
        let file = storage.open(&path, OpenMode::New).await.unwrap();
        file.append(b"kept".to_vec()).await.unwrap();
    }
    let file = open(&below).await.open(&path, OpenMode::Existing).await.unwrap();
    assert_eq!(file.read(0, 10).await.unwrap(), b"kept");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_has_one_storage_at_a_time() {
    let directory = TempDir::new().unwrap();
    let storage = open(directory.path()).await;
    let taken = || async {
        let again = DirStorage::open(directory.path()).await;
        matches!(again, Err(StorageError::InUse { .. }))
    };
    assert!(taken().await);
    let file = storage.open(&"a".parse().unwrap(), OpenMode::New).await.unwrap();
    drop(storage);
    assert!(taken().await, "a file of it is still open");
    drop(file);
    open(directory.path()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn what_it_makes_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    let storage = open(&root).await;
    storage.create_directory(&"d".parse().unwrap()).await.unwrap();
    storage.open(&"d/f".parse().unwrap(), OpenMode::Create).await.unwrap();
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o077;
    assert_eq!(["", "d", "d/f"].map(mode), [0; 3], "nobody else may do anything");
}

#[tokio::test]
async fn a_file_in_place_of_the_root_is_refused_and_stays() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    for root in [file.clone(), file.join("below")] {
        let refused = DirStorage::open(root).await;
        assert!(matches!(refused, Err(StorageError::Mismatch { .. })), "{refused:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

/// A device that has no room for anything, behind a name of ours.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_device_is_full_by_name() {
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("a")).unwrap();
    let storage = open(directory.path()).await;
    let file = storage.open(&"a".parse().unwrap(), OpenMode::Existing).await.unwrap();
    let full = file.write(0, b"anything".to_vec()).await.unwrap_err();
    assert!(matches!(full, StorageError::Full { .. }), "{full:?}");
    assert!(full.to_string().contains("nothing was changed"), "{full}");
    assert_eq!(storage.list(&StoragePath::root()).await.unwrap(), [], "it is no file");
}
