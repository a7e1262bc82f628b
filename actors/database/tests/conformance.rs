//! The suite, on both databases.

mod suite;
mod support;

use support::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_on_sqlite() {
    let fixture = Fixture::sqlite();
    suite::all(&fixture).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_on_postgres() {
    let Some(fixture) = Fixture::postgres() else { return };
    suite::all(&fixture).await;
    fixture.end().await;
}
