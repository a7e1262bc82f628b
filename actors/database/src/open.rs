//! Reaching a database for the first time.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AnyConnection, Connection, Executor, Row};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::options::DatabaseOptions;
use crate::refusal;
use crate::url::{Access, DatabaseKind, DatabaseUrl, UrlError};

/// Why a database is not open. No text has the password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not the URL of a database.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// SQLite's file could not be made, or a directory above it.
    #[error("{} could not be made: {why}", path.display())]
    File {
        /// What could not be made.
        path: PathBuf,
        /// The system's reason.
        #[source]
        why: io::Error,
    },
    /// It was not to be reached in time.
    #[error("{url} was not reached in {within:?}: {}", last(why))]
    NoAnswer {
        /// The database.
        url: DatabaseUrl,
        /// How long it was tried.
        within: Duration,
        /// Why not, where it said something.
        #[source]
        why: Option<sqlx::Error>,
    },
    /// The server has not proven that it is the right one, or has no TLS.
    #[error(
        "{url} is not trusted: {why}; a server elsewhere needs a certificate for its host name, of an \
         authority that `sslrootcert=FILE` names, or, in a network that you trust, `sslmode=disable`"
    )]
    Untrusted {
        /// The database.
        url: DatabaseUrl,
        /// What is wrong.
        #[source]
        why: sqlx::Error,
    },
    /// It refuses: a wrong password, an unknown database, a file that is none of SQLite's.
    #[error("{url} refuses: {why}")]
    Refused {
        /// The database.
        url: DatabaseUrl,
        /// Why.
        #[source]
        why: sqlx::Error,
    },
}

fn last(why: &Option<sqlx::Error>) -> String {
    why.as_ref().map_or_else(|| "it does not answer".into(), ToString::to_string)
}

impl OpenError {
    pub(crate) fn refused(url: &DatabaseUrl, why: sqlx::Error) -> Self {
        let url = url.clone();
        match why {
            why @ sqlx::Error::Tls(_) => Self::Untrusted { url, why },
            // Of a handshake with rustls, which the driver takes for a broken connection.
            sqlx::Error::Io(why) if why.kind() == ErrorKind::InvalidData => {
                Self::Untrusted { url, why: sqlx::Error::Io(why) }
            }
            why => Self::Refused { url, why },
        }
    }
}

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Returns when the database has answered a query; again and again where it may be starting still.
pub(crate) async fn reach(options: &DatabaseOptions) -> Result<(), OpenError> {
    let url = &options.url;
    if let (Some(path), Some(Access::Create)) = (url.path(), url.access()) {
        create(path)?;
    }
    let within = options.open_within;
    let deadline = Instant::now() + within;
    let (mut pause, longest) = PAUSES;
    let mut last = None;
    loop {
        match timeout_at(deadline, greet(url)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) if !refusal::is_passing(&why) => return Err(OpenError::refused(url, why)),
            Ok(Err(why)) => last = Some(why),
            Err(_) => return Err(OpenError::NoAnswer { url: url.clone(), within, why: last }),
        }
        if Instant::now() + pause >= deadline {
            return Err(OpenError::NoAnswer { url: url.clone(), within, why: last });
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn greet(url: &DatabaseUrl) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(&url.connect()?).await?;
    if url.access().is_some_and(|access| access != Access::Read) {
        // It stays so for the file. Who changes it does not wait for the lock, so it is tried again here.
        let row = connection.fetch_one("PRAGMA journal_mode = WAL").await?;
        let mode: String = row.try_get(0)?;
        if !mode.eq_ignore_ascii_case("wal") {
            tracing::warn!(%url, mode, "this file has no WAL mode: who reads waits for who writes");
        }
    }
    connection.fetch_one(question(url.kind())).await?;
    connection.close().await
}

/// What is asked to see that a database answers: SQLite looks into its file for it.
pub(crate) fn question(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Sqlite => "SELECT COUNT(*) FROM sqlite_schema",
        DatabaseKind::Postgres => "SELECT 1",
    }
}

/// Makes the file and what is above it, for their owner only, as everything that is made here; SQLite would make
/// it as the umask has it, and gives the files beside it the same permissions.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |why| OpenError::File { path, why }
    };
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory).map_err(failed(directory))?;
    }
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Err(why) if why.kind() != ErrorKind::AlreadyExists => Err(failed(path)(why)),
        _ => Ok(()),
    }
}
