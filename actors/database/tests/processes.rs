//! Databases of real processes, which are killed without a warning, and migrate at the same time.

mod support;

use std::time::Duration;

use support::{Fixture, Process};
use umbel_database::sqlx::{self, Executor};
use umbel_database::{Database, DatabaseOptions, MigrateError, Migration};

const PAIRS: &[Migration] = &[Migration::new(
    1,
    "pairs",
    "CREATE TABLE pair (number BIGINT NOT NULL, half BIGINT NOT NULL, PRIMARY KEY (number, half))",
)];

/// What runs far longer than any test, after it has done something.
const ENDLESS: &[Migration] = &[
    PAIRS[0],
    Migration::new(
        2,
        "endless",
        "CREATE TABLE half (a BIGINT);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
         SELECT COUNT(*) FROM n",
    )
    .on_postgres("CREATE TABLE half (a BIGINT); SELECT pg_sleep(86400)"),
];

/// What each of several processes runs once, all told.
const COUNTED: &[Migration] = &[
    Migration::new(1, "count", "CREATE TABLE ran (migration BIGINT NOT NULL)"),
    Migration::new(2, "two", "INSERT INTO ran (migration) VALUES (2)"),
    Migration::new(3, "three", "INSERT INTO ran (migration) VALUES (3)"),
    Migration::new(4, "four", "INSERT INTO ran (migration) VALUES (4)"),
];

/// Not a claim, but what the processes run.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some((task, url)) = support::task() else { return };
    let database = Database::open(&url).await.unwrap();
    match task.as_str() {
        "write" => write(&database).await,
        "endless" => {
            println!("\nmigrating");
            database.migrate("catalog", ENDLESS).await.unwrap();
        }
        "migrate" => {
            let ran = database.migrate("catalog", COUNTED).await.unwrap().ran;
            println!("\nran {}", ran.len());
            database.close().await.unwrap();
        }
        task => panic!("there is no task {task}"),
    }
}

/// Writes pairs, each in a transaction, and says how far it is.
async fn write(database: &Database) {
    let last = sqlx::query_scalar::<_, i64>("SELECT COALESCE(MAX(number), 0) FROM pair");
    let last = last.fetch_one(database.pool()).await.unwrap();
    let insert = "INSERT INTO pair (number, half) VALUES ($1, $2)";
    for number in last + 1.. {
        let mut transaction = database.begin().await.unwrap();
        for half in [1_i64, 2] {
            let insert = sqlx::query(insert).bind(number).bind(half);
            insert.execute(&mut *transaction).await.unwrap();
            println!("\nwritten {number}.{half}");
        }
        transaction.commit().await.unwrap();
        println!("\ncommitted {number}");
    }
}

async fn a_killed_writer_leaves_whole_pairs(fixture: &Fixture) {
    let url = fixture.url().await;
    let database = Database::open(&url).await.unwrap();
    database.migrate("catalog", PAIRS).await.unwrap();
    for round in 1..=5_i64 {
        let mut process = Process::start("write", &url);
        for _ in 0..round {
            process.wait_for("committed");
        }
        process.wait_for("written");
        process.kill();
        let rest: Vec<_> = process.said.by_ref().map_while(Result::ok).collect();
        process.ended();
        let committed = rest.iter().filter_map(|line| line.strip_prefix("committed ")).next_back();
        let rows =
            sqlx::query_as::<_, (i64, i64)>("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM pair");
        let (rows, last) = rows.fetch_one(database.pool()).await.unwrap();
        assert_eq!(rows, 2 * last, "no half of a pair, and none lost in between");
        if let Some(committed) = committed {
            assert!(last >= committed.parse::<i64>().unwrap(), "what was committed is there");
        }
        assert!(last >= round, "{last}");
        // The dead one's lock is gone.
        database.begin().await.unwrap().rollback().await.unwrap();
    }
    database.close().await.unwrap();
}

async fn a_killed_migration_leaves_nothing_and_the_next_runs(fixture: &Fixture) {
    let url = fixture.url().await;
    let mut options = DatabaseOptions::new(url.parse().unwrap());
    options.migrate_within = Duration::from_millis(50);
    options.busy_within = Duration::from_millis(10);
    let database = Database::open_with(options).await.unwrap();
    database.migrate("catalog", PAIRS).await.unwrap();
    let mut process = Process::start("endless", &watched(&url, fixture));
    process.wait_for("migrating");
    // Until it has the lock.
    loop {
        match database.migrate("ordering", &[]).await {
            Err(MigrateError::Locked { .. }) => break,
            others => drop(others.unwrap()),
        }
    }
    process.kill();
    process.ended();
    let next = [PAIRS[0], Migration::new(2, "half", "CREATE TABLE half (a BIGINT)")];
    let next = async {
        loop {
            match database.migrate("catalog", &next).await {
                Err(MigrateError::Locked { .. }) => {}
                migrated => break migrated.unwrap(),
            }
        }
    };
    let migrated = tokio::time::timeout(Duration::from_secs(60), next).await;
    assert_eq!(migrated.expect("the lock is free again").ran, [2]);
    database.close().await.unwrap();
}

/// The same database, for a process whose death the server notices also while a statement runs.
fn watched(url: &str, fixture: &Fixture) -> String {
    let Fixture::Postgres { .. } = fixture else { return url.into() };
    let mut url: url::Url = url.parse().unwrap();
    url.query_pairs_mut().append_pair("options", "-c client_connection_check_interval=100");
    url.into()
}

async fn of_several_processes_one_runs_each_migration(fixture: &Fixture) {
    let url = fixture.url().await;
    let mut processes: Vec<_> = (0..4).map(|_| Process::start("migrate", &url)).collect();
    let mut ran = 0;
    for process in &mut processes {
        ran += process.wait_for("ran").parse::<usize>().unwrap();
        assert!(process.ended());
    }
    assert_eq!(ran, COUNTED.len());
    let database = Database::open(&url).await.unwrap();
    let rows = database.pool().fetch_all("SELECT migration FROM ran").await.unwrap();
    assert_eq!(rows.len(), 3);
    database.close().await.unwrap();
}

async fn all(fixture: Fixture) {
    a_killed_writer_leaves_whole_pairs(&fixture).await;
    a_killed_migration_leaves_nothing_and_the_next_runs(&fixture).await;
    of_several_processes_one_runs_each_migration(&fixture).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_or_race_leave_sqlite_whole() {
    all(Fixture::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_or_race_leave_postgres_whole() {
    let Some(fixture) = Fixture::postgres() else { return };
    all(fixture).await;
}
