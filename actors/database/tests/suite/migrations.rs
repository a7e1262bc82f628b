//! Migrations: once, in order, whole or not at all, whoever else migrates.

use std::time::Duration;

use umbel_database::sqlx::{self, Executor};
use umbel_database::{Ahead, Database, DatabaseKind, MigrateError, Migrated, Migration};

use crate::support::Fixture;

const ITEM: Migration = Migration::new(1, "items", "CREATE TABLE item (name TEXT PRIMARY KEY)");
const TEA: Migration = Migration::new(2, "tea", "INSERT INTO item (name) VALUES ('tea')");
const PRICE: Migration = Migration::new(
    4,
    "prices",
    "ALTER TABLE item ADD COLUMN price BIGINT; UPDATE item SET price = 250; -- a remark; and more",
);

pub(crate) async fn all(fixture: &Fixture) {
    they_run_once_and_in_order(fixture).await;
    modules_do_not_meet(fixture).await;
    what_does_not_fit_is_refused_by_name(fixture).await;
    a_program_can_go_back_to_the_version_before(fixture).await;
    one_that_fails_leaves_nothing_of_itself(fixture).await;
    one_that_ends_its_transaction_is_found_out(fixture).await;
    of_many_at_once_one_runs_each(fixture).await;
    who_finds_the_lock_taken_is_told_in_time(fixture).await;
    one_that_is_given_up_leaves_nothing(fixture).await;
}

fn migrated(result: Result<Migrated, MigrateError>) -> (Vec<u32>, Option<u32>) {
    let migrated = result.unwrap();
    (migrated.ran, migrated.version)
}

async fn items(database: &Database) -> Vec<String> {
    let items = sqlx::query_scalar("SELECT name FROM item ORDER BY name");
    items.fetch_all(database.pool()).await.unwrap()
}

async fn there_is(database: &Database, table: &str) -> bool {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    database.pool().fetch_one(sql).await.is_ok()
}

async fn they_run_once_and_in_order(fixture: &Fixture) {
    let database = fixture.open().await;
    assert_eq!(migrated(database.migrate("catalog", &[]).await), (vec![], None));
    assert_eq!(migrated(database.migrate("catalog", &[ITEM, TEA]).await), (vec![1, 2], Some(2)));
    assert_eq!(migrated(database.migrate("catalog", &[ITEM, TEA]).await), (vec![], Some(2)));
    assert_eq!(
        migrated(database.migrate("catalog", &[ITEM, TEA, PRICE]).await),
        (vec![4], Some(4))
    );
    assert_eq!(items(&database).await, ["tea"]);
    let noted = sqlx::query_as::<_, (String, i64, String, String)>(
        "SELECT module, version, name, ran_at FROM umbel_migrations ORDER BY version",
    );
    let noted = noted.fetch_all(database.pool()).await.unwrap();
    let names: Vec<_> = noted.iter().map(|row| (&*row.0, row.1, &*row.2)).collect();
    assert_eq!(names, [("catalog", 1, "items"), ("catalog", 2, "tea"), ("catalog", 4, "prices")]);
    assert!(noted.iter().all(|row| row.3.starts_with("20")), "{noted:?}");
    database.close().await.unwrap();
    // As the next life of the program finds it.
    let database = Database::open_with(database.options().clone()).await.unwrap();
    assert_eq!(migrated(database.migrate("catalog", &[ITEM, TEA, PRICE]).await), (vec![], Some(4)));
    database.close().await.unwrap();
}

async fn modules_do_not_meet(fixture: &Fixture) {
    let database = fixture.open().await;
    let other = [Migration::new(1, "orders", "CREATE TABLE placed (item TEXT NOT NULL)")];
    assert_eq!(migrated(database.migrate("catalog", &[ITEM, TEA]).await), (vec![1, 2], Some(2)));
    assert_eq!(migrated(database.migrate("ordering", &other).await), (vec![1], Some(1)));
    assert_eq!(migrated(database.migrate("it's \"odd\"", &[]).await), (vec![], None));
    database.close().await.unwrap();
}

async fn what_does_not_fit_is_refused_by_name(fixture: &Fixture) {
    let database = fixture.open().await;
    database.migrate("catalog", &[ITEM, TEA]).await.unwrap();
    let changed = [ITEM, Migration::new(2, "tea", "DROP TABLE item"), PRICE];
    let why = database.migrate("catalog", &changed).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Changed { version: 2, .. }), "{why}");
    let told = why.to_string();
    assert!(told.contains("migration 2 (tea) of module 'catalog' was changed"), "{told}");
    let own = [ITEM, Migration::new(3, "late", "DROP TABLE item")];
    let why = database.migrate("catalog", &own).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Unknown { version: 2, .. }), "{why}");
    database.migrate("catalog", &[ITEM, TEA, PRICE]).await.unwrap();
    let late = Migration::new(3, "late", "DROP TABLE item");
    let why = database.migrate("catalog", &[ITEM, TEA, late, PRICE]).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Late { version: 3, last: 4, .. }), "{why}");
    let why = database.migrate("catalog", &[TEA, ITEM]).await.unwrap_err();
    assert!(matches!(&why, MigrateError::List { .. }), "{why}");
    assert_eq!(items(&database).await, ["tea"], "nothing of it ran");
    database.close().await.unwrap();
}

