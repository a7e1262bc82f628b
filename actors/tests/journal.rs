//! A journal on a directory. What power losses do to it is in `umbel-sims`, on a disk that has them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use umbel_actors::storage::{
    DirStorage, Journal, JournalError, JournalOptions, Storage, StoragePath,
};

/// Where the records begin: a header of three sectors is before them.
const HEADER_BYTES: usize = 1536;

struct Place {
    directory: TempDir,
    storage: Arc<dyn Storage>,
}

impl Place {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let storage = Arc::new(DirStorage::open(directory.path()).await.unwrap());
        Self { directory, storage }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    async fn open_with(
        &self,
        options: JournalOptions,
    ) -> Result<(Journal, Vec<Vec<u8>>), JournalError> {
        let path: StoragePath = "log".parse().unwrap();
        let mut records = Vec::new();
        let keep = |record: &[u8]| records.push(record.to_vec());
        let journal = Journal::open(&*self.storage, &path, options, keep).await?;
        assert_eq!(journal.replayed().records, records.len() as u64);
        Ok((journal, records))
    }

    async fn open(&self) -> Result<(Journal, Vec<Vec<u8>>), JournalError> {
        self.open_with(JournalOptions::default()).await
    }

    /// The file's bytes once it has these records, each synced.
    async fn written(&self, records: &[&[u8]]) -> Vec<u8> {
        let (mut journal, _) = self.open().await.unwrap();
        for record in records {
            journal.append(record).await.unwrap();
            journal.sync().await.unwrap();
        }
        assert_eq!(journal.length_bytes(), fs::metadata(self.file()).unwrap().len());
        fs::read(self.file()).unwrap()
    }
}

