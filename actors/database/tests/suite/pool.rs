//! Connections: how many, how long one waits, and how it ends.

use std::time::Duration;

use umbel_database::sqlx::Executor;
use umbel_database::{AcquireError, CloseError, Database, DatabaseKind, HealthError};

use crate::support::Fixture;

pub(crate) async fn all(fixture: &Fixture) {
    it_is_well_and_says_what_it_has(fixture).await;
    who_finds_all_in_use_is_told_so_in_time(fixture).await;
    who_gives_up_takes_nothing_along(fixture).await;
    a_transaction_that_ended_by_itself_spoils_no_other(fixture).await;
    after_the_end_nobody_gets_in(fixture).await;
    who_is_in_use_at_the_end_is_told(fixture).await;
    neither_it_nor_its_options_show_more_than_the_place(fixture).await;
}

async fn few(fixture: &Fixture) -> Database {
    let mut options = fixture.options().await;
    options.connections_max = 2;
    options.acquire_within = Duration::from_millis(200);
    options.close_within = Duration::from_millis(200);
    Database::open_with(options).await.unwrap()
}

async fn it_is_well_and_says_what_it_has(fixture: &Fixture) {
    let database = fixture.open().await;
    let health = database.health().await.unwrap();
    assert!(health.took < database.options().health_within);
    assert_eq!(health.connections, 1);
    let mut transaction = database.begin().await.unwrap();
    transaction.execute("CREATE TABLE a (b BIGINT)").await.unwrap();
    let health = database.health().await.expect("others may read while one writes");
    // A connection goes back in the background, so the first may have been on its way.
    assert!((2..=3).contains(&health.connections), "{health:?}");
    transaction.rollback().await.unwrap();
    database.close().await.unwrap();
}

async fn who_finds_all_in_use_is_told_so_in_time(fixture: &Fixture) {
    let database = few(fixture).await;
    let (one, two) = (database.acquire().await.unwrap(), database.acquire().await.unwrap());
    let refused = database.acquire().await.unwrap_err();
    let waited = Duration::from_millis(200);
    let exact =
        matches!(refused, AcquireError::Exhausted { connections: 2, waited: it } if it == waited);
    assert!(exact, "{refused:?}");
    let told = refused.to_string();
    assert!(
        told.contains("200ms") && told.contains("all 2") && told.contains("connections_max"),
        "{told}"
    );
    let begun = database.begin().await.map(drop);
    assert!(matches!(begun, Err(AcquireError::Exhausted { .. })), "{begun:?}");
    let health = database.health().await;
    let exhausted = matches!(health, Err(HealthError::Acquire(AcquireError::Exhausted { .. })));
    assert!(exhausted, "{health:?}");
    drop(one);
    database.acquire().await.expect("one was given back");
    drop(two);
    database.close().await.unwrap();
}

async fn who_gives_up_takes_nothing_along(fixture: &Fixture) {
    let database = few(fixture).await;
    database.pool().execute("CREATE TABLE a (b BIGINT)").await.unwrap();
    for _ in 0..20 {
        let mut transaction = database.begin().await.unwrap();
        transaction.execute("INSERT INTO a VALUES (1)").await.unwrap();
        let waiting = async {
            let mut other = database.begin().await.unwrap();
            other.execute("DELETE FROM a").await.unwrap();
            other.execute("UPDATE a SET b = 2").await.unwrap();
            std::future::pending::<()>().await;
        };
        // On SQLite it waits for the lock, on PostgreSQL inside of its transaction.
        let given_up = tokio::time::timeout(Duration::from_millis(5), waiting).await;
        assert!(given_up.is_err());
        transaction.commit().await.unwrap();
    }
    let count = database.pool().fetch_one("SELECT COUNT(*) FROM a").await.unwrap();
    let count: i64 = umbel_database::sqlx::Row::get(&count, 0);
    assert_eq!(count, 20);
    database.close().await.unwrap();
}

async fn a_transaction_that_ended_by_itself_spoils_no_other(fixture: &Fixture) {
    let mut options = fixture.options().await;
    options.connections_max = 1;
    let database = Database::open_with(options).await.unwrap();
    for committed in [false, true] {
        let mut transaction = database.begin().await.unwrap();
        transaction.execute("ROLLBACK").await.unwrap();
        if committed {
            // PostgreSQL warns, and SQLite refuses; neither has committed anything.
            let _ = transaction.commit().await;
        } else {
            drop(transaction);
        }
        let mut transaction = database.begin().await.expect("the next begins anew");
        transaction.execute("CREATE TABLE a (b BIGINT)").await.unwrap();
        transaction.rollback().await.unwrap();
    }
    assert!(database.pool().execute("SELECT * FROM a").await.is_err());
    database.close().await.unwrap();
}

async fn after_the_end_nobody_gets_in(fixture: &Fixture) {
    let database = few(fixture).await;
    let same = database.clone();
    assert!(!same.is_closed());
    database.close().await.unwrap();
    assert!(same.is_closed());
    assert!(matches!(same.acquire().await, Err(AcquireError::Closed)));
    assert!(matches!(same.begin().await, Err(AcquireError::Closed)));
    let health = same.health().await;
    assert!(matches!(health, Err(HealthError::Acquire(AcquireError::Closed))), "{health:?}");
    assert_eq!(health.unwrap_err().to_string(), "the database was closed");
    same.close().await.expect("twice is once");
}

async fn who_is_in_use_at_the_end_is_told(fixture: &Fixture) {
    let database = few(fixture).await;
    let mut held = database.acquire().await.unwrap();
    let waited = Duration::from_millis(200);
    assert_eq!(database.close().await, Err(CloseError { in_use: 1, waited }));
    held.execute("SELECT 1").await.expect("who has a connection may finish");
    assert!(matches!(database.acquire().await, Err(AcquireError::Closed)));
    drop(held);
    database.close().await.unwrap();
}

async fn neither_it_nor_its_options_show_more_than_the_place(fixture: &Fixture) {
    let database = fixture.open().await;
    let shown = format!("{database:?} {:?} {}", database.options(), database.url());
    let scheme = match database.kind() {
        DatabaseKind::Sqlite => "sqlite:",
        _ => "postgres://",
    };
    assert!(shown.contains(scheme) && !shown.contains("sslmode"), "{shown}");
    database.close().await.unwrap();
}
