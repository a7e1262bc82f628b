//! Which migration is next: from what a module has, and what was noted.

use super::error::MigrateError;
use crate::migration::Migration;
use crate::options::Ahead;
use crate::url::DatabaseKind;

/// How many migrations a module has at most.
pub const MIGRATIONS_MAX: usize = 10_000;

/// How long the name of a module or of a migration is at most, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// How long the SQL of a migration is at most, in bytes: 1 MiB.
pub const SQL_BYTES_MAX: usize = 1 << 20;

/// What the database knows of a migration that has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    version: u32,
    name: String,
    checksum: String,
}

impl Noted {
    pub(super) fn new(version: u32, name: String, checksum: String) -> Self {
        Self { version, name, checksum }
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }
}

/// What follows from what has run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next<'a, 'b> {
    /// The next to run.
    pub(super) migration: Option<&'a Migration>,
    /// What has run beyond the module's own last.
    pub(super) ahead: &'b [Noted],
}

/// What a module has, in order.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    module: &'a str,
    migrations: &'a [Migration],
    kind: DatabaseKind,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        module: &'a str,
        migrations: &'a [Migration],
        kind: DatabaseKind,
    ) -> Result<Self, MigrateError> {
        check(module, migrations, kind).map_err(|why| MigrateError::List {
            module: module.chars().filter(|it| !it.is_control()).take(NAME_BYTES_MAX).collect(),
            why,
        })?;
        Ok(Self { module, migrations, kind })
    }

    /// What follows from those that have run, which are in order. Where the module's own have all run as they
    /// are, others may have run after them.
    pub(super) fn next<'b>(
        &self,
        noted: &'b [Noted],
        ahead: Ahead,
    ) -> Result<Next<'a, 'b>, MigrateError> {
        let module = || self.module.to_owned();
        let own_last = self.migrations.last().map_or(0, Migration::version);
        let (own, beyond) = noted.split_at(noted.partition_point(|ran| ran.version <= own_last));
        let unknown = |ran: &Noted| MigrateError::Unknown {
            module: module(),
            version: ran.version,
            name: ran.name.clone(),
        };
        for ran in own {
            let found = self.migrations.binary_search_by_key(&ran.version, Migration::version);
            let index = found.map_err(|_| unknown(ran))?;
            let migration = &self.migrations[index];
            if migration.checksum(self.kind) != ran.checksum {
                return Err(MigrateError::Changed {
                    module: module(),
                    version: ran.version,
                    name: migration.name(),
                });
            }
        }
        let last = noted.last().map_or(0, Noted::version);
        let has_run = |it: &Migration| noted.binary_search_by_key(&it.version(), Noted::version);
        match self.migrations.iter().find(|it| has_run(it).is_err()) {
            Some(late) if late.version() < last => Err(MigrateError::Late {
                module: module(),
                version: late.version(),
                name: late.name(),
                last,
            }),
            migration => match beyond.first() {
                Some(ran) if ahead == Ahead::Refuse => Err(unknown(ran)),
                _ => Ok(Next { migration, ahead: beyond }),
            },
        }
    }
}

fn check(module: &str, migrations: &[Migration], kind: DatabaseKind) -> Result<(), String> {
    let named = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control)
    };
    if !named(module) {
        return Err(format!(
            "a module's name has 1 to {NAME_BYTES_MAX} bytes, none of them control"
        ));
    }
    if migrations.len() > MIGRATIONS_MAX {
        return Err(format!("there are more than {MIGRATIONS_MAX}"));
    }
    let mut last = 0;
    for migration in migrations {
        let version = migration.version();
        if version == 0 {
            return Err("numbers begin at 1".into());
        }
        if version <= last {
            return Err(format!("numbers ascend, but {version} follows {last}"));
        }
        if !named(migration.name()) {
            return Err(format!("the name of {version} has not 1 to {NAME_BYTES_MAX} bytes"));
        }
        let sql = migration.sql(kind);
        if sql.trim().is_empty() || sql.len() > SQL_BYTES_MAX || sql.contains('\0') {
            return Err(format!("the SQL of {version} has not 1 to {SQL_BYTES_MAX} bytes of text"));
        }
        last = version;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
