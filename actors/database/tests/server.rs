//! A server of PostgreSQL that goes away, says nothing, or has to prove itself. Each test has one of its own.

mod support;

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::server::{PASSWORD, Server};
use tempfile::TempDir;
use umbel_database::sqlx::{self, Executor};
use umbel_database::{
    AcquireError, Database, DatabaseOptions, HealthError, MigrateError, Migration, OpenError,
};
use url::Url;

fn options(url: &Url) -> DatabaseOptions {
    let mut options = DatabaseOptions::new(url.as_str().parse().unwrap());
    options.acquire_within = Duration::from_millis(500);
    options.health_within = Duration::from_millis(500);
    options
}

/// Asks until it answers; the test fails where it never does.
async fn until_well(database: &Database) {
    let well = async {
        while database.health().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), well).await.expect("it is well again");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_a_server_that_goes_away_and_comes_back() {
    let Some(mut server) = Server::start() else { return };
    let database = Database::open_with(options(&server.url("postgres"))).await.unwrap();
    database.pool().execute("CREATE TABLE kept (a BIGINT)").await.unwrap();
    let mut cut = database.begin().await.unwrap();
    cut.execute("INSERT INTO kept VALUES (1)").await.unwrap();
    for _ in 0..2 {
        until_well(&database).await;
        server.stop();
        let health = database.health().await.expect_err("nobody is there");
        let told = health.to_string();
        assert!(told.contains("database"), "{told}");
        let why = database.begin().await.expect_err("nobody is there");
        let away = matches!(why, AcquireError::Unreachable(_) | AcquireError::NoAnswer { .. });
        assert!(away, "{why:?}");
        let list = [Migration::new(1, "a", "SELECT 1")];
        let why = database.migrate("catalog", &list).await.unwrap_err();
        assert!(matches!(why, MigrateError::Acquire { .. }), "{why:?}");
        server.go_on();
        until_well(&database).await;
    }
    assert!(cut.commit().await.is_err(), "its connection is gone");
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM kept");
    assert_eq!(count.fetch_one(database.pool()).await.unwrap(), 0, "and so is what it did");
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_waits_for_a_server_that_starts_and_not_for_one_that_refuses() {
    let Some(mut server) = Server::start() else { return };
    let url = server.url("postgres");
    server.stop();
    let mut impatient = options(&url);
    impatient.open_within = Duration::from_millis(100);
    let why = Database::open_with(impatient).await.unwrap_err();
    assert!(matches!(&why, OpenError::NoAnswer { why: Some(_), .. }), "{why:?}");
    assert!(why.to_string().contains("was not reached in 100ms"), "{why}");
    let mut patient = options(&url);
    patient.open_within = Duration::from_secs(60);
    let opening = tokio::spawn(Database::open_with(patient));
    server.go_on();
    opening.await.unwrap().unwrap().close().await.unwrap();
    let why = Database::open(server.url("nowhere").as_str()).await.unwrap_err();
    assert!(matches!(&why, OpenError::Refused { .. }), "{why:?}");
    assert!(why.to_string().contains("\"nowhere\" does not exist"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_told_from_a_pool_that_is_empty() {
    let Some(server) = Server::start() else { return };
    let database = Database::open_with(options(&server.url("postgres"))).await.unwrap();
    server.freeze();
    let why = database.health().await.expect_err("it does not answer");
    let silent = matches!(why, HealthError::Acquire(AcquireError::NoAnswer { .. }));
    assert!(silent, "{why:?}");
    let mut options = options(&server.url("postgres"));
    options.open_within = Duration::from_millis(200);
    let why = Database::open_with(options).await.unwrap_err();
    assert!(matches!(&why, OpenError::NoAnswer { why: None, .. }), "{why:?}");
    server.thaw();
    until_well(&database).await;
    database.close().await.unwrap();
}

/// An authority, and a certificate of it for `localhost`, all in PEM.
fn certificates() -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

fn with(url: &Url, options: &[(&str, &str)]) -> String {
    let mut url = url.clone();
    url.query_pairs_mut().extend_pairs(options);
    url.into()
}

/// What it says of itself, whatever went wrong: never the password.
async fn refused(url: &str) -> OpenError {
    let why = Database::open(url).await.map(drop).expect_err(url);
    let told = format!("{why} {why:?}");
    assert!(!told.contains(PASSWORD) && !told.contains("p%40ss"), "{told}");
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_itself_by_tls_and_its_user_by_a_password() {
    let (authority, certificate, key) = certificates();
    let Some(server) = Server::start_with_tls(&certificate, &key) else { return };
    let directory = TempDir::new().unwrap();
    let trusted = directory.path().join("authority.pem");
    std::fs::write(&trusted, &authority).unwrap();
    let trusted = trusted.to_str().unwrap();
    let verified = [("sslmode", "verify-full"), ("sslrootcert", trusted)];

    let url = server.url_by_tcp("localhost");
    let database = Database::open(&with(&url, &verified)).await.unwrap();
    let tls = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let tls = sqlx::query_scalar::<_, String>(tls).fetch_one(database.pool()).await.unwrap();
    assert_eq!(tls, "TLSv1.3");
    database.close().await.unwrap();

    // Another authority, and another name than the certificate has.
    let unknown = refused(&with(&url, &[("sslmode", "verify-full")])).await;
    assert!(matches!(&unknown, OpenError::Untrusted { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains("sslrootcert=FILE"), "{unknown}");
    let elsewhere = refused(&with(&server.url_by_tcp("127.0.0.1"), &verified)).await;
    assert!(matches!(&elsewhere, OpenError::Untrusted { .. }), "{elsewhere:?}");

    let mut wrong = url.clone();
    wrong.set_password(Some("p@ss/word!")).unwrap();
    let wrong = refused(&with(&wrong, &verified)).await;
    assert!(matches!(&wrong, OpenError::Refused { .. }), "{wrong:?}");
    assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");
}
