//! What only SQLite has: files, a lock for the whole of it, and a database in memory.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use umbel_database::sqlx::{self, Executor};
use umbel_database::{
    AcquireError, Database, DatabaseOptions, DatabaseUrl, HealthError, MigrateError, Migration,
    OpenError,
};

const ITEM: &[Migration] = &[Migration::new(1, "items", "CREATE TABLE item (name TEXT)")];

async fn text(database: &Database, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(database.pool()).await.unwrap()
}

fn quick(url: DatabaseUrl) -> DatabaseOptions {
    let mut options = DatabaseOptions::new(url);
    options.acquire_within = Duration::from_millis(200);
    options.busy_within = Duration::from_millis(100);
    options.health_within = Duration::from_millis(200);
    options.open_within = Duration::from_millis(200);
    options.migrate_within = Duration::from_millis(200);
    options
}

#[tokio::test]
async fn a_file_is_made_with_its_directories_for_its_owner_alone() {
    let directory = TempDir::new().unwrap();
    let above = directory.path().join("a b?#%41").join("ü");
    let file = above.join("shop.db");
    let database = Database::open_with(DatabaseUrl::file(&file)).await.unwrap();
    database.migrate("catalog", ITEM).await.unwrap();
    assert!(file.exists() && above.join("shop.db-wal").exists());
    #[cfg(unix)]
    for (path, wanted) in
        [(above.as_path(), 0o700), (&file, 0o600), (&above.join("shop.db-wal"), 0o600)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{}", path.display());
    }
    assert_eq!(text(&database, "PRAGMA journal_mode").await, "wal");
    let set =
        async |sql| sqlx::query_scalar::<_, i64>(sql).fetch_one(database.pool()).await.unwrap();
    assert_eq!(set("PRAGMA foreign_keys").await, 1);
    assert_eq!(set("PRAGMA busy_timeout").await, 5000);
    assert_eq!(set("PRAGMA synchronous").await, 2, "a commit is synced");
    database.close().await.unwrap();
    assert!(!above.join("shop.db-wal").exists(), "all of it is in the file");
}

#[tokio::test]
async fn odd_names_are_files_of_that_name() {
    let directory = TempDir::new().unwrap();
    for name in ["file:x?mode=memory", ":memory:", "100%", "a;b'c\"d"] {
        let file = directory.path().join(name);
        let database = Database::open_with(DatabaseUrl::file(&file)).await.unwrap();
        database.migrate("catalog", ITEM).await.unwrap();
        database.close().await.unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() > 0, "{name}");
    }
}

#[tokio::test]
async fn a_mode_is_kept_to() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("shop.db");
    let url = |mode: &str| format!("sqlite:{}?mode={mode}", file.display()).parse().unwrap();
    for mode in ["ro", "rw"] {
        let why = Database::open_with(quick(url(mode))).await.unwrap_err();
        assert!(matches!(&why, OpenError::Refused { .. }), "{why:?}");
        assert!(why.to_string().contains("unable to open"), "{why}");
    }
    let database = Database::open_with(quick(url("rwc"))).await.unwrap();
    database.migrate("catalog", ITEM).await.unwrap();
    let reader = Database::open_with(quick(url("ro"))).await.unwrap();
    assert_eq!(text(&reader, "SELECT COALESCE(MAX(name), 'none') FROM item").await, "none");
    assert!(reader.health().await.is_ok());
    let why = reader.pool().execute("INSERT INTO item VALUES ('tea')").await.unwrap_err();
    assert!(why.to_string().contains("readonly"), "{why}");
    let read = reader.begin().await.expect("one may read in a transaction");
    read.rollback().await.unwrap();
    reader.close().await.unwrap();
    database.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "these are notes, and they are long enough to have a header".repeat(99))
        .unwrap();
    let why = Database::open_with(quick(DatabaseUrl::file(&file))).await.unwrap_err();
    assert!(matches!(&why, OpenError::Refused { .. }), "{why:?}");
    assert!(why.to_string().contains("not a database"), "{why}");
    let why = Database::open_with(quick(DatabaseUrl::file(file.join("x.db")))).await.unwrap_err();
    assert!(matches!(&why, OpenError::File { .. }), "{why:?}");
    let why = Database::open_with(quick(DatabaseUrl::file(directory.path()))).await.unwrap_err();
    assert!(why.to_string().contains("unable to open"), "{why}");
}

