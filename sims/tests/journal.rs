//! A journal on a disk that loses, tears, fills up and fails.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use umbel_actors::storage::{Journal, JournalError, JournalOptions, StorageError, StoragePath};
use umbel_sims::{Disk, FailedSync};

fn path() -> StoragePath {
    "log".parse().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

async fn open(disk: &Disk) -> Result<(Journal, Vec<Vec<u8>>), JournalError> {
    let mut records = Vec::new();
    let keep = |record: &[u8]| records.push(record.to_vec());
    let options = JournalOptions::default();
    let journal = Journal::open(&disk.storage(), &path(), options, keep).await?;
    Ok((journal, records))
}

/// Which faults a run has besides power losses.
#[derive(Clone, Copy, Debug)]
struct Plagues {
    kills: bool,
    failures: bool,
}

/// One disk's history: lives of a journal, each of which ends in a crash.
struct History {
    disk: Disk,
    chance: StdRng,
    /// What must come back, and what may behind it.
    durable: Vec<Vec<u8>>,
    perhaps: Vec<Vec<u8>>,
    written: u32,
    lost: usize,
    failed: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            disk: Disk::new(),
            chance: StdRng::seed_from_u64(seed),
            durable: Vec::new(),
            perhaps: Vec::new(),
            written: 0,
            lost: 0,
            failed: 0,
        }
    }

    async fn live(&mut self, plagues: Plagues) {
        for _ in 0..self.chance.random_range(1..12) {
            if plagues.failures {
                self.plague();
            }
            let opened = open(&self.disk).await;
            self.disk.heal();
            match opened {
                Ok((journal, records)) => {
                    self.read_back(records);
                    self.use_it(journal, plagues).await;
                }
                Err(JournalError::Storage(_)) if plagues.failures => self.failed += 1,
                Err(why) => panic!("it does not open: {why}"),
            }
            self.disk.heal();
            if plagues.kills && self.chance.random_bool(0.4) {
                self.disk.process_kill();
            } else {
                self.disk.power_loss(&mut self.chance);
            }
        }
    }

    /// What comes back is all that was synced, and of the rest a beginning.
    fn read_back(&mut self, records: Vec<Vec<u8>>) {
        let all = [&self.durable[..], &self.perhaps].concat();
        assert!(records.len() >= self.durable.len(), "synced records are lost");
        assert!(all.starts_with(&records), "records that were not written so");
        self.lost += all.len() - records.len();
        // They were handed out, and so they stay.
        self.durable = records;
        self.perhaps.clear();
    }

    async fn use_it(&mut self, mut journal: Journal, plagues: Plagues) {
        for _ in 0..self.chance.random_range(0..20) {
            if plagues.failures {
                self.plague();
            }
            let mut record = self.written.to_le_bytes().to_vec();
            record.resize(self.chance.random_range(5..1500), (self.written % 255 + 1) as u8);
            // Each has bytes of its own, and no zeros: of one that failed, a half is there, and is not to be
            // completed by what is written over it, or by nothing.
            self.written += 1;
            match journal.append(&record).await {
                Ok(()) => self.perhaps.push(record),
                Err(JournalError::Storage(_)) if plagues.failures => self.failed += 1,
                Err(why) => panic!("it was not appended: {why}"),
            }
            if self.chance.random_bool(0.3) {
                match journal.sync().await {
                    Ok(()) => self.durable.append(&mut self.perhaps),
                    Err(JournalError::Storage(StorageError::SyncFailed { .. }))
                        if plagues.failures =>
                    {
                        self.failed += 1;
                        let broken = journal.append(b"no more").await;
                        assert!(matches!(broken, Err(JournalError::Broken { .. })), "{broken:?}");
                        let broken = journal.sync().await;
                        assert!(matches!(broken, Err(JournalError::Broken { .. })), "{broken:?}");
                        return;
                    }
                    Err(why) => panic!("it was not synced: {why}"),
                }
            }
        }
    }

    fn plague(&mut self) {
        let left = match self.chance.random_bool(0.5) {
            true => FailedSync::Dropped,
            false => FailedSync::Readable,
        };
        match self.chance.random_range(0..12) {
            0 => self.disk.fail_syncs(1, left),
            1 => self.disk.fail_writes(self.chance.random_range(1..3)),
            2 => self.disk.fail_reads(1),
            3 => {
                let room = self.chance.random_range(0..2000);
                self.disk.full_at(self.disk.used_bytes() + room);
            }
            4..8 => self.disk.heal(),
            _ => {}
        }
    }
}

