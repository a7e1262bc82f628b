//! Modules with a database.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::impatient;
use umbel_database::{Database, Migration, sqlx};
use umbel_modules::{
    ConfigFormat, Failure, Module, ModuleContext, Needs, Registration, Runtime, RuntimeConfig,
};

const CATALOG: &[Migration] = &[
    Migration::new(1, "items", "CREATE TABLE item (name TEXT PRIMARY KEY, cents BIGINT NOT NULL)"),
    Migration::new(2, "tea", "INSERT INTO item (name, cents) VALUES ('tea', 450)"),
];

/// Needs what the catalog's migrations have made.
const ORDERING: &[Migration] =
    &[Migration::new(1, "orders", "CREATE TABLE orders AS SELECT name FROM item")];

struct Tables {
    name: &'static str,
    requires: &'static [&'static str],
    migrations: &'static [Migration],
    starts: bool,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Module for Tables {
    fn name(&self) -> &str {
        self.name
    }

    fn requires(&self) -> &[&str] {
        self.requires
    }

    fn migrations(&self) -> &[Migration] {
        self.migrations
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        module.database()?;
        Ok(())
    }

    async fn on_startup(&self, context: &ModuleContext) -> Result<(), Failure> {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let tables: Vec<String> =
            sqlx::query_scalar(tables).fetch_all(context.database()?.pool()).await?;
        self.seen.lock().push(format!("{}: {}", self.name, tables.join(" ")));
        if self.starts { Ok(()) } else { Err(Failure::new("not today")) }
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

fn tables(
    name: &'static str,
    requires: &'static [&'static str],
    migrations: &'static [Migration],
    seen: &Seen,
) -> impl Fn() -> Tables + use<> {
    let seen = seen.clone();
    move || Tables { name, requires, migrations, starts: true, seen: seen.clone() }
}

fn at(directory: &tempfile::TempDir) -> RuntimeConfig {
    let url = format!("sqlite:{}", directory.path().join("shop.db").display());
    let config = format!("[database]\nurl = {url:?}");
    RuntimeConfig::parse(&config, ConfigFormat::Toml, []).unwrap()
}

#[tokio::test]
async fn migrations_run_once_and_after_those_of_what_is_required() {
    let (directory, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    for _ in 0..2 {
        let runtime = Runtime::builder("shop")
            .module(tables("ordering", &["catalog"], ORDERING, &seen))
            .module(tables("catalog", &[], CATALOG, &seen))
            .config(at(&directory))
            .start()
            .await
            .unwrap();
        runtime.reload("catalog").await.unwrap();
        let database = runtime.database().unwrap().clone();
        let items: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM item")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(items, 1);
        assert!(runtime.shutdown(std::time::Duration::from_secs(5)).await);
        assert!(database.is_closed(), "the runtime has opened it");
    }
    let first = seen.lock().iter().take(2).cloned().collect::<Vec<_>>();
    assert_eq!(first, ["catalog: item umbel_migrations", "ordering: item orders umbel_migrations"]);
}

#[tokio::test]
async fn a_migration_that_fails_keeps_its_module_from_loading_and_no_other() {
    const BROKEN: &[Migration] = &[Migration::new(1, "nonsense", "CREATE NONSENSE")];
    let (directory, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let runtime = Runtime::builder("shop")
        .module(tables("catalog", &[], CATALOG, &seen))
        .config(at(&directory))
        .start()
        .await
        .unwrap();
    let why = runtime.load(tables("ordering", &[], BROKEN, &seen)).await.unwrap_err().to_string();
    assert!(why.contains("ordering") && why.contains("nonsense"), "{why}");
    assert_eq!(runtime.modules().len(), 1);
    runtime.load(tables("ordering", &[], ORDERING, &seen)).await.unwrap();
}

#[tokio::test]
async fn after_an_upgrade_that_was_rolled_back_the_old_version_can_be_reloaded() {
    const LATER: &[Migration] = &[
        CATALOG[0],
        CATALOG[1],
        Migration::new(3, "more", "ALTER TABLE item ADD COLUMN stock BIGINT NOT NULL DEFAULT 0"),
    ];
    let (directory, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let runtime = Runtime::builder("shop")
        .module(tables("catalog", &[], CATALOG, &seen))
        .config(at(&directory))
        .options(impatient())
        .start()
        .await
        .unwrap();
    let new = tables("catalog", &[], LATER, &seen);
    let why = runtime.upgrade("catalog", move || Tables { starts: false, ..new() }).await;
    assert!(why.unwrap_err().to_string().contains("not today"));
    runtime.reload("catalog").await.unwrap();
    assert_eq!(runtime.modules()[0].generation, 3);
}

#[tokio::test]
async fn a_database_that_was_handed_in_is_used_and_stays_open() {
    struct Curious;
    impl Module for Curious {
        fn name(&self) -> &str {
            "curious"
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            module.database()?;
            Ok(())
        }
    }
    struct Modest;
    impl Module for Modest {
        fn name(&self) -> &str {
            "modest"
        }
        fn needs(&self) -> Needs {
            Needs::database()
        }
        fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
            module.database()?;
            Ok(())
        }
    }
    let database = Database::open("sqlite::memory:").await.unwrap();
    let builder = Runtime::builder("shop").module(|| Modest).database(database.clone());
    let runtime = builder.start().await.unwrap();
    // It would find none in a process of its own.
    let why = runtime.load(|| Curious).await.unwrap_err().to_string();
    assert!(why.contains("does not say that it needs one"), "{why}");
    runtime.shutdown(std::time::Duration::from_secs(5)).await;
    assert!(!database.is_closed());
    database.health().await.unwrap();
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_told_before_any_module_starts() {
    let seen = Seen::default();
    let config = "[database]\nurl = 'sqlite:/dev/null/shop.db'";
    let config = RuntimeConfig::parse(config, ConfigFormat::Toml, []).unwrap();
    let started = Runtime::builder("shop")
        .module(tables("catalog", &[], CATALOG, &seen))
        .config(config)
        .start()
        .await;
    let why = started.unwrap_err().to_string();
    assert!(why.starts_with("the runtime's database cannot be used"), "{why}");
    assert_eq!(seen.lock().len(), 0);
}
