//! The suite, on one system.

mod suite;
mod support;

use support::manager;

#[tokio::test(start_paused = true)]
async fn the_suite_passes_on_one_system() {
    let services = manager();
    suite::all(&services, &services).await;
}
