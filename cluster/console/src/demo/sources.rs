//! The files to count, which are read twice: by the cluster, and by the plain count.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The project's own pages, for whoever has no file at hand.
const PAGES: [(&str, &str); 5] = [
    ("README.md", include_str!("../../../../README.md")),
    ("ARCHITECTURE.md", include_str!("../../../../ARCHITECTURE.md")),
    ("CONTRIBUTING.md", include_str!("../../../../CONTRIBUTING.md")),
    ("SECURITY.md", include_str!("../../../../SECURITY.md")),
    ("CHANGELOG.md", include_str!("../../../../CHANGELOG.md")),
];

/// The most that is copied from a pipe, a device or standard input: they cannot be read twice.
const SPOOL_BYTES_MAX: u64 = 4 << 30;

/// The files to count, in order.
#[derive(Debug)]
pub(crate) struct Sources {
    list: Vec<Source>,
    repeat: u64,
}

#[derive(Debug)]
struct Source {
    /// As it is shown.
    name: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Page(&'static str),
    /// So many bytes of it: what is appended while the demo runs is not counted.
    File(PathBuf, u64),
}

/// Why a file cannot be counted.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// It cannot be opened or read.
    #[error("could not read {name}: {source}")]
    Read { name: String, source: io::Error },
    /// It is a directory.
    #[error("{name} is a directory, not a file")]
    Directory { name: String },
    /// A pipe or a device holds more than is copied.
    #[error("{name} cannot be read twice, and has more than {SPOOL_BYTES_MAX} bytes to copy")]
    Endless { name: String },
}

impl Sources {
    /// The project's own pages, `repeat` times over.
    pub(crate) fn pages(repeat: u64) -> Self {
        let source = |(name, text): &(&str, &'static str)| Source {
            name: (*name).to_owned(),
            place: Place::Page(text),
        };
        Self { list: PAGES.iter().map(source).collect(), repeat }
    }

    /// Looks at every file, and opens it, so that what is wrong shows before anything is started.
    /// What cannot be read twice is copied into `spool`; `-` is standard input.
    pub(crate) fn open(files: &[PathBuf], repeat: u64, spool: &Path) -> Result<Self, SourceError> {
        let mut list = Vec::new();
        let mut once = Vec::new();
        for path in files {
            let name = if path.as_os_str() == "-" { "standard input" } else { "" };
            let name = if name.is_empty() { path.display().to_string() } else { name.to_owned() };
            let failed = |source| SourceError::Read { name: name.clone(), source };
            if path.as_os_str() == "-" {
                once.push((list.len(), None));
                list.push(Source { name, place: Place::File(PathBuf::new(), 0) });
                continue;
            }
            let metadata = fs::metadata(path).map_err(failed)?;
            if metadata.is_dir() {
                return Err(SourceError::Directory { name });
            }
            if !metadata.is_file() || metadata.len() == 0 {
                // Some files of /proc say that they are empty, and are not.
                once.push((list.len(), Some(path.clone())));
            } else {
                File::open(path).map_err(failed)?;
            }
            let path = std::path::absolute(path).map_err(failed)?;
            list.push(Source { name, place: Place::File(path, metadata.len()) });
        }
        for (index, path) in once {
            let source: &mut Source = &mut list[index];
            let copy = spool.join(format!("input-{index}"));
            let bytes = copied(&source.name, path.as_deref(), &copy)?;
            source.place = Place::File(copy, bytes);
        }
        Ok(Self { list, repeat })
    }

    /// How many files are read, one that is read twice counted twice.
    pub(crate) fn files(&self) -> u64 {
        self.list.len() as u64 * self.repeat
    }

    /// How many bytes are read.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |source: &Source| match &source.place {
            Place::Page(text) => text.len() as u64,
            Place::File(_, bytes) => *bytes,
        };
        self.list.iter().map(bytes).sum::<u64>() * self.repeat
    }

    /// Opens the file with this number, from 0 to below [`Self::files`].
    pub(crate) fn read(
        &self,
        number: u64,
    ) -> Result<(&str, Box<dyn Read + Send + Sync>), SourceError> {
        let index = usize::try_from(number % self.list.len().max(1) as u64).unwrap_or_default();
        let Source { name, place } = &self.list[index];
        let reader: Box<dyn Read + Send + Sync> = match place {
            Place::Page(text) => Box::new(text.as_bytes()),
            Place::File(path, bytes) => {
                let file = File::open(path)
                    .map_err(|source| SourceError::Read { name: name.clone(), source })?;
                Box::new(file.take(*bytes))
            }
        };
        Ok((name, reader))
    }
}

/// Copies what can be read only once; standard input where there is no path.
fn copied(name: &str, path: Option<&Path>, copy: &Path) -> Result<u64, SourceError> {
    let copying = || -> io::Result<u64> {
        let source: Box<dyn Read> = match path {
            Some(path) => Box::new(File::open(path)?),
            None => Box::new(io::stdin().lock()),
        };
        io::copy(&mut source.take(SPOOL_BYTES_MAX + 1), &mut File::create(copy)?)
    };
    match copying() {
        Ok(bytes) if bytes > SPOOL_BYTES_MAX => Err(SourceError::Endless { name: name.to_owned() }),
        Ok(bytes) => Ok(bytes),
        Err(source) => Err(SourceError::Read { name: name.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sources: &Sources) -> String {
        let mut text = String::new();
        for number in 0..sources.files() {
            sources.read(number).unwrap().1.read_to_string(&mut text).unwrap();
        }
        text
    }

    #[test]
    fn files_are_read_in_order_and_as_often_as_they_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "").unwrap();
        let files = [one.clone(), two, one.clone()];
        let sources = Sources::open(&files, 2, directory.path()).unwrap();
        assert_eq!((sources.files(), sources.bytes()), (6, 4));
        assert_eq!(text(&sources), "1111");
        // What is appended later belongs to neither count.
        fs::write(&one, "1 and more").unwrap();
        assert_eq!(text(&sources), "1111");
    }

    #[test]
    fn what_cannot_be_counted_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| Sources::open(&[path.to_owned()], 1, directory.path());
        let missing = open(&directory.path().join("missing")).unwrap_err().to_string();
        assert!(missing.contains("missing: No such file"), "{missing}");
        let folder = open(directory.path()).unwrap_err().to_string();
        assert!(folder.ends_with("is a directory, not a file"), "{folder}");
    }

    #[test]
    fn the_pages_are_there_without_any_file() {
        let sources = Sources::pages(2);
        assert_eq!(sources.files(), 10);
        assert_eq!(text(&sources).len() as u64, sources.bytes());
    }
}