#[tokio::test]
async fn records_come_back_in_order_whatever_their_size() {
    let place = Place::new().await;
    let records: Vec<Vec<u8>> =
        [0, 1, 7, 100, 65_536, 0, 1024 * 1024, 3].map(|length| vec![length as u8; length]).into();
    let (mut journal, found) = place.open().await.unwrap();
    assert_eq!(found, [[]; 0]);
    for record in &records {
        journal.append(record).await.unwrap();
    }
    drop(journal);
    for _ in 0..2 {
        let (journal, found) = place.open().await.unwrap();
        assert!(found == records, "after a process that did not sync");
        assert_eq!(journal.replayed().torn_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_can_be_used_in_a_task() {
    let place = Place::new().await;
    let storage = place.storage.clone();
    let task = tokio::spawn(async move {
        let path: StoragePath = "log".parse().unwrap();
        let options = JournalOptions::default();
        let mut journal = Journal::open(&*storage, &path, options, |_| {}).await.unwrap();
        journal.append(b"from a task").await.unwrap();
        journal.sync().await.unwrap();
    });
    task.await.unwrap();
    assert_eq!(place.open().await.unwrap().1, [b"from a task"]);
}

#[tokio::test]
async fn a_journal_goes_on_where_it_ended() {
    let place = Place::new().await;
    for round in 0..5_u8 {
        let (mut journal, found) = place.open().await.unwrap();
        assert_eq!(found, (0..round).map(|earlier| vec![earlier]).collect::<Vec<_>>());
        journal.append(&[round]).await.unwrap();
        journal.sync().await.unwrap();
        journal.sync().await.expect("there is nothing to do");
    }
}

#[tokio::test]
async fn a_torn_end_is_removed_wherever_it_is_torn() {
    let place = Place::new().await;
    let whole = place.written(&[b"first", b"second"]).await;
    let (mut journal, _) = place.open().await.unwrap();
    journal.append(b"torn, for it was not synced").await.unwrap();
    drop(journal);
    let torn = fs::read(place.file()).unwrap();
    for length in whole.len()..torn.len() {
        fs::write(place.file(), &torn[..length]).unwrap();
        let (journal, found) = place.open().await.unwrap();
        assert_eq!(found, [b"first".to_vec(), b"second".to_vec()], "of {length} bytes");
        assert_eq!(journal.replayed().torn_bytes, (length - whole.len()) as u64);
        assert_eq!(fs::metadata(place.file()).unwrap().len(), whole.len() as u64);
    }
    for at in whole.len()..torn.len() {
        let mut flipped = torn.clone();
        flipped[at] ^= 4;
        fs::write(place.file(), &flipped).unwrap();
        let (_, found) = place.open().await.unwrap();
        assert_eq!(found.len(), 2, "byte {at} was wrong");
    }
}

#[tokio::test]
async fn damage_before_the_last_sync_is_no_tear_and_is_left_alone() {
    let place = Place::new().await;
    let whole = place.written(&[b"first", b"second"]).await;
    for at in HEADER_BYTES..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(place.file(), &damaged).unwrap();
        let refused = place.open().await.unwrap_err();
        let JournalError::Damaged { at_bytes, synced_bytes, .. } = refused else {
            panic!("{refused:?}")
        };
        let first_bytes = (HEADER_BYTES + 8 + 5) as u64;
        let begins = if at < first_bytes as usize { HEADER_BYTES as u64 } else { first_bytes };
        assert_eq!((at_bytes, synced_bytes), (begins, whole.len() as u64), "byte {at}");
        assert!(fs::read(place.file()).unwrap() == damaged, "it was touched");
    }
    fs::write(place.file(), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(place.open().await, Err(JournalError::Damaged { .. })), "it is too short");
}

#[tokio::test]
async fn while_one_note_of_the_last_sync_is_torn_the_one_before_holds() {
    let place = Place::new().await;
    let whole = place.written(&[b"first", b"second", b"third"]).await;
    for note in [512, 1024] {
        let mut damaged = whole.clone();
        damaged[note..note + 12].fill(0xee);
        damaged[HEADER_BYTES + 8] ^= 1;
        fs::write(place.file(), &damaged).unwrap();
        let refused = place.open().await.unwrap_err();
        let JournalError::Damaged { synced_bytes, .. } = refused else { panic!("{refused:?}") };
        let third_bytes = 8 + 5;
        assert!(synced_bytes as usize >= whole.len() - third_bytes, "{synced_bytes}");
    }
    let mut damaged = whole.clone();
    damaged[512..HEADER_BYTES].fill(0xee);
    fs::write(place.file(), &damaged).unwrap();
    assert!(matches!(place.open().await, Err(JournalError::Damaged { .. })), "none is left");
}

#[tokio::test]
async fn a_record_that_was_left_behind_does_not_come_back_after_another() {
    let place = Place::new().await;
    let whole = place.written(&[b"kept"]).await;
    let (mut journal, _) = place.open().await.unwrap();
    journal.append(b"lost").await.unwrap();
    journal.append(b"left").await.unwrap();
    drop(journal);
    let left = fs::read(place.file()).unwrap();
    // The first of the two is replaced by one of the same length, and the other stays behind it.
    fs::write(place.file(), &whole).unwrap();
    let (mut journal, _) = place.open().await.unwrap();
    journal.append(b"anew").await.unwrap();
    drop(journal);
    let mut bytes = fs::read(place.file()).unwrap();
    bytes.extend(&left[bytes.len()..]);
    fs::write(place.file(), bytes).unwrap();
    let (_, found) = place.open().await.unwrap();
    assert_eq!(found, [b"kept", b"anew"]);
}

#[tokio::test]
async fn bounds_are_kept_to_the_byte() {
    let place = Place::new().await;
    let bounds = JournalOptions {
        record_bytes_max: 10,
        journal_bytes_max: (HEADER_BYTES + 2 * (8 + 10)) as u64,
    };
    let (mut journal, _) = place.open_with(bounds).await.unwrap();
    let refused = journal.append(&[0; 11]).await.unwrap_err();
    assert!(matches!(refused, JournalError::RecordTooLarge { bytes: 11, max_bytes: 10 }));
    journal.append(&[1; 10]).await.unwrap();
    journal.append(&[2; 9]).await.unwrap();
    assert!(matches!(journal.append(&[]).await, Err(JournalError::Full { .. })));
    journal.sync().await.unwrap();
    drop(journal);

    let lower = JournalOptions { record_bytes_max: 9, ..bounds };
    let before = fs::read(place.file()).unwrap();
    let refused = place.open_with(lower).await.unwrap_err();
    assert!(
        matches!(refused, JournalError::RecordBeyondLimit { bytes: 10, max_bytes: 9, .. }),
        "a record that is whole is not taken for torn: {refused:?}"
    );
    assert!(fs::read(place.file()).unwrap() == before, "it was touched");
    assert_eq!(place.open_with(bounds).await.unwrap().1.len(), 2);
}

#[tokio::test]
async fn a_length_that_lies_reserves_nothing() {
    let place = Place::new().await;
    let whole = place.written(&[b"kept"]).await;
    for length in [u32::MAX, 1 << 20, 100] {
        let torn = [&whole[..], &length.to_le_bytes(), &[7; 60]].concat();
        fs::write(place.file(), &torn).unwrap();
        let (journal, found) = place.open().await.unwrap();
        assert_eq!((found.len(), journal.replayed().torn_bytes), (1, 64));
    }
    // There is as much as the length says, and more than a record may have.
    let mut torn = [&whole[..], &(2_u32 << 20).to_le_bytes()].concat();
    torn.resize(whole.len() + (3 << 20), 7);
    fs::write(place.file(), &torn).unwrap();
    assert_eq!(place.open().await.unwrap().1.len(), 1);
}

#[tokio::test]
async fn what_is_no_journal_is_left_alone() {
    let place = Place::new().await;
    for content in [b"a text".to_vec(), vec![0; 4000], vec![9; 4000]] {
        fs::write(place.file(), &content).unwrap();
        let refused = place.open().await.unwrap_err();
        assert!(matches!(refused, JournalError::NotAJournal { .. }), "{refused:?}");
        assert!(fs::read(place.file()).unwrap() == content, "it was touched");
    }
}

#[tokio::test]
async fn a_journal_that_was_not_finished_being_made_is_made() {
    let place = Place::new().await;
    let empty = place.written(&[]).await;
    for length in [0, 1, 8, 512, 515, 524, 1000, HEADER_BYTES] {
        fs::write(place.file(), &empty[..length]).unwrap();
        assert_eq!(place.open().await.unwrap().1, [[]; 0], "of {length} bytes");
        assert!(fs::read(place.file()).unwrap() == empty, "of {length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands where a journal should, opening it ends, with a journal or an error.
    #[test]
    fn no_bytes_are_the_end_of_it(
        at in 0..1700_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        length in 0..1700_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new().await;
            let mut content = place.written(&[b"first", &[7; 80], b"third"]).await;
            let end = content.len().min(at + bytes.len());
            let at = at.min(end);
            content[at..end].copy_from_slice(&bytes[..end - at]);
            content.truncate(length);
            fs::write(place.file(), &content).unwrap();
            if let Ok((mut journal, found)) = place.open().await {
                let wanted = [b"first".to_vec(), vec![7; 80], b"third".to_vec()];
                assert!(wanted.starts_with(&found), "{found:?}");
                journal.append(b"more").await.unwrap();
                drop(journal);
                let (_, again) = place.open().await.unwrap();
                assert_eq!(again, [found, vec![b"more".to_vec()]].concat());
            }
        });
    }
}
