//! The rules of the house: who may import whom, and what no file may hold.

mod imports;
mod tidy;
mod words;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sims lies in the workspace").to_owned()
}

/// All files below `directory` with one of these endings, by path from the root, in order.
fn files(directory: &Path, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("the workspace can be read") {
            let path = entry.expect("the workspace can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let built = name == "target" || (name.starts_with('.') && name != ".ci");
            if path.is_dir() && !built {
                waiting.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let place = path.strip_prefix(root()).expect("it was found below the root");
                let place = place.to_string_lossy().replace('\\', "/");
                found.push((place, std::fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    found.sort();
    found
}

/// Fails with all violations at once.
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
