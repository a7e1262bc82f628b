//! What holds on every database.

mod migrations;
mod pool;
mod queries;

use crate::support::Fixture;

pub(crate) async fn all(fixture: &Fixture) {
    queries::all(fixture).await;
    pool::all(fixture).await;
    migrations::all(fixture).await;
}
