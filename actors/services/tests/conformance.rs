//! The suite, on one system; and the page that names the tests.

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
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(crates.join("src/comparison.rs")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let tests = quoted.filter_map(|quoted| quoted.split_once("::"));
    let mut count = 0;
    for (file, test) in tests.filter(|(file, _)| file.chars().all(char::is_lowercase)) {
        let file = match file {
            "nodes" => "../../cluster/services/tests/nodes.rs".to_owned(),
            file => format!("tests/{file}.rs"),
        };
        let text = std::fs::read_to_string(crates.join(&file)).unwrap_or_else(|_| panic!("{file}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}
