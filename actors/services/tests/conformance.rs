//! The suite, on one system; and the page that names the tests.

mod page;
mod suite;
mod support;

use support::manager;

#[tokio::test(start_paused = true)]
async fn the_suite_passes_on_one_system() {
    let services = manager();
    suite::all(&services, &services).await;
}

#[test]
fn every_test_that_the_comparison_names_is_there() {
    page::names_tests_that_are_there(env!("CARGO_MANIFEST_DIR"), |file| match file {
        "nodes" => "../../cluster/services/tests",
        _ => "tests",
    });
}
