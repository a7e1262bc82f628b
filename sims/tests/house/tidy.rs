//! What no source file may hold.

use std::collections::BTreeSet;

use crate::{files, none, root};

const LINES_MAX: usize = 500;

/// The files that are longer, and why they are one.
const LONGER: &[(&str, &str)] = &[
    ("cluster/src/coordinator.rs", "each thing that it is told, one after the other"),
    ("cluster/src/lane/data_tests.rs", "one promise of the lane after the other"),
    (
        "cluster/protocol/src/peers/mesh.rs",
        "the network that the peers' tests run in, at one place",
    ),
    ("cluster/protocol/src/replica/tests.rs", "one rule of the replica after the other"),
    ("cluster/protocol/src/peers/tests.rs", "one rule of the peers after the other"),
];

/// Files of the library that are test support.
const TEST_SUPPORT: &[&str] = &["cluster/src/transport/conformance.rs"];

/// One source file, with what is a test in it told from the rest.
struct Source<'a> {
    place: &'a str,
    lines: Vec<&'a str>,
    /// The first line of its own test module, if it has one.
    tests_from: usize,
}

impl<'a> Source<'a> {
    fn read(place: &'a str, text: &'a str, test_files: &BTreeSet<String>) -> Self {
        let lines: Vec<_> = text.lines().collect();
        let folders = ["/tests/", "/benches/", "examples/"];
        let is_test = folders.iter().any(|folder| place.contains(folder))
            || test_files.contains(place)
            || place.ends_with("tests.rs")
            || TEST_SUPPORT.contains(&place);
        let module = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].starts_with("mod ")
                && pair[1].ends_with('{')
        });
        let tests_from = if is_test { 0 } else { module.unwrap_or(lines.len()) };
        Self { place, lines, tests_from }
    }

    /// The lines of code that are not tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let lines = self.lines[..self.tests_from].iter().copied().enumerate();
        lines.map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| {
            // Examples in documentation are not the library's code.
            !line.starts_with("//")
        })
    }

    fn check(&self, violations: &mut Vec<String>) {
        let place = self.place;
        let length = self.lines.len();
        if length > LINES_MAX && !LONGER.iter().any(|(listed, _)| *listed == place) {
            violations.push(format!(
                "{place} has {length} lines: divide it, or list it with a reason in \
                 sims/tests/house/tidy.rs"
            ));
        }
        // Written in halves, or this file would find itself.
        for unfinished in
            [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")]
        {
            for (index, line) in self.lines.iter().enumerate() {
                if line.contains(unfinished) {
                    violations.push(format!("{place}:{} is unfinished: {line}", index + 1));
                }
            }
        }
        let mut in_thread_local = false;
        for (number, line) in self.code() {
            if line.contains(".unwrap()") {
                violations.push(format!(
                    "{place}:{number} unwraps: name the invariant by `expect`, or return an error"
                ));
            }
            in_thread_local |= line.contains("thread_local!");
            let declared = line.strip_prefix("pub ").unwrap_or(line);
            if declared.starts_with("static ") && !in_thread_local {
                violations.push(format!(
                    "{place}:{number} is process-wide state: it belongs to a `System` or a `Node`"
                ));
            }
            in_thread_local &= line != "}";
        }
    }
}

/// The files that are modules for tests only, as their parents say.
fn test_files(sources: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (place, text) in sources {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, _) in lines.iter().enumerate().filter(|(_, line)| **line == "#[cfg(test)]") {
            let path = lines.get(index + 1).and_then(|line| line.strip_prefix("#[path = \""));
            let path = path.and_then(|rest| rest.strip_suffix("\"]"));
            let module = lines.get(index + 1 + usize::from(path.is_some()));
            let Some(module) = module.and_then(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
            else {
                continue;
            };
            let (folder, file) = place.rsplit_once('/').unwrap_or(("", place));
            let stem = file.strip_suffix(".rs").unwrap_or(file);
            found.insert(match path {
                Some(path) => format!("{folder}/{path}"),
                None if ["lib", "main", "mod"].contains(&stem) => format!("{folder}/{module}.rs"),
                None => format!("{folder}/{stem}/{module}.rs"),
            });
        }
    }
    found
}

fn check(sources: &[(String, String)]) -> Vec<String> {
    let test_files = test_files(sources);
    let mut violations = Vec::new();
    for (place, text) in sources {
        Source::read(place, text, &test_files).check(&mut violations);
    }
    violations
}

#[test]
fn every_source_file_is_tidy() {
    none(&check(&files(&root(), &[".rs"])));
}

#[test]
fn what_is_untidy_is_found() {
    let found = |place: &str, text: &str| check(&[(place.to_owned(), text.to_owned())]);
    let untidy = [
        concat!("fn f() { todo", "!() }").to_owned(),
        concat!("#[test]\n#[", "ignore]\nfn f() {}").to_owned(),
        "fn f() { g().unwrap() }".to_owned(),
        "static COUNT: AtomicU64 = AtomicU64::new(0);".to_owned(),
        "//\n".repeat(LINES_MAX + 1),
    ];
    for text in &untidy {
        assert_eq!(found("actors/src/x.rs", text).len(), 1, "{text}");
    }
    let tidy = [
        "/// ```\n/// f().unwrap()\n/// ```\nfn f() {}",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { f().unwrap() }\n}",
        "thread_local! {\n    static SCRATCH: Cell<u8> = const { Cell::new(0) };\n}",
    ];
    for text in tidy {
        assert_eq!(found("actors/src/x.rs", text), [""; 0], "{text}");
    }
    assert_eq!(found("actors/tests/x.rs", "fn f() { g().unwrap() }"), [""; 0]);
}
