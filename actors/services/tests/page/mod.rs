//! Pages that compare name the tests that show what they say.

use std::path::Path;

/// Every `file::test` that `src/comparison.rs` of the crate in `folder` names is in a file of the folder,
/// relative to the crate's, that `place` says.
pub(crate) fn names_tests_that_are_there(folder: &str, place: impl Fn(&str) -> &'static str) {
    let folder = Path::new(folder);
    let page = std::fs::read_to_string(folder.join("src/comparison.rs")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let tests = quoted.filter_map(|quoted| quoted.split_once("::"));
    let mut count = 0;
    for (file, test) in tests.filter(|(file, _)| file.chars().all(char::is_lowercase)) {
        let path = folder.join(place(file)).join(format!("{file}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}
