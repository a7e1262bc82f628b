//! One step of a module's schema.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::url::DatabaseKind;

/// One step of a module's schema, which runs once on each database.
///
/// ```
/// use umbel_database::Migration;
///
/// const MIGRATIONS: &[Migration] = &[
///     Migration::new(1, "items", "CREATE TABLE item (name TEXT PRIMARY KEY, price BIGINT NOT NULL)"),
///     Migration::new(2, "pictures", "CREATE TABLE picture (item TEXT NOT NULL, png BLOB NOT NULL)")
///         .on_postgres("CREATE TABLE picture (item TEXT NOT NULL, png BYTEA NOT NULL)"),
/// ];
/// ```
///
/// Its SQL may be several statements. It begins and ends no transaction, for it runs in one, with the note
/// that it has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
    on_postgres: Option<&'static str>,
}

impl Migration {
    /// A step by its number, from 1 and ascending in a module, a few words on what it does, and its SQL.
    pub const fn new(version: u32, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql, on_postgres: None }
    }

    /// Other SQL for PostgreSQL, where there is none for both.
    #[must_use]
    pub const fn on_postgres(mut self, sql: &'static str) -> Self {
        self.on_postgres = Some(sql);
        self
    }

    /// Its number.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What it does.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its SQL for this database.
    pub const fn sql(&self, kind: DatabaseKind) -> &'static str {
        match (kind, self.on_postgres) {
            (DatabaseKind::Postgres, Some(sql)) => sql,
            _ => self.sql,
        }
    }

    /// What is noted of its SQL: SHA-256, in hexadecimal. Line ends count as one, however they are written,
    /// for some checkouts change them.
    pub(crate) fn checksum(&self, kind: DatabaseKind) -> String {
        let sql = self.sql(kind).replace("\r\n", "\n");
        Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.name)
    }
}
