//! One database for a runtime, by URL.

mod database;
mod health;
mod migrate;
mod migration;
mod open;
mod options;
mod refusal;
mod url;

pub use database::{AcquireError, CloseError, Database};
pub use health::{Health, HealthError};
pub use migrate::{MIGRATIONS_MAX, MigrateError, Migrated, NAME_BYTES_MAX, SQL_BYTES_MAX};
pub use migration::Migration;
pub use open::OpenError;
pub use options::DatabaseOptions;
/// What queries are written with, in the version that is used here.
pub use sqlx;
pub use url::{DatabaseKind, DatabaseUrl, UrlError};
