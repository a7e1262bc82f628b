//! Names of files below a storage's root.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The most bytes of one name: what Linux's and most other file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// The most bytes of a whole path: a quarter of Linux's `PATH_MAX`, which counts the root as well.
const PATH_BYTES_MAX: usize = 1024;

/// The path of a file or a directory below the root of a [`Storage`](crate::storage::Storage): names with
/// `/` between them, such as `agents/7/memory`. It cannot lead out of the root.
///
/// A name has 1 to 255 bytes, without control characters and `/ \ : * ? " < > |`, so that it means the
/// same on every system, and is neither `.` nor `..`; a path has at most 1,024 bytes. Keep to one case: some
/// file systems do not tell `A` from `a`.
///
/// ```
/// use umbel_actors::storage::StoragePath;
///
/// let memory: StoragePath = "agents/7/memory".parse()?;
/// assert_eq!(memory.parent(), StoragePath::root().join("agents")?.join("7")?);
/// assert!("../secrets".parse::<StoragePath>().is_err());
/// # Ok::<_, umbel_actors::storage::StoragePathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoragePath(Arc<str>);

impl StoragePath {
    /// The root itself: a directory that is always there.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// Something in this directory. `below` may have several names.
    ///
    /// # Errors
    /// [`StoragePathError`] as for any path.
    pub fn join(&self, below: &str) -> Result<Self, StoragePathError> {
        if self.is_root() { below.parse() } else { format!("{self}/{below}").parse() }
    }

    /// The file beside this one whose name is longer by `suffix`.
    ///
    /// # Errors
    /// [`StoragePathError`] where the name becomes too long, or was none.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, StoragePathError> {
        format!("{self}{suffix}").parse()
    }

    /// The directory that it is in; the root is in itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        self.0.rsplit_once('/').map_or_else(Self::root, |(parent, _)| Self(parent.into()))
    }

    /// The last name; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// All names, from the root on; none for the root.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoragePath {
    type Err = StoragePathError;

    fn from_str(text: &str) -> Result<Self, StoragePathError> {
        let refused = |why| {
            // What is said of a path is not as long as the path may be.
            let shown = text.chars().take(80).collect();
            Err(StoragePathError { path: shown, why })
        };
        if text.len() > PATH_BYTES_MAX {
            return refused("is longer than 1024 bytes");
        }
        if text.starts_with('/') {
            return refused("is absolute: paths begin below the storage's root");
        }
        for name in text.split('/') {
            match name {
                "" => return refused("has an empty name"),
                "." | ".." => return refused("has `.` or `..` for a name"),
                _ if name.len() > NAME_BYTES_MAX => {
                    return refused("has a name longer than 255 bytes");
                }
                _ if name.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c)) => {
                    return refused("has a character that not every file system allows in names");
                }
                // Windows drops it, and would find another file.
                _ if name.ends_with(['.', ' ']) => {
                    return refused("has a name that ends with a dot or a space");
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A text that is no [`StoragePath`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{path}` {why}")]
pub struct StoragePathError {
    path: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_out_of_the_root_is_refused() {
        let long = "a".repeat(256);
        let deep = "ab/".repeat(400) + "c";
        let refused = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "C:\\a",
            "c:a",
            "a\\..\\b",
            "a.",
            "a ",
            &long,
            &deep,
        ];
        for text in refused {
            assert!(text.parse::<StoragePath>().is_err(), "{text:?}");
        }
        for text in ["a", "a/b/c", ".hidden", "a..b", "...a", "Straße", &long[..255]] {
            assert_eq!(text.parse::<StoragePath>().expect(text).as_str(), text);
        }
    }

    #[test]
    fn a_path_knows_its_parts() {
        let path: StoragePath = "a/b/c".parse().unwrap();
        assert_eq!((path.parent().as_str(), path.name()), ("a/b", "c"));
        assert_eq!(path.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(path.with_suffix(".new").unwrap().as_str(), "a/b/c.new");
        assert_eq!(StoragePath::root().parent(), StoragePath::root());
        assert_eq!(StoragePath::root().names().count(), 0);
        assert!(StoragePath::root().join("..").is_err());
        assert!(path.join("").is_err());
        assert!(path.join("/d").is_err());
    }
}