async fn a_program_can_go_back_to_the_version_before(fixture: &Fixture) {
    let database = fixture.open().await;
    let ahead = async |list: &[Migration]| {
        let migrated = database.migrate("catalog", list).await.unwrap();
        (migrated.ran, migrated.version, migrated.ahead)
    };
    assert_eq!(ahead(&[ITEM]).await, (vec![1], Some(1), vec![]));
    assert_eq!(ahead(&[ITEM, TEA, PRICE]).await, (vec![2, 4], Some(4), vec![]));
    assert_eq!(ahead(&[ITEM]).await, (vec![], Some(4), vec![2, 4]), "and what it needs is there");
    assert_eq!(ahead(&[ITEM, TEA, PRICE]).await, (vec![], Some(4), vec![]));
    let another = [ITEM, Migration::new(2, "coffee", "INSERT INTO item (name) VALUES ('coffee')")];
    let why = database.migrate("catalog", &another).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Changed { version: 2, .. }), "{why}");
    assert_eq!(items(&database).await, ["tea"]);
    let mut strict = database.options().clone();
    database.close().await.unwrap();
    strict.ahead = Ahead::Refuse;
    let database = Database::open_with(strict).await.unwrap();
    let why = database.migrate("catalog", &[ITEM]).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Unknown { version: 2, .. }), "{why}");
    database.migrate("catalog", &[ITEM, TEA, PRICE]).await.unwrap();
    database.close().await.unwrap();
}

async fn one_that_fails_leaves_nothing_of_itself(fixture: &Fixture) {
    let database = fixture.open().await;
    let wrong = Migration::new(
        2,
        "tea",
        "CREATE TABLE half (a BIGINT);
         INSERT INTO item (name) VALUES ('coffee');
         INSERT INTO nowhere (name) VALUES ('tea')",
    );
    let why = database.migrate("catalog", &[ITEM, wrong, PRICE]).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Failed { version: 2, .. }), "{why:?}");
    let told = why.to_string();
    for part in ["migration 2 (tea)", "module 'catalog'", "left nothing", "nowhere"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!there_is(&database, "half").await);
    assert!(items(&database).await.is_empty(), "the first stands, and nothing of the second");
    // Put right, it goes on where it was.
    assert_eq!(
        migrated(database.migrate("catalog", &[ITEM, TEA, PRICE]).await),
        (vec![2, 4], Some(4))
    );
    database.close().await.unwrap();
}

async fn one_that_ends_its_transaction_is_found_out(fixture: &Fixture) {
    let database = fixture.open().await;
    let ends = Migration::new(
        1,
        "ends",
        "CREATE TABLE half (a BIGINT); COMMIT; CREATE TABLE rest (a BIGINT)",
    );
    let why = database.migrate("catalog", &[ends]).await.unwrap_err();
    assert!(matches!(&why, MigrateError::Ends { version: 1, .. }), "{why:?}");
    assert!(why.to_string().contains("take COMMIT and ROLLBACK out"), "{why}");
    let noted = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM umbel_migrations");
    assert_eq!(noted.fetch_one(database.pool()).await.unwrap(), 0);
    assert_eq!(migrated(database.migrate("catalog", &[ITEM]).await), (vec![1], Some(1)));
    database.close().await.unwrap();
}

async fn of_many_at_once_one_runs_each(fixture: &Fixture) {
    let first = fixture.open().await;
    let options = first.options().clone();
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let programs = (0..8).map(|_| {
        let (options, start) = (options.clone(), start.clone());
        tokio::spawn(async move {
            // Each with a pool of its own, as processes have.
            let database = Database::open_with(options).await.unwrap();
            start.wait().await;
            let ran = database.migrate("catalog", &[ITEM, TEA, PRICE]).await.unwrap().ran;
            database.close().await.unwrap();
            ran
        })
    });
    let mut ran = Vec::new();
    for program in programs.collect::<Vec<_>>() {
        ran.extend(program.await.unwrap());
    }
    ran.sort_unstable();
    assert_eq!(ran, [1, 2, 4], "each ran once, wherever");
    assert_eq!(items(&first).await, ["tea"]);
    first.close().await.unwrap();
}

async fn who_finds_the_lock_taken_is_told_in_time(fixture: &Fixture) {
    let mut options = fixture.options().await;
    options.migrate_within = Duration::from_millis(300);
    options.busy_within = Duration::from_millis(50);
    let database = Database::open_with(options).await.unwrap();
    database.migrate("catalog", &[ITEM]).await.unwrap();
    let mut held = database.begin().await.unwrap();
    if database.kind() == DatabaseKind::Postgres {
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)");
        lock.bind(i64::from_be_bytes(*b"umbel-mi")).execute(&mut *held).await.unwrap();
    }
    let why = database.migrate("catalog", &[ITEM, TEA]).await.unwrap_err();
    let within = Duration::from_millis(300);
    assert!(matches!(&why, MigrateError::Locked { within: it, .. } if *it == within), "{why:?}");
    held.rollback().await.unwrap();
    assert_eq!(migrated(database.migrate("catalog", &[ITEM, TEA]).await), (vec![2], Some(2)));
    database.close().await.unwrap();
}

async fn one_that_is_given_up_leaves_nothing(fixture: &Fixture) {
    let database = fixture.open().await;
    // A hundred thousand rounds, which take longer than it is waited for.
    let slow = Migration::new(
        1,
        "slow",
        "CREATE TABLE half (a BIGINT);
         INSERT INTO half WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         SELECT MAX(i) FROM n",
    );
    for _ in 0..3 {
        let migrating = tokio::time::timeout(Duration::from_millis(5), async {
            database.migrate("catalog", &[slow]).await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!(migrating.await.is_err());
    }
    let ran = migrated(database.migrate("catalog", &[slow]).await);
    assert_eq!(ran.1, Some(1));
    let rows = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM half");
    assert_eq!(rows.fetch_one(database.pool()).await.unwrap(), 1);
    database.close().await.unwrap();
}
