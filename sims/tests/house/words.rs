//! What the documents say of files must be so, and they speak of Umbel alone.

use crate::{files, none, root};

/// The targets of all links in `text`, and all paths of source files that it names.
fn named(text: &str) -> Vec<&str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let links = links.map(|link| link.split('#').next().unwrap_or(link));
    let quoted = text.split('`').skip(1).step_by(2);
    let sources = quoted.filter(|word| word.ends_with(".rs") && word.contains('/'));
    links.chain(sources.filter(|word| !word.contains(char::is_whitespace))).collect()
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut missing = Vec::new();
    for document in
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
    {
        let text = std::fs::read_to_string(root().join(document)).expect("it is there");
        for name in named(&text) {
            if !root().join(name).exists() {
                missing.push(format!("{document} names {name}, which is not there"));
            }
        }
    }
    none(&missing);
}

#[test]
fn links_and_paths_are_found() {
    let text =
        "see [here](a/b.md#part), [there](https://example.org/x), `c/d.rs`, `cargo run x.rs`";
    assert_eq!(named(text), ["a/b.md", "c/d.rs"]);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut found = Vec::new();
    for (place, text) in files(&root(), &[".rs", ".md", ".toml", "Makefile", "run"]) {
        for (index, line) in text.lines().enumerate() {
            for machine in [concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
                if line.contains(machine) {
                    found.push(format!("{place}:{}: {line}", index + 1));
                }
            }
        }
    }
    none(&found);
}
