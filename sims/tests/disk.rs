//! The simulated disk: what it keeps, and what it may lose.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use umbel_actors::storage::{
    OpenMode, Storage, StorageError, StorageFile, StoragePath, conformance,
};
use umbel_sims::{Disk, FailedSync, Losses};

fn path(text: &str) -> StoragePath {
    text.parse().unwrap()
}

fn chance(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

async fn open(disk: &Disk, name: &str) -> Arc<dyn StorageFile> {
    disk.storage().open(&path(name), OpenMode::Create).await.unwrap()
}

async fn write_durably(disk: &Disk, name: &str, content: &[u8]) {
    let file = open(disk, name).await;
    file.write(0, content.to_vec()).await.unwrap();
    file.sync().await.unwrap();
    disk.storage().sync_directory(&path(name).parent()).await.unwrap();
}

/// What a file holds; `None` where there is none of that name.
async fn read(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    match disk.storage().open(&path(name), OpenMode::Existing).await {
        Ok(file) => Some(file.read(0, usize::MAX).await.unwrap()),
        Err(StorageError::NotFound { .. }) => None,
        Err(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn the_disk_conforms() {
    conformance::run(&mut || async { Arc::new(Disk::new().storage()) as _ }.boxed()).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_conforms() {
    let make = || {
        let disk = Disk::new();
        disk.slow(Duration::from_millis(3));
        async move { Arc::new(disk.storage()) as _ }.boxed()
    };
    conformance::run(&mut { make }).await;
}

proptest! {
    #[test]
    fn the_disk_does_what_the_model_says(script in prop::collection::vec(any::<u8>(), 0..400)) {
        block_on(conformance::follow(Arc::new(Disk::new().storage()), &script));
    }
}

#[test]
fn what_was_synced_outlives_every_power_loss() {
    block_on(async {
        let disk = Disk::new();
        write_durably(&disk, "a", b"kept").await;
        for seed in 0..50 {
            open(&disk, &format!("other-{seed}")).await.append(vec![1; 2000]).await.unwrap();
            disk.power_loss(&mut chance(seed));
            assert_eq!(read(&disk, "a").await.unwrap(), b"kept", "seed {seed}");
        }
    });
}

#[test]
fn unsynced_writes_are_kept_lost_or_torn_one_by_one() {
    block_on(async {
        let mut outcomes = BTreeSet::new();
        let mut all = Losses::default();
        for seed in 0..300 {
            let disk = Disk::new();
            write_durably(&disk, "a", b"").await;
            let file = open(&disk, "a").await;
            for fill in 1..=3 {
                file.append(vec![fill; 1024]).await.unwrap();
            }
            let losses = disk.power_loss(&mut chance(seed));
            assert_eq!(losses.kept + losses.lost + losses.torn, 3, "{losses:?}");
            all.torn += losses.torn;
            let content = read(&disk, "a").await.unwrap();
            for (at, sector) in content.chunks(512).enumerate() {
                let whole = sector.iter().all(|byte| *byte == sector[0]);
                let written = (at / 2 + 1) as u8;
                assert!(whole && [0, written].contains(&sector[0]), "seed {seed}, sector {at}");
            }
            outcomes.insert(content.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
        }
        assert!(all.torn > 0);
        assert!(outcomes.contains(&vec![]), "all can be lost");
        assert!(outcomes.contains(&vec![1, 1, 2, 2, 3, 3]), "all can be kept");
        assert!(outcomes.contains(&vec![0, 0, 0, 0, 3, 3]), "a later one can be kept alone");
    });
}

#[test]
fn a_killed_process_loses_nothing_but_a_power_loss_after_it_does() {
    block_on(async {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = Disk::new();
            open(&disk, "a").await.append(b"cached".to_vec()).await.unwrap();
            disk.process_kill();
            assert_eq!(read(&disk, "a").await.unwrap(), b"cached");
            disk.power_loss(&mut chance(seed));
            lost += usize::from(read(&disk, "a").await.is_none());
        }
        assert!((1..50).contains(&lost), "{lost} of 50 names lost");
    });
}

#[test]
fn a_rename_without_a_sync_of_its_directory_is_done_or_undone_but_never_half() {
    block_on(async {
        let mut outcomes = BTreeSet::new();
        for seed in 0..100 {
            let disk = Disk::new();
            write_durably(&disk, "a", b"old").await;
            write_durably(&disk, "a.new", b"new").await;
            disk.storage().rename(&path("a.new"), &path("a")).await.unwrap();
            disk.power_loss(&mut chance(seed));
            outcomes.insert((read(&disk, "a").await, read(&disk, "a.new").await));
        }
        let undone = (Some(b"old".to_vec()), Some(b"new".to_vec()));
        let done = (Some(b"new".to_vec()), None);
        assert_eq!(outcomes, BTreeSet::from([undone, done]));
    });
}

#[test]
fn renames_that_build_upon_one_another_lose_no_file() {
    block_on(async {
        for seed in 0..200 {
            let disk = Disk::new();
            for name in ["current", "next"] {
                write_durably(&disk, name, name.as_bytes()).await;
            }
            let storage = disk.storage();
            storage.rename(&path("current"), &path("previous")).await.unwrap();
            storage.rename(&path("next"), &path("current")).await.unwrap();
            disk.power_loss(&mut chance(seed));
            let mut found = BTreeSet::new();
            for name in ["previous", "current", "next"] {
                found.extend(read(&disk, name).await);
            }
            assert_eq!(
                found,
                BTreeSet::from([b"current".to_vec(), b"next".to_vec()]),
                "seed {seed}"
            );
        }
    });
}

/// What follows a move from one directory to another, before the power is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The new directory is synced; the old one was not, since the file was made there.
    SyncNew,
    /// The old directory, where the file was durable, is removed, and nothing is synced.
    RemoveOld,
}

/// The names of a file afterwards.
async fn moved(seed: u64, then: Then) -> Vec<&'static str> {
    let disk = Disk::new();
    let storage = disk.storage();
    for directory in ["d", "e"] {
        storage.create_directory(&path(directory)).await.unwrap();
    }
    storage.sync_directory(&StoragePath::root()).await.unwrap();
    let file = open(&disk, "d/a").await;
    file.append(b"content".to_vec()).await.unwrap();
    file.sync().await.unwrap();
    if then == Then::RemoveOld {
        storage.sync_directory(&path("d")).await.unwrap();
    }
    storage.rename(&path("d/a"), &path("e/a")).await.unwrap();
    match then {
        Then::SyncNew => storage.sync_directory(&path("e")).await.unwrap(),
        Then::RemoveOld => storage.remove(&path("d")).await.unwrap(),
    }
    disk.power_loss(&mut chance(seed));
    let mut found = Vec::new();
    for name in ["d/a", "e/a"] {
        if let Some(content) = read(&disk, name).await {
            assert_eq!(content, b"content", "seed {seed}");
            found.push(name);
        }
    }
    found
}

#[test]
fn a_file_that_moves_to_another_directory_has_one_name_once_that_one_is_synced() {
    block_on(async {
        for seed in 0..50 {
            assert_eq!(moved(seed, Then::SyncNew).await, ["e/a"], "seed {seed}");
        }
    });
}

#[test]
fn a_directory_does_not_go_before_what_was_moved_out_of_it() {
    block_on(async {
        let mut outcomes = BTreeSet::new();
        for seed in 0..100 {
            outcomes.insert(moved(seed, Then::RemoveOld).await);
        }
        assert_eq!(outcomes, BTreeSet::from([vec!["d/a"], vec!["e/a"]]));
    });
}

#[test]
fn a_snapshot_that_is_replaced_by_the_book_is_always_whole() {
    block_on(async {
        for seed in 0..200 {
            let disk = Disk::new();
            write_durably(&disk, "a", &[0; 3000]).await;
            let mut chance = chance(seed);
            for round in 1..10_u8 {
                let file = open(&disk, "a.new").await;
                file.truncate(0).await.unwrap();
                file.write(0, vec![round; 3000]).await.unwrap();
                file.sync().await.unwrap();
                disk.storage().rename(&path("a.new"), &path("a")).await.unwrap();
                if round % 3 == 0 {
                    disk.power_loss(&mut chance);
                }
                let content = read(&disk, "a").await.expect("one of them has the name");
                assert_eq!(content, vec![content[0]; 3000], "seed {seed}, round {round}");
            }
        }
    });
}

#[test]
fn a_name_is_as_durable_as_the_directory_above() {
    block_on(async {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = Disk::new();
            disk.storage().create_directory(&path("d")).await.unwrap();
            write_durably(&disk, "d/a", b"kept").await;
            disk.power_loss(&mut chance(seed));
            if read(&disk, "d/a").await.is_none() {
                lost += 1;
                assert_eq!(disk.used_bytes(), 0, "and its room is free");
            }
        }
        assert!((1..50).contains(&lost), "{lost} of 50 lost with their directory");
    });
}

#[test]
fn a_full_disk_says_so_and_loses_nothing_that_was_there() {
    block_on(async {
        let disk = Disk::new();
        write_durably(&disk, "a", b"kept").await;
        disk.full_at(10);
        let file = open(&disk, "a").await;
        let full = file.append(vec![1; 20]).await.unwrap_err();
        assert!(matches!(full, StorageError::Full { .. }), "{full:?}");
        assert!(full.to_string().ends_with("the first 6 bytes were written"), "{full}");
        let full = file.append(vec![1]).await.unwrap_err();
        assert!(full.to_string().ends_with("nothing was changed"), "{full}");
        assert!(matches!(file.truncate(11).await, Err(StorageError::Full { .. })));
        file.write(0, b"KEPT".to_vec()).await.expect("it takes no room");
        assert_eq!(file.read(0, 4).await.unwrap(), b"KEPT");
        assert_eq!(disk.used_bytes(), 10);
        file.truncate(4).await.unwrap();
        file.append(vec![2; 6]).await.expect("there is room again");
        disk.heal();
        file.append(vec![2; 20]).await.expect("the disk is large again");
    });
}

#[test]
fn removed_files_free_their_room_once_nobody_has_them_open() {
    block_on(async {
        let disk = Disk::new();
        write_durably(&disk, "a", &[1; 100]).await;
        let file = open(&disk, "a").await;
        disk.storage().remove(&path("a")).await.unwrap();
        disk.storage().sync_directory(&StoragePath::root()).await.unwrap();
        assert_eq!(disk.used_bytes(), 100);
        drop(file);
        assert_eq!(disk.used_bytes(), 0);

        write_durably(&disk, "a", &[1; 100]).await;
        write_durably(&disk, "b", &[2; 50]).await;
        disk.storage().rename(&path("b"), &path("a")).await.unwrap();
        assert_eq!(disk.used_bytes(), 150, "the old one may come back");
        disk.storage().sync_directory(&StoragePath::root()).await.unwrap();
        assert_eq!(disk.used_bytes(), 50);
    });
}

#[test]
fn after_a_failed_sync_a_second_one_does_not_help() {
    block_on(async {
        for left in [FailedSync::Dropped, FailedSync::Readable] {
            let disk = Disk::new();
            write_durably(&disk, "a", b"kept").await;
            let file = open(&disk, "a").await;
            file.append(b", lost".to_vec()).await.unwrap();
            disk.fail_syncs(1, left);
            for _ in 0..2 {
                let failed = file.sync().await;
                assert!(matches!(failed, Err(StorageError::SyncFailed { .. })), "{failed:?}");
            }
            let cached: &[u8] = match left {
                FailedSync::Dropped => b"kept",
                FailedSync::Readable => b"kept, lost",
            };
            assert_eq!(read(&disk, "a").await.unwrap(), cached);
            open(&disk, "a").await.sync().await.expect("another handle knows nothing of it");
            disk.power_loss(&mut chance(1));
            assert_eq!(read(&disk, "a").await.unwrap(), b"kept", "{left:?}");
        }
    });
}

#[test]
fn failing_reads_and_writes_are_told_and_pass() {
    block_on(async {
        let disk = Disk::new();
        write_durably(&disk, "a", b"kept").await;
        let file = open(&disk, "a").await;
        disk.fail_reads(2);
        for _ in 0..2 {
            assert!(matches!(file.read(0, 4).await, Err(StorageError::Failed { .. })));
        }
        disk.fail_writes(1);
        let failed = file.write(4, b"more".to_vec()).await.unwrap_err();
        assert!(failed.to_string().ends_with("how much was done is unknown"), "{failed}");
        assert_eq!(file.read(0, 9).await.unwrap(), b"keptmo", "some of it was");
        file.write(4, b"more".to_vec()).await.unwrap();
        assert_eq!(file.read(0, 9).await.unwrap(), b"keptmore");
    });
}

#[test]
fn a_storage_is_dead_after_its_life() {
    block_on(async {
        let disk = Disk::new();
        write_durably(&disk, "a", b"kept").await;
        let (old, file) = (disk.storage(), open(&disk, "a").await);
        disk.slow(Duration::from_secs(1));
        let under_way = tokio::spawn(file.write(0, b"late".to_vec()));
        tokio::task::yield_now().await;
        disk.process_kill();
        disk.heal();
        let late = tokio::time::timeout(Duration::from_secs(60), under_way).await;
        assert!(late.is_err(), "it never ends");
        assert!(file.sync().now_or_never().is_none());
        assert!(old.list(&StoragePath::root()).now_or_never().is_none());
        drop(file);
        assert_eq!(read(&disk, "a").await.unwrap(), b"kept", "and never happened");
    });
}

#[test]
fn a_slow_disk_takes_its_time() {
    block_on(async {
        let disk = Disk::new();
        disk.slow(Duration::from_millis(5));
        let begun = tokio::time::Instant::now();
        write_durably(&disk, "a", b"x").await;
        assert_eq!(begun.elapsed(), Duration::from_millis(20), "open, write and two syncs");
    });
}

/// Everything that a disk holds after a life full of faults.
fn a_life(seed: u64) -> Vec<(String, Vec<u8>)> {
    block_on(async {
        let disk = Disk::new();
        let mut chance = chance(seed);
        for round in 0..20_u8 {
            for name in ["a", "b", "c"] {
                let file = open(&disk, name).await;
                file.append(vec![round; 700]).await.unwrap();
                if round % 4 == 0 {
                    file.sync().await.unwrap();
                }
            }
            disk.storage().rename(&path("a"), &path("d")).await.unwrap();
            disk.power_loss(&mut chance);
        }
        let mut found = Vec::new();
        for entry in disk.storage().list(&StoragePath::root()).await.unwrap() {
            let content = read(&disk, &entry.name).await.unwrap();
            found.push((entry.name, content));
        }
        found
    })
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let lives: BTreeSet<_> = (0..20).map(a_life).collect();
    assert!(lives.len() > 15, "the seed matters: {} different ones of 20", lives.len());
    for seed in 0..20 {
        assert_eq!(a_life(seed), a_life(seed), "seed {seed}");
    }
}
