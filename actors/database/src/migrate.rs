//! Bringing a module's schema up to date.

mod error;
mod plan;

use sqlx::{AnyConnection, AssertSqlSafe, Executor};
use tokio::time::{Instant, sleep};

pub use self::error::MigrateError;
pub use self::plan::{MIGRATIONS_MAX, NAME_BYTES_MAX, SQL_BYTES_MAX};

use self::plan::{Next, Noted, Plan};
use crate::database::{AcquireError, Database};
use crate::migration::Migration;
use crate::refusal;
use crate::transaction::Transaction;
use crate::url::DatabaseKind;

/// What [`Database::migrate`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The numbers of those that ran now, in order.
    pub ran: Vec<u32>,
    /// The last that has run, now or earlier.
    pub version: Option<u32>,
    /// The numbers of those that have run and that the module does not have, in order: a newer one has been
    /// here, or still is. None where that is [refused](crate::DatabaseOptions::ahead).
    pub ahead: Vec<u32>,
}

/// Where it is noted what has run. The time is the database's, for people to read.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS umbel_migrations (
    module TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    ran_at TEXT NOT NULL DEFAULT (CAST(CURRENT_TIMESTAMP AS TEXT)),
    PRIMARY KEY (module, version)
)";

/// PostgreSQL's lock for who migrates: "umbel-mi" as a number.
const LOCK: i64 = i64::from_be_bytes(*b"umbel-mi");

/// How long SQLite's lock is left to others between two attempts to get it.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

impl Database {
    /// Runs those of a module's migrations that have not run on this database, in order, each in a transaction
    /// of its own together with the note that it has run (in the table `umbel_migrations`, by module and
    /// number).
    ///
    /// Of several programs that migrate at the same time, one does, and the others wait for it, at most
    /// [so long](crate::DatabaseOptions::migrate_within) for each migration. A migration that fails leaves
    /// nothing of itself; those before it stand, and the next call goes on behind them. It may be given up by
    /// dropping the future, which is the same.
    ///
    /// A module has at most [`MIGRATIONS_MAX`] of them, with at most [`SQL_BYTES_MAX`] each. New ones have
    /// higher numbers, and none that has run is changed or taken away: that is refused.
    ///
    /// A program that is behind the database is let through: all that it has has run unchanged, and others
    /// after that. So it is while versions of a program take over from one another, and when one has gone
    /// back to the version before; a warning tells it, and [`Migrated::ahead`]. **The code before a migration
    /// must therefore live with the schema after it**: add tables, and columns that are nullable or have a
    /// default; drop or rename what is not used any more only when no program that uses it will come back.
    /// Where that cannot be, [`Ahead::Refuse`](crate::Ahead::Refuse) keeps those out that are behind.
    pub async fn migrate(
        &self,
        module: &str,
        migrations: &[Migration],
    ) -> Result<Migrated, MigrateError> {
        let plan = Plan::new(module, migrations, self.kind())?;
        let mut migrated = Migrated::default();
        loop {
            // What has run is read anew each time under the lock: others may have gone on in between.
            let mut transaction = self.begin_migrating(module).await?;
            let bookkeeping = |why| MigrateError::Bookkeeping { module: module.into(), why };
            transaction.execute(TABLE).await.map_err(bookkeeping)?;
            let noted = noted(&mut transaction, module).await.map_err(bookkeeping)?;
            migrated.version = noted.last().map(Noted::version);
            let Next { migration, ahead } = plan.next(&noted, self.options().ahead)?;
            let Some(migration) = migration else {
                migrated.ahead = ahead.iter().map(Noted::version).collect();
                if !ahead.is_empty() {
                    let ahead = &migrated.ahead;
                    tracing::warn!(module, ?ahead, "the database is ahead of the module");
                }
                transaction.commit().await.map_err(bookkeeping)?;
                return Ok(migrated);
            };
            self.run(module, migration, transaction).await?;
            tracing::info!(module, %migration, "migrated the database");
            migrated.ran.push(migration.version());
        }
    }

    /// A transaction that others who migrate wait for.
    async fn begin_migrating(&self, module: &str) -> Result<Transaction, MigrateError> {
        let within = self.options().migrate_within;
        let locked = || MigrateError::Locked { module: module.into(), within };
        let failed = |why| MigrateError::Acquire { module: module.into(), why };
        if self.kind() == DatabaseKind::Sqlite {
            let deadline = Instant::now() + within;
            loop {
                match self.begin().await {
                    Err(AcquireError::Locked) if Instant::now() + PAUSE < deadline => {
                        sleep(PAUSE).await;
                    }
                    Err(AcquireError::Locked) => return Err(locked()),
                    begun => return begun.map_err(failed),
                }
            }
        }
        // However the server is set up: who waits for the lock must see what was done under it.
        let begun = self.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", None).await;
        let mut transaction = begun.map_err(failed)?;
        match lock(&mut transaction, within.as_millis()).await {
            Ok(()) => Ok(transaction),
            Err(why) if refusal::is_lock_timeout(&why) => Err(locked()),
            Err(why) => Err(MigrateError::Bookkeeping { module: module.into(), why }),
        }
    }

    async fn run(
        &self,
        module: &str,
        migration: &Migration,
        mut transaction: Transaction,
    ) -> Result<(), MigrateError> {
        let (version, name) = (migration.version(), migration.name());
        let failed = |why| MigrateError::Failed { module: module.into(), version, name, why };
        // It is gone where the migration has ended the transaction.
        transaction.execute("SAVEPOINT umbel_migration").await.map_err(failed)?;
        let sql = sqlx::raw_sql(migration.sql(self.kind()));
        transaction.execute(sql).await.map_err(failed)?;
        if transaction.execute("RELEASE SAVEPOINT umbel_migration").await.is_err() {
            return Err(MigrateError::Ends { module: module.into(), version, name });
        }
        let note = "INSERT INTO umbel_migrations (module, version, name, checksum)
                    VALUES ($1, $2, $3, $4)";
        let note = sqlx::query(note)
            .bind(module.to_owned())
            .bind(i64::from(version))
            .bind(name)
            .bind(migration.checksum(self.kind()));
        note.execute(&mut *transaction).await.map_err(failed)?;
        match transaction.commit().await {
            Err(why) if refusal::is_broken(&why) => {
                Err(MigrateError::Unsure { module: module.into(), version, name, why })
            }
            committed => committed.map_err(failed),
        }
    }
}

async fn lock(connection: &mut AnyConnection, millis: u128) -> Result<(), sqlx::Error> {
    // 0 would be no bound; more than this is refused.
    let millis = millis.clamp(1, i32::MAX as u128);
    connection.execute(AssertSqlSafe(format!("SET LOCAL lock_timeout = {millis}"))).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    connection.execute("SET LOCAL lock_timeout TO DEFAULT").await?;
    Ok(())
}

async fn noted(connection: &mut AnyConnection, module: &str) -> Result<Vec<Noted>, sqlx::Error> {
    // One more than there may be is enough to see that there are too many.
    let rows = sqlx::query_as::<_, (i64, String, String)>(
        "SELECT version, name, checksum FROM umbel_migrations WHERE module = $1
         ORDER BY version LIMIT $2",
    );
    let rows = rows.bind(module.to_owned()).bind(MIGRATIONS_MAX as i64 + 1);
    let rows = rows.fetch_all(&mut *connection).await?;
    let note = |(version, name, checksum)| {
        let version = u32::try_from(version).map_err(|why| sqlx::Error::Decode(Box::new(why)))?;
        Ok(Noted::new(version, name, checksum))
    };
    rows.into_iter().map(note).collect()
}
