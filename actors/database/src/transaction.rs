//! Changes that are made together, or not at all.

use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx::{Any, AnyConnection};
use tokio::sync::OwnedSemaphorePermit;

/// Changes that are made together when it is committed, and not at all where it is dropped before.
///
/// Queries run on `&mut *transaction`, as on sqlx's own.
///
/// ```
/// # use umbel_database::{Database, sqlx};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let database = Database::open("sqlite::memory:").await?;
/// # sqlx::query("CREATE TABLE item (name TEXT, left_over BIGINT)").execute(database.pool()).await?;
/// let mut transaction = database.begin().await?;
/// let take = sqlx::query("UPDATE item SET left_over = left_over - $1 WHERE name = $2");
/// take.bind(2_i64).bind("tea").execute(&mut *transaction).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    /// SQLite's turn to write, which is over after what is above it.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Transaction {
    pub(crate) fn new(
        inner: sqlx::Transaction<'static, Any>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { inner, _turn: turn }
    }

    /// Makes the changes. Where the connection breaks meanwhile, they are made or not, as a whole.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await
    }

    /// Makes none of them, and returns when that is so; what is dropped does the same in the background.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}