fn live(seeds: std::ops::Range<u64>, plagues: Plagues) -> (usize, usize, usize) {
    let (mut synced, mut lost, mut failed) = (0, 0, 0);
    for seed in seeds {
        let mut history = History::new(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            block_on(history.live(plagues));
        }));
        assert!(lived.is_ok(), "seed {seed}, {plagues:?}");
        synced += history.durable.len();
        lost += history.lost;
        failed += history.failed;
    }
    (synced, lost, failed)
}

#[test]
fn synced_records_come_back_after_any_number_of_power_losses() {
    let plagues = Plagues { kills: false, failures: false };
    let (synced, lost, _) = live(0..1000, plagues);
    assert!(synced > 10_000 && lost > 5_000, "{synced} synced, {lost} lost");
}

#[test]
fn a_killed_process_takes_nothing_with_it_and_makes_nothing_durable() {
    live(0..500, Plagues { kills: true, failures: false });
}

#[test]
fn failing_syncs_writes_reads_and_full_disks_lose_no_synced_record() {
    let plagues = Plagues { kills: true, failures: true };
    let (synced, _, failed) = live(0..1500, plagues);
    assert!(synced > 10_000 && failed > 5_000, "{synced} synced, {failed} failures");
}

#[test]
fn a_full_disk_takes_no_record_and_the_journal_goes_on_when_there_is_room() {
    block_on(async {
        let disk = Disk::new();
        let (mut journal, _) = open(&disk).await.unwrap();
        journal.append(b"first").await.unwrap();
        journal.sync().await.unwrap();
        disk.full_at(disk.used_bytes() + 20);
        let full = journal.append(&[7; 500]).await.unwrap_err();
        assert!(matches!(full, JournalError::Storage(StorageError::Full { .. })), "{full:?}");
        journal.append(b"short").await.expect("this one fits");
        disk.heal();
        journal.append(&[7; 500]).await.unwrap();
        journal.sync().await.unwrap();
        disk.power_loss(&mut StdRng::seed_from_u64(3));
        let (_, records) = open(&disk).await.unwrap();
        assert_eq!(records, [b"first".to_vec(), b"short".to_vec(), vec![7; 500]]);
    });
}

#[test]
fn a_disk_that_decays_is_found_out() {
    block_on(async {
        let disk = Disk::new();
        let (mut journal, _) = open(&disk).await.unwrap();
        for record in [[1; 100], [2; 100], [3; 100]] {
            journal.append(&record).await.unwrap();
            journal.sync().await.unwrap();
        }
        let end = journal.length_bytes();
        disk.process_kill();
        assert!(disk.decay(&path(), end - 150, 0x10));
        let damaged = open(&disk).await.unwrap_err();
        let JournalError::Damaged { at_bytes, synced_bytes, .. } = damaged else {
            panic!("{damaged:?}")
        };
        assert_eq!((at_bytes, synced_bytes), (end - 216, end));
        assert!(disk.decay(&path(), end - 150, 0x10));
        assert_eq!(open(&disk).await.unwrap().1.len(), 3, "it was left as it was");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Of records that were not synced a beginning comes back, whichever of their writes were kept.
    #[test]
    fn of_unsynced_records_a_beginning_comes_back(
        lengths in prop::collection::vec(0..3000_usize, 1..20),
        seed in any::<u64>(),
    ) {
        block_on(async {
            let disk = Disk::new();
            let (mut journal, _) = open(&disk).await.unwrap();
            let mut records = Vec::new();
            for (fill, length) in (1_u8..).zip(lengths) {
                records.push(vec![fill; length]);
                journal.append(&vec![fill; length]).await.unwrap();
            }
            disk.power_loss(&mut StdRng::seed_from_u64(seed));
            let (_, found) = open(&disk).await.unwrap();
            assert!(records.starts_with(&found));
        });
    }
}