#[tokio::test]
async fn what_is_in_memory_is_kept_while_it_is_open_and_shared_with_nobody() {
    let (one, other) = (
        Database::open("sqlite::memory:").await.unwrap(),
        Database::open("sqlite::memory:").await.unwrap(),
    );
    one.migrate("catalog", ITEM).await.unwrap();
    let insert = one.pool().execute("INSERT INTO item VALUES ('tea')");
    insert.await.unwrap();
    assert_eq!(text(&one, "SELECT name FROM item").await, "tea");
    assert_eq!(one.health().await.unwrap().connections, 1);
    assert!(other.pool().execute("SELECT * FROM item").await.is_err());
    one.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn who_writes_for_too_long_keeps_out_writers_and_not_readers() {
    let directory = TempDir::new().unwrap();
    let url = DatabaseUrl::file(directory.path().join("shop.db"));
    let database = Database::open_with(quick(url.clone())).await.unwrap();
    database.migrate("catalog", ITEM).await.unwrap();
    let other = Database::open_with(quick(url)).await.unwrap();
    let mut long = other.begin().await.unwrap();
    long.execute("INSERT INTO item VALUES ('tea')").await.unwrap();
    let why = database.begin().await.map(drop).unwrap_err();
    assert!(matches!(why, AcquireError::Locked), "{why:?}");
    assert!(why.to_string().contains("keep transactions short"), "{why}");
    let why = database.migrate("catalog", ITEM).await.unwrap_err();
    assert!(matches!(why, MigrateError::Locked { .. }), "{why:?}");
    assert!(database.health().await.is_ok());
    assert_eq!(text(&database, "SELECT COALESCE(MAX(name), 'none') FROM item").await, "none");
    long.commit().await.unwrap();
    assert_eq!(text(&database, "SELECT COALESCE(MAX(name), 'none') FROM item").await, "tea");
    other.close().await.unwrap();
    database.close().await.unwrap();
}

#[tokio::test]
async fn who_waits_to_write_comes_in_order_and_takes_no_connection_from_readers() {
    let directory = TempDir::new().unwrap();
    let mut options = DatabaseOptions::new(DatabaseUrl::file(directory.path().join("shop.db")));
    options.connections_max = 2;
    options.busy_within = Duration::from_secs(60);
    let database = Database::open_with(options).await.unwrap();
    database.migrate("catalog", ITEM).await.unwrap();
    let first = database.begin().await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..8 {
        let writing = database.clone();
        waiting.spawn(async move {
            let mut transaction = writing.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO item VALUES ($1)").bind(format!("{number}"));
            insert.execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        });
        // On this one thread it has come to wait by now.
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&database, "SELECT COALESCE(MAX(name), 'none') FROM item").await, "none");
    drop(first);
    waiting.join_all().await;
    let names = "SELECT GROUP_CONCAT(name, '') FROM (SELECT name FROM item ORDER BY rowid)";
    assert_eq!(text(&database, names).await, "01234567");
    database.close().await.unwrap();
}

/// A connection that lets nobody else in, not even to read.
async fn lock_out(path: &Path) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").await.unwrap();
    connection.execute("BEGIN EXCLUSIVE; COMMIT").await.unwrap();
    connection.execute("CREATE TABLE IF NOT EXISTS mine (a BIGINT)").await.unwrap();
    connection
}

#[tokio::test]
async fn a_file_that_nobody_may_read_is_not_well_and_does_not_open() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("shop.db");
    let database = Database::open_with(quick(DatabaseUrl::file(&file))).await.unwrap();
    database.close().await.unwrap();
    let locked = lock_out(&file).await;
    let why = Database::open_with(quick(DatabaseUrl::file(&file))).await.unwrap_err();
    assert!(matches!(&why, OpenError::NoAnswer { .. }), "{why:?}");
    sqlx::Connection::close(locked).await.unwrap();

    let database = Database::open_with(quick(DatabaseUrl::file(&file))).await.unwrap();
    // What has no connection yet is as well locked out by one that comes in between.
    let locked = lock_out(&file).await;
    let why = database.health().await.unwrap_err();
    let locked_out = matches!(&why, HealthError::NoAnswer { .. } | HealthError::Unwell(_))
        || matches!(
            &why,
            HealthError::Acquire(AcquireError::Locked | AcquireError::NoAnswer { .. })
        );
    assert!(locked_out, "{why:?}");
    sqlx::Connection::close(locked).await.unwrap();
    let well = async { while database.health().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), well).await.expect("it is well again");
    database.close().await.unwrap();
}
