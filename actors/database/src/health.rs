//! Whether a database answers.

use std::time::Duration;

use sqlx::Executor;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::database::{AcquireError, Database};
use crate::open::question;

/// A database that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// How long the answer took, the waiting for a connection included.
    pub took: Duration,
    /// How many connections are open.
    pub connections: u32,
    /// How many of them nobody uses.
    pub idle: u32,
}

/// Why a database is not well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HealthError {
    /// There is no connection to ask it over.
    #[error(transparent)]
    Acquire(AcquireError),
    /// It did not answer in time.
    #[error("the database has not answered in {waited:?}")]
    NoAnswer {
        /// How long it was waited for.
        waited: Duration,
    },
    /// It answered with an error.
    #[error("the database is not well: {0}")]
    Unwell(#[source] sqlx::Error),
}

impl Database {
    /// Asks the database something small, and has an answer [in time](crate::DatabaseOptions::health_within)
    /// or an error. It only reads: a SQLite file that others write to is well, one that nobody may read is
    /// not.
    pub async fn health(&self) -> Result<Health, HealthError> {
        let began = Instant::now();
        let waited = self.options().health_within;
        let deadline = began + waited;
        let mut connection = match timeout_at(deadline, self.pool().acquire()).await {
            Ok(connection) => connection.map_err(|why| HealthError::Acquire(self.why_not(why)))?,
            Err(_) => return Err(HealthError::Acquire(self.nobody_came(waited))),
        };
        match timeout_at(deadline, connection.fetch_one(question(self.kind()))).await {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Err(HealthError::Unwell(why)),
            Err(_) => return Err(HealthError::NoAnswer { waited }),
        }
        drop(connection);
        Ok(Health {
            took: began.elapsed(),
            connections: self.pool().size(),
            idle: u32::try_from(self.pool().num_idle()).unwrap_or(u32::MAX),
        })
    }
}
