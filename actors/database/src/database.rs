//! One database of a runtime.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection, Executor};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::open::{self, OpenError};
use crate::options::DatabaseOptions;
use crate::refusal;
use crate::transaction::Transaction;
use crate::url::{Access, DatabaseKind, DatabaseUrl};

/// One database of a runtime: a pool of connections, whichever database it is. A clone is the same one.
///
/// Queries are sqlx's, and run on the [`pool`](Database::pool), on a connection of its own
/// ([`acquire`](Database::acquire)), or in a transaction ([`begin`](Database::begin)).
#[derive(Clone)]
pub struct Database {
    options: Arc<DatabaseOptions>,
    pool: AnyPool,
    /// Whose turn it is to write, for SQLite lets one.
    turns: Arc<Semaphore>,
}

/// Why there is no connection. Nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The database was closed here.
    #[error("the database was closed")]
    Closed,
    /// There are as many connections as there may be.
    #[error(
        "no connection in {waited:?}: all {connections} are in use or being made; hold none while \
         you wait for something else, or raise `connections_max`"
    )]
    Exhausted {
        /// How many there may be.
        connections: u32,
        /// How long it was waited for one.
        waited: Duration,
    },
    /// There could be another connection, but the database lets none be made in time.
    #[error("no connection in {waited:?}: the database does not answer")]
    NoAnswer {
        /// How long it was waited for one.
        waited: Duration,
    },
    /// Another connection writes, and goes on for too long; SQLite only.
    #[error("another connection writes, and was not done in time: keep transactions short")]
    Locked,
    /// The way to the database is broken.
    #[error("the database was not reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The database refuses.
    #[error("the database refuses: {0}")]
    Refused(#[source] sqlx::Error),
}

/// Why the database is not closed in order: connections are still in use. It takes no more work all the same,
/// and is closed as they are given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{in_use} connections are in use still after {waited:?}")]
pub struct CloseError {
    /// How many are in use.
    pub in_use: u32,
    /// How long it was waited for them.
    pub waited: Duration,
}

impl Database {
    /// Opens the database at this [URL](DatabaseUrl), with the [defaults](DatabaseOptions). It is reached before
    /// this returns. SQLite's file, and the directories above it, are made where they are not there, for
    /// their owner only; the file is kept in WAL mode, so that reading goes on beside writing.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(DatabaseOptions::new(url.parse()?)).await
    }

    /// Opens a database.
    ///
    /// # Panics
    /// Where the program has called `sqlx::any::install_drivers`, with a choice of its own.
    pub async fn open_with(options: impl Into<DatabaseOptions>) -> Result<Self, OpenError> {
        let options = options.into().sane();
        sqlx::any::install_default_drivers();
        open::reach(&options).await?;
        let url = &options.url;
        let connect = url.connect().map_err(|why| OpenError::refused(url, why))?;
        let pool = pool_options(&options).connect_lazy_with(connect);
        tracing::debug!(url = %url, connections = options.connections_max, "opened a database");
        Ok(Self { options: Arc::new(options), pool, turns: Arc::new(Semaphore::new(1)) })
    }

    /// Which database it is, for SQL that only one of them understands.
    pub fn kind(&self) -> DatabaseKind {
        self.options.url.kind()
    }

    /// Where it is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.options.url
    }

    /// How it is used.
    pub fn options(&self) -> &DatabaseOptions {
        &self.options
    }

    /// What sqlx runs queries on: `query(..).execute(database.pool())`. (Its `connect_options` have the
    /// password in them.)
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// A connection, which goes back when it is dropped.
    pub async fn acquire(&self) -> Result<PoolConnection<Any>, AcquireError> {
        self.pool.acquire().await.map_err(|why| self.why_not(why))
    }

    /// A transaction, which is rolled back when it is dropped before it was committed.
    ///
    /// SQLite's takes the lock for writing at once (`BEGIN IMMEDIATE`): one that took it on its first write
    /// would fail there, at once, where another has written since it began to read. Who begins waits for
    /// those who began before, in order and without a connection, for
    /// [so long](DatabaseOptions::busy_within). PostgreSQL's is as the server has it, `READ COMMITTED` by
    /// default.
    pub async fn begin(&self) -> Result<Transaction, AcquireError> {
        let (statement, turn) = match self.kind() {
            DatabaseKind::Postgres => ("BEGIN", None),
            DatabaseKind::Sqlite if self.options.url.access() == Some(Access::Read) => {
                ("BEGIN", None)
            }
            DatabaseKind::Sqlite => ("BEGIN IMMEDIATE", Some(self.turn().await?)),
        };
        self.begin_with(statement, turn).await
    }

    pub(crate) async fn begin_with(
        &self,
        statement: &'static str,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Transaction, AcquireError> {
        let begun = self.pool.begin_with(statement).await;
        begun.map(|begun| Transaction::new(begun, turn)).map_err(|why| self.why_not(why))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        if self.is_closed() {
            return Err(AcquireError::Closed);
        }
        let turn = timeout(self.options.busy_within, self.turns.clone().acquire_owned()).await;
        Ok(turn.map_err(|_| AcquireError::Locked)?.expect("nobody closes the turns"))
    }

    /// Whether [`close`](Database::close) was called.
    pub fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    /// Takes no more work, and returns when all connections are closed, after
    /// [so long](DatabaseOptions::close_within) at the latest.
    pub async fn close(&self) -> Result<(), CloseError> {
        let waited = self.options.close_within;
        let closed = timeout(waited, self.pool.close()).await;
        closed.map_err(|_| CloseError { in_use: self.in_use(), waited })
    }

    /// How many connections somebody has, or is making.
    pub(crate) fn in_use(&self) -> u32 {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        self.pool.size().saturating_sub(idle)
    }

    /// Why a connection was not to be had for so long.
    pub(crate) fn nobody_came(&self, waited: Duration) -> AcquireError {
        let connections = self.options.connections_max;
        if self.in_use() >= connections {
            AcquireError::Exhausted { connections, waited }
        } else {
            AcquireError::NoAnswer { waited }
        }
    }

    pub(crate) fn why_not(&self, why: sqlx::Error) -> AcquireError {
        match why {
            sqlx::Error::PoolClosed => AcquireError::Closed,
            sqlx::Error::PoolTimedOut => self.nobody_came(self.options.acquire_within),
            why if refusal::is_locked(&why) => AcquireError::Locked,
            why if refusal::is_broken(&why) => AcquireError::Unreachable(why),
            why => AcquireError::Refused(why),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.options.url)
            .field("connections", &self.pool.size())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

fn pool_options(options: &DatabaseOptions) -> AnyPoolOptions {
    let pool = AnyPoolOptions::new()
        .max_connections(options.connections_max)
        .acquire_timeout(options.acquire_within);
    if options.url.is_memory() {
        // What is in memory is gone with its connection.
        return pool.idle_timeout(None).max_lifetime(None);
    }
    let pool = pool.idle_timeout(options.idle_max).max_lifetime(options.age_max);
    if options.url.kind() != DatabaseKind::Sqlite {
        return pool;
    }
    let busy = format!("PRAGMA busy_timeout = {}", options.busy_within.as_millis());
    pool.after_connect(move |connection, _| {
        let busy = sqlx::AssertSqlSafe(busy.clone());
        Box::pin(async move { connection.execute(busy).await.map(drop) })
    })
    // SQLite may end a transaction by itself (a full disk, `ON CONFLICT ROLLBACK`), or a statement does. The
    // driver fails to end it then, counts it as open, and begins none on this connection any more.
    .after_release(|connection, _| {
        Box::pin(async move {
            // Whatever is to be rolled back has been after this.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}
