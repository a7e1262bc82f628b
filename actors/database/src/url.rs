//! Where a database is.

mod postgres;
mod sqlite;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use thiserror::Error;

/// Which database it is. What SQL both understand is told [there](crate#sql-for-both).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatabaseKind {
    /// SQLite, in this process: no server is needed.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Where a database is. It keeps a password to itself: neither `Debug`, nor `Display`, nor an error has
/// it.
///
/// | URL | is |
/// |---|---|
/// | `sqlite:shop.db`, `sqlite:///var/lib/shop/shop.db` | a file, which is made where it is not there |
/// | `sqlite:shop.db?mode=rw` | a file that must be there; `ro` reads only, `rwc` is the default |
/// | `sqlite::memory:` | a database that is gone when it is closed, over one connection |
/// | `postgres://user:password@host:5432/database` | a server |
/// | `postgres:///database?host=/run/postgresql&user=user` | a server on this machine, by its socket's directory |
///
/// What is special in a URL (`%`, `?`, `#`, `@`, `/` in a password) is written as `%25` and so on.
///
/// A server may be asked for with `sslmode` (`disable`, `prefer`, `require`, `verify-ca`,
/// `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `host`, `hostaddr`, `port`, `dbname`, `user`,
/// `password`, `application_name` and `options`, as in libpq; anything else is refused. Where nothing is
/// said of `sslmode`, it is **`verify-full`**, but for a server on this machine (a socket, `localhost`, a
/// loopback address), where it is `prefer`. Certificates are checked against Mozilla's authorities and those
/// in `sslrootcert`. A password that is not in the URL is taken from `PGPASSWORD`, else from the file that
/// `PGPASSFILE` names, else from `~/.pgpass`.
///
/// ```
/// use umbel_database::{DatabaseKind, DatabaseUrl};
///
/// let url: DatabaseUrl = "postgres://shop:secret@db.example.org/shop".parse()?;
/// assert_eq!(url.kind(), DatabaseKind::Postgres);
/// assert_eq!(url.to_string(), "postgres://shop@db.example.org/shop");
/// # Ok::<(), umbel_database::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    place: Place,
    /// What others may see of it.
    shown: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File {
        path: PathBuf,
        access: Access,
    },
    Memory,
    /// With all that the driver is to know, the password as well.
    Server(Box<::url::Url>),
}

/// What may be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Create,
    Write,
    Read,
}

/// Why something is not the URL of a database. No text repeats the URL, for there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin like a URL.
    #[error("a database is named by a URL: {KNOWN}")]
    NoScheme,
    /// There is no driver for it.
    #[error("there is no database {scheme}: name one by {KNOWN}")]
    Scheme {
        /// What it begins with.
        scheme: String,
    },
    /// It is SQLite's, and is wrong.
    #[error("a URL of SQLite {why}")]
    Sqlite {
        /// What is wrong, and what was expected.
        why: String,
    },
    /// It is PostgreSQL's, and is wrong.
    #[error("a URL of PostgreSQL {why}")]
    Postgres {
        /// What is wrong, and what was expected.
        why: String,
    },
}

const KNOWN: &str = "sqlite:FILE, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE";

/// What a scheme has at most that is repeated in an error.
const SCHEME_BYTES_MAX: usize = 32;

impl DatabaseUrl {
    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        match self.place {
            Place::File { .. } | Place::Memory => DatabaseKind::Sqlite,
            Place::Server(_) => DatabaseKind::Postgres,
        }
    }

    /// SQLite's file, which is made where it is not there.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        sqlite::file(path.into(), Access::Create)
    }

    /// A database of SQLite's in memory, as of `sqlite::memory:`.
    pub fn memory() -> Self {
        Self { place: Place::Memory, shown: "sqlite::memory:".into() }
    }

    /// SQLite's file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File { path, .. } => Some(path),
            Place::Memory | Place::Server(_) => None,
        }
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.place == Place::Memory
    }

    /// What may be done with SQLite's file, where it is one.
    pub(crate) fn access(&self) -> Option<Access> {
        match self.place {
            Place::File { access, .. } => Some(access),
            Place::Memory | Place::Server(_) => None,
        }
    }

    /// What sqlx connects by.
    pub(crate) fn connect(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        match &self.place {
            Place::File { path, access } => sqlite::connect(path, *access),
            Place::Memory => "sqlite::memory:".parse(),
            Place::Server(url) => sqlx::ConnectOptions::from_url(url),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::NoScheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite::parse(rest).map_err(|why| UrlError::Sqlite { why }),
            "postgres" | "postgresql" => {
                postgres::parse(text).map_err(|why| UrlError::Postgres { why })
            }
            // What has no slashes behind it may be a user, and what follows then a password.
            _ if !rest.starts_with("//") || scheme.len() > SCHEME_BYTES_MAX => {
                Err(UrlError::NoScheme)
            }
            _ => Err(UrlError::Scheme { scheme: scheme.escape_debug().to_string() }),
        }
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.shown).finish()
    }
}

impl<'de> serde::Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // As a secret: no error repeats what was there, whatever it was.
        let text = umbel_secret::Secret::deserialize(from)?;
        text.expose().parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
