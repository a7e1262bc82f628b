use std::time::Duration;

use thiserror::Error;

use crate::database::AcquireError;

/// Why a module's schema is not up to date. Migrations before the one that is named have run, and stand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The list itself is wrong. Nothing was done.
    #[error("the migrations of module '{module}' are wrong: {why}")]
    List {
        /// The module.
        module: String,
        /// What is wrong.
        why: String,
    },
    /// One that has run is another now. It has not run again.
    #[error(
        "migration {version} ({name}) of module '{module}' was changed after it has run on this \
         database: put it back, and add what is new as a migration of its own"
    )]
    Changed {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name here.
        name: &'static str,
    },
    /// One that this program does not have has run before its own last, or after it where that is
    /// [refused](crate::DatabaseOptions::ahead). Nothing was done.
    #[error(
        "migration {version} ({name}) of module '{module}' has run on this database, but this program \
         does not have it: another one has been here; run that one"
    )]
    Unknown {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name, as was noted.
        name: String,
    },
    /// One that has not run comes before one that has. It was not run.
    #[error(
        "migration {version} ({name}) of module '{module}' has not run, but {last} has: give it a \
         higher number"
    )]
    Late {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name.
        name: &'static str,
        /// The last that has run.
        last: u32,
    },
    /// Another program migrates, or writes to SQLite's file, and was not done in time. Nothing was done.
    #[error(
        "module '{module}' was not migrated: another program has the lock still after {within:?}"
    )]
    Locked {
        /// The module.
        module: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// It failed, and left nothing of itself.
    #[error("migration {version} ({name}) of module '{module}' failed, and left nothing: {why}")]
    Failed {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name.
        name: &'static str,
        /// The database's reason.
        #[source]
        why: sqlx::Error,
    },
    /// It ended the transaction that it ran in. What it did until then stands, and it is not noted.
    #[error(
        "migration {version} ({name}) of module '{module}' ends the transaction that it runs in, so \
         part of it stands: take COMMIT and ROLLBACK out of it, and mend the database"
    )]
    Ends {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name.
        name: &'static str,
    },
    /// The connection broke while it was committed: it has run as a whole, or not at all. The next call finds
    /// out.
    #[error(
        "migration {version} ({name}) of module '{module}' has run or has not, for the connection broke: \
         {why}; migrate again"
    )]
    Unsure {
        /// The module.
        module: String,
        /// The migration's number.
        version: u32,
        /// Its name.
        name: &'static str,
        /// What broke it.
        #[source]
        why: sqlx::Error,
    },
    /// There was no connection. Nothing was done.
    #[error("module '{module}' was not migrated: {why}")]
    Acquire {
        /// The module.
        module: String,
        /// Why not.
        #[source]
        why: AcquireError,
    },
    /// What has run could not be read or noted. Nothing was done.
    #[error("module '{module}' was not migrated, for what has run could not be looked up: {why}")]
    Bookkeeping {
        /// The module.
        module: String,
        /// The database's reason.
        #[source]
        why: sqlx::Error,
    },
}
