//! How a database is used.

use std::time::Duration;

use crate::url::DatabaseUrl;

/// How a database is used. Bounds that are zero count as one, and one millisecond.
///
/// ```
/// # use umbel_database::{DatabaseOptions, UrlError};
/// # fn main() -> Result<(), UrlError> {
/// let mut options = DatabaseOptions::new("sqlite:shop.db".parse()?);
/// options.connections_max = 4;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseOptions {
    /// Where it is.
    pub url: DatabaseUrl,
    /// How many connections are open at once; who wants one more waits. One where it is in memory.
    /// SQLite lets one write at a time, however many there are. Default: 10, as sqlx has it.
    pub connections_max: u32,
    /// How long one waits for a connection, the making of a new one included. Default: 5 s.
    pub acquire_within: Duration,
    /// How long [`Database::open`](crate::Database::open) tries to reach a server that refuses, or a file that
    /// is locked, for it may be starting as well. Default: 10 s.
    pub open_within: Duration,
    /// After how long without use a connection is closed. Default: 10 minutes, as sqlx has it.
    pub idle_max: Duration,
    /// After how long a connection is closed when it is given back. Default: 30 minutes, as sqlx has it.
    pub age_max: Duration,
    /// How long a transaction or a statement waits while another connection writes; SQLite only. Default:
    /// 5 s, as sqlx has it.
    pub busy_within: Duration,
    /// How long [`Database::migrate`](crate::Database::migrate) waits while another process migrates.
    /// Default: 60 s.
    pub migrate_within: Duration,
    /// What [`Database::migrate`](crate::Database::migrate) does with a module that is behind the database.
    /// Default: [`Ahead::Accept`].
    pub ahead: Ahead,
    /// How long [`Database::health`](crate::Database::health) waits for an answer. Default: 2 s.
    pub health_within: Duration,
    /// How long [`Database::close`](crate::Database::close) waits for connections that are in use.
    /// Default: 5 s, OTP's time for a shutdown.
    pub close_within: Duration,
}

impl DatabaseOptions {
    /// The defaults, for a database at this place.
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            connections_max: 10,
            acquire_within: Duration::from_secs(5),
            open_within: Duration::from_secs(10),
            idle_max: Duration::from_secs(600),
            age_max: Duration::from_secs(1800),
            busy_within: Duration::from_secs(5),
            migrate_within: Duration::from_secs(60),
            ahead: Ahead::Accept,
            health_within: Duration::from_secs(2),
            close_within: Duration::from_secs(5),
        }
    }

    /// The same, without zeros where there must be something.
    pub(crate) fn sane(mut self) -> Self {
        self.connections_max = self.connections_max.max(1);
        if self.url.is_memory() {
            self.connections_max = 1;
        }
        for span in [
            &mut self.acquire_within,
            &mut self.open_within,
            &mut self.idle_max,
            &mut self.age_max,
            &mut self.busy_within,
            &mut self.migrate_within,
            &mut self.health_within,
            &mut self.close_within,
        ] {
            *span = (*span).max(Duration::from_millis(1));
        }
        self
    }
}

/// What is done where the database is ahead of a module: all migrations of the module have run, unchanged, and
/// after them some that it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ahead {
    /// The module is let through, with a warning, as rolling upgrades and the way back need it. Its code must
    /// live with the newer schema.
    #[default]
    Accept,
    /// The module is refused, with [`MigrateError::Unknown`](crate::MigrateError::Unknown).
    Refuse,
}

impl From<DatabaseUrl> for DatabaseOptions {
    fn from(url: DatabaseUrl) -> Self {
        Self::new(url)
    }
}
