//! A journal of a real process, which is killed without a warning.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use umbel_actors::storage::{DirStorage, Journal, JournalOptions, StorageError, StoragePath};

const CHILD: &str = "UMBEL_TEST_JOURNAL";

/// A child that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(directory: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, directory)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn open(storage: &DirStorage) -> (Journal, Vec<u64>) {
    let path: StoragePath = "log".parse().unwrap();
    let mut records = Vec::new();
    let keep = |record: &[u8]| {
        records.push(u64::from_le_bytes(*record.first_chunk().expect("a number is in front")));
    };
    let journal = Journal::open(storage, &path, JournalOptions::default(), keep).await.unwrap();
    (journal, records)
}

/// Not a claim, but what the killed process runs: it appends numbers and says which are synced.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let storage = DirStorage::open(directory).await.unwrap();
    let (mut journal, found) = open(&storage).await;
    let mut output = std::io::stdout();
    for number in found.len() as u64.. {
        let mut record = number.to_le_bytes().to_vec();
        record.resize(8 + (number as usize * 131) % 3000, 7);
        journal.append(&record).await.unwrap();
        if number.is_multiple_of(3) {
            journal.sync().await.unwrap();
            writeln!(output, "\nsynced {number}").unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_killed_process_said_was_synced_is_there_and_its_directory_is_free() {
    let directory = TempDir::new().unwrap();
    let mut last = 0;
    for round in 0..10 {
        let mut process = Process::start(directory.path());
        let output = BufReader::new(process.0.stdout.take().unwrap());
        let mut said = output.lines().map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("synced ").and_then(|number| number.parse::<u64>().ok())
        });
        let mut synced = said.nth(round + 1).expect("it goes on for ever");
        let taken = DirStorage::open(directory.path()).await;
        assert!(cfg!(not(unix)) || matches!(taken, Err(StorageError::InUse { .. })), "{taken:?}");
        drop(taken);
        process.0.kill().unwrap();
        // What it had said before it was killed, and was not read yet.
        synced = said.last().unwrap_or(synced);
        process.0.wait().unwrap();

        let storage = DirStorage::open(directory.path()).await.expect("nobody has it");
        let (_, found) = open(&storage).await;
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>(), "round {round}");
        assert!(found.len() as u64 > synced, "round {round}: {synced} was synced");
        assert!(synced > last, "round {round}: it went on from where the last one was");
        last = synced;
    }
}
