//! Databases for tests: a file of SQLite's, or one of its own on a server of PostgreSQL.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use umbel_database::sqlx::{AssertSqlSafe, Executor};
use umbel_database::{Database, DatabaseOptions};
use url::Url;

use self::server::Server;

/// Where tests get databases from.
pub(crate) enum Fixture {
    Sqlite(TempDir, AtomicU32),
    Postgres { admin: Url, server: Option<Server>, made: AtomicU32 },
}

impl Fixture {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap(), AtomicU32::new(0))
    }

    /// The server at `TEST_POSTGRES_URL`, whose user may make databases; else one that is started for the
    /// test; else nothing, and a notice.
    pub(crate) fn postgres() -> Option<Self> {
        let made = AtomicU32::new(0);
        if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
            let admin = url.parse().expect("TEST_POSTGRES_URL is a URL");
            return Some(Self::Postgres { admin, server: None, made });
        }
        let server = Server::start()?;
        Some(Self::Postgres { admin: server.url("postgres"), server: Some(server), made })
    }

    /// The URL of a database that nobody else uses.
    pub(crate) async fn url(&self) -> String {
        match self {
            Self::Sqlite(directory, made) => {
                let number = made.fetch_add(1, Ordering::Relaxed);
                format!("sqlite:{}/new/{number}.db", directory.path().display())
            }
            Self::Postgres { admin, made, .. } => {
                let number = made.fetch_add(1, Ordering::Relaxed);
                let name = format!("umbel_test_{}_{number}", std::process::id());
                self.administer(&format!("CREATE DATABASE {name}")).await;
                let mut url = admin.clone();
                url.set_path(&name);
                url.into()
            }
        }
    }

    pub(crate) async fn options(&self) -> DatabaseOptions {
        DatabaseOptions::new(self.url().await.parse().unwrap())
    }

    pub(crate) async fn open(&self) -> Database {
        Database::open_with(self.options().await).await.unwrap()
    }

    /// Drops what was made on a server that goes on.
    pub(crate) async fn end(self) {
        if let Self::Postgres { made, server: None, .. } = &self {
            for number in 0..made.load(Ordering::Relaxed) {
                let name = format!("umbel_test_{}_{number}", std::process::id());
                self.administer(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            }
        }
    }

    async fn administer(&self, sql: &str) {
        let Self::Postgres { admin, .. } = self else { return };
        let database = Database::open(admin.as_str()).await.unwrap();
        database.pool().execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        database.close().await.unwrap();
    }
}

/// Tells what was not tested, past the capture of test programs' output.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(std::io::stderr(), "NOTICE: {text}");
}

/// This test program once more, as a process of its own that runs `child` only.
pub(crate) struct Process {
    child: Child,
    pub(crate) said: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(task: &str, url: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("UMBEL_TEST_TASK", task)
            .env("UMBEL_TEST_URL", url)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    /// Reads until it says this, and returns what follows it in the line.
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        for line in self.said.by_ref() {
            if let Some(rest) = line.unwrap().strip_prefix(words) {
                return rest.trim().to_owned();
            }
        }
        panic!("the process ended and did not say {words:?}");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end, and tells whether it was a good one.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What [`Process::start`] was told, in that process.
pub(crate) fn task() -> Option<(String, String)> {
    Some((std::env::var("UMBEL_TEST_TASK").ok()?, std::env::var("UMBEL_TEST_URL").ok()?))
}
