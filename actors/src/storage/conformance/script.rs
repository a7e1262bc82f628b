//! Sequences of operations, from bytes, compared with a model of what a storage is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::path;
use crate::storage::{OpenMode, Storage, StorageError, StoragePath};

/// The names that scripts use: few, so that they meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "e/a"];

const DIRECTORIES: [&str; 2] = ["d", "e"];

/// What a storage is: content by path. Directories have none.
#[derive(Default)]
struct Model {
    files: BTreeMap<String, Vec<u8>>,
    directories: Vec<String>,
}

impl Model {
    fn has_parent(&self, name: &str) -> bool {
        name.rsplit_once('/').is_none_or(|(parent, _)| self.directories.iter().any(|d| d == parent))
    }

    fn is_empty(&self, directory: &str) -> bool {
        !self.files.keys().any(|name| name.starts_with(&format!("{directory}/")))
    }
}

/// Does on a storage, with nothing in it, what the bytes of a script say, whatever they are, and on a
/// model, and compares what both say at each step.
///
/// # Panics
/// Where they differ.
pub async fn follow(storage: Arc<dyn Storage>, script: &[u8]) {
    let mut model = Model::default();
    for (at, step) in script.chunks_exact(4).enumerate() {
        let done = follow_step(&*storage, &mut model, [step[0], step[1], step[2], step[3]]).await;
        done.unwrap_or_else(|why| panic!("step {at}, {step:?}: {why}"));
        assert_eq!(contents(&*storage).await, model.files, "after step {at}, {step:?}");
    }
}

async fn follow_step(
    storage: &dyn Storage,
    model: &mut Model,
    [what, which, first, second]: [u8; 4],
) -> Result<(), StorageError> {
    let name = NAMES[usize::from(which) % NAMES.len()];
    let other = NAMES[usize::from(first) % NAMES.len()];
    let directory = DIRECTORIES[usize::from(which) % DIRECTORIES.len()];
    let length = usize::from(second) * 5;
    match what % 9 {
        0 | 1 => {
            let Some(file) = open(storage, model, name).await? else { return Ok(()) };
            let content = model.files.get_mut(name).expect("it was opened");
            let offset = usize::from(first) * 3;
            file.write(offset as u64, vec![second; length]).await?;
            if length > 0 {
                content.resize(content.len().max(offset + length), 0);
                content[offset..offset + length].fill(second);
            }
        }
        2 => {
            let Some(file) = open(storage, model, name).await? else { return Ok(()) };
            let content = model.files.get_mut(name).expect("it was opened");
            assert_eq!(file.append(vec![first; length]).await?, content.len() as u64);
            content.extend(vec![first; length]);
        }
        3 => {
            let Some(file) = open(storage, model, name).await? else { return Ok(()) };
            file.truncate(length as u64).await?;
            model.files.get_mut(name).expect("it was opened").resize(length, 0);
        }
        4 => {
            let done = storage.rename(&path(name), &path(other)).await;
            let can = model.files.contains_key(name) && model.has_parent(other);
            agree(done, can)?;
            if can {
                let content = model.files.remove(name).expect("it is there");
                model.files.insert(other.to_owned(), content);
            }
        }
        5 => agree(storage.remove(&path(name)).await, model.files.remove(name).is_some())?,
        6 => {
            let can = !model.directories.iter().any(|there| there == directory);
            agree(storage.create_directory(&path(directory)).await, can)?;
            if can {
                model.directories.push(directory.to_owned());
            }
        }
        7 => {
            let there = model.directories.iter().position(|there| there == directory);
            let there = there.filter(|_| model.is_empty(directory));
            agree(storage.remove(&path(directory)).await, there.is_some())?;
            there.map(|there| model.directories.remove(there));
        }
        _ => {
            if let Some(file) = open(storage, model, name).await? {
                file.sync().await?;
                storage.sync_directory(&path(name).parent()).await?;
            }
        }
    }
    Ok(())
}

async fn open(
    storage: &dyn Storage,
    model: &mut Model,
    name: &str,
) -> Result<Option<Arc<dyn crate::storage::StorageFile>>, StorageError> {
    let opened = storage.open(&path(name), OpenMode::Create).await;
    if !model.has_parent(name) {
        agree(opened.map(drop), false)?;
        return Ok(None);
    }
    model.files.entry(name.to_owned()).or_default();
    opened.map(Some)
}

/// An operation must succeed where the model says that it can, and else be refused by name.
fn agree(done: Result<(), StorageError>, can: bool) -> Result<(), StorageError> {
    match (done, can) {
        (done, true) => done,
        (Ok(()), false) => panic!("it succeeded, and cannot have"),
        (
            Err(
                StorageError::NotFound { .. }
                | StorageError::AlreadyExists { .. }
                | StorageError::Mismatch { .. },
            ),
            false,
        ) => Ok(()),
        (failed, false) => failed,
    }
}

/// All that a storage has, by walking through it.
async fn contents(storage: &dyn Storage) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut to_list = vec![StoragePath::root()];
    while let Some(directory) = to_list.pop() {
        for entry in storage.list(&directory).await.expect("it was listed") {
            let path = directory.join(&entry.name).expect("a name that was listed");
            if entry.is_directory {
                to_list.push(path);
                continue;
            }
            let file = storage.open(&path, OpenMode::Existing).await.expect("it was listed");
            let content = file.read(0, usize::MAX).await.expect("it can be read");
            found.insert(path.to_string(), content);
        }
    }
    found
}
