//! Folders import only to the left: ARCHITECTURE.md's table, held against the manifests.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::{none, root};

/// One crate of ours.
struct Member {
    name: &'static str,
    folder: &'static str,
    /// Which of ours it may import.
    ours: &'static [&'static str],
    /// Which of ours its tests, examples and benchmarks may import besides.
    ours_in_tests: &'static [&'static str],
    /// Which of others' it may import, where that is restricted.
    others: Option<&'static [&'static str]>,
}

const ALL: &[&str] = &[
    "umbel-supervision",
    "umbel-actors",
    "umbel-database",
    "umbel-derive",
    "umbel-http",
    "umbel-secret",
    "umbel-services",
    "umbel-modules",
    "umbel-telemetry",
    "umbel-protocol",
    "umbel-cluster",
    "umbel-ractor-cluster",
    "umbel-cluster-services",
    "umbel-cluster-modules",
    "umbel",
    "umbel-examples",
    "shop",
    "umbel-sims",
];

const TABLE: &[Member] = &[
    Member {
        name: "umbel-supervision",
        folder: "supervision",
        ours: &[],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-actors",
        folder: "actors",
        ours: &["umbel-supervision", "umbel-derive"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-database",
        folder: "actors/database",
        ours: &["umbel-secret"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-derive",
        folder: "actors/derive",
        ours: &[],
        ours_in_tests: &[],
        others: Some(&["proc-macro2", "quote", "syn"]),
    },
    Member {
        name: "umbel-http",
        folder: "actors/http",
        ours: &["umbel-secret"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-secret",
        folder: "actors/secret",
        ours: &[],
        ours_in_tests: &[],
        others: Some(&["serde", "subtle"]),
    },
    Member {
        name: "umbel-services",
        folder: "actors/services",
        ours: &["umbel-actors", "umbel-secret", "umbel-supervision"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-modules",
        folder: "actors/modules",
        ours: &["umbel-actors", "umbel-services", "umbel-database", "umbel-http", "umbel-secret"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-telemetry",
        folder: "actors/telemetry",
        ours: &["umbel-actors"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-protocol",
        folder: "cluster/protocol",
        ours: &[],
        ours_in_tests: &[],
        // Pure: nothing here may open, wait, read a clock or draw by itself.
        others: Some(&["foca", "rand_core", "serde", "thiserror"]),
    },
    Member {
        name: "umbel-cluster",
        folder: "cluster",
        ours: &["umbel-protocol", "umbel-actors", "umbel-supervision"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-ractor-cluster",
        folder: "cluster/ractor",
        ours: &["umbel-cluster", "umbel-protocol", "umbel-actors"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-cluster-services",
        folder: "cluster/services",
        ours: &["umbel-cluster", "umbel-services", "umbel-actors"],
        ours_in_tests: &["umbel-telemetry"],
        others: None,
    },
    Member {
        name: "umbel-cluster-modules",
        folder: "cluster/modules",
        ours: &["umbel-actors", "umbel-cluster", "umbel-cluster-services", "umbel-modules"],
        ours_in_tests: &["umbel-services"],
        others: None,
    },
    Member {
        name: "umbel",
        folder: "cluster/console",
        ours: &["umbel-cluster", "umbel-protocol", "umbel-actors", "umbel-supervision"],
        ours_in_tests: &[],
        others: None,
    },
    Member {
        name: "umbel-examples",
        folder: "examples",
        ours: ALL,
        ours_in_tests: ALL,
        others: None,
    },
    Member { name: "shop", folder: "examples/shop", ours: ALL, ours_in_tests: ALL, others: None },
    Member { name: "umbel-sims", folder: "sims", ours: ALL, ours_in_tests: ALL, others: None },
];

/// What every member takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// Pinned to one version, for the reasons in `deny.toml` and the root manifest.
const PINNED: &[&str] = &["ractor", "ractor_cluster", "bincode"];

/// The root manifest and those of the members, by folder.
struct Manifests {
    root: Table,
    members: BTreeMap<String, Table>,
}

impl Manifests {
    fn read() -> Self {
        let read = |folder: &str| {
            let path = root().join(folder).join("Cargo.toml");
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            text.parse::<Table>().unwrap_or_else(|why| panic!("{}: {why}", path.display()))
        };
        let members = TABLE.iter().map(|member| (member.folder.to_owned(), read(member.folder)));
        Self { root: read(""), members: members.collect() }
    }

    fn check(&self) -> Vec<String> {
        let mut violations = Vec::new();
        self.check_root(&mut violations);
        for member in TABLE {
            match self.members.get(member.folder) {
                Some(manifest) => check_member(member, manifest, &mut violations),
                None => violations.push(format!("{} has no manifest", member.folder)),
            }
        }
        violations
    }

    fn check_root(&self, violations: &mut Vec<String>) {
        let workspace = table(&self.root, "workspace");
        let mut members: Vec<_> = strings(workspace.get("members"));
        members.sort_unstable();
        let mut folders: Vec<_> = TABLE.iter().map(|member| member.folder).collect();
        folders.sort_unstable();
        if members != folders {
            violations.push(format!("members are {members:?}, the table has {folders:?}"));
        }
        let package = table(&workspace, "package");
        for (key, wanted) in [
            ("edition", Value::from("2024")),
            ("license", Value::from("MIT OR Apache-2.0")),
            ("publish", Value::from(false)),
        ] {
            if package.get(key) != Some(&wanted) {
                violations.push(format!("[workspace.package] {key} is not {wanted}"));
            }
        }
        if strings(workspace.get("default-members")) != ["cluster/console"] {
            violations.push("`cargo run` at the root would not run `umbel`".into());
        }
        for (name, dependency) in &table(&workspace, "dependencies") {
            let path = dependency.get("path").and_then(Value::as_str);
            let wanted = TABLE.iter().find(|member| member.name == name);
            if path != wanted.map(|member| member.folder) {
                violations.push(format!("[workspace.dependencies] {name} has the path {path:?}"));
            }
            if dependency.get("git").is_some() {
                violations.push(format!("[workspace.dependencies] {name} comes from git"));
            }
            let version = dependency.get("version").or(Some(dependency)).and_then(Value::as_str);
            let pinned = version.is_some_and(|version| version.starts_with('='));
            if PINNED.contains(&name.as_str()) && !pinned {
                violations.push(format!("[workspace.dependencies] {name} is not pinned by `=`"));
            }
        }
    }
}

fn check_member(member: &Member, manifest: &Table, violations: &mut Vec<String>) {
    let folder = member.folder;
    let package = table(manifest, "package");
    if package.get("name").and_then(Value::as_str) != Some(member.name) {
        violations.push(format!("{folder}: the package is not {}", member.name));
    }
    for key in INHERITED {
        if !inherits(package.get(*key)) {
            violations.push(format!("{folder}: {key} is not the workspace's"));
        }
    }
    if !inherits(manifest.get("lints")) {
        violations.push(format!("{folder}: lints are not the workspace's"));
    }
    let targets = table(manifest, "target");
    let targets = targets.values().filter_map(Value::as_table);
    for section in std::iter::once(manifest).chain(targets) {
        for (kind, in_tests) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for (name, dependency) in &table(section, kind) {
                check_dependency(member, name, dependency, in_tests, violations);
            }
        }
    }
}

fn check_dependency(
    member: &Member,
    name: &str,
    dependency: &Value,
    in_tests: bool,
    violations: &mut Vec<String>,
) {
    let folder = member.folder;
    // With `workspace = true`, cargo allows neither a path, a version, a git address nor another
    // name: what it is stands in the root manifest, and is checked there.
    if !inherits(Some(dependency)) {
        violations.push(format!("{folder}: {name} is not the workspace's: say `workspace = true`"));
    }
    let allowed = if ALL.contains(&name) {
        member.ours.contains(&name) || (in_tests && member.ours_in_tests.contains(&name))
    } else {
        in_tests || member.others.is_none_or(|others| others.contains(&name))
    };
    if !allowed {
        violations.push(format!("{folder} may not import {name}: see ARCHITECTURE.md, Code map"));
    }
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

fn table(parent: &Table, key: &str) -> Table {
    parent.get(key).and_then(Value::as_table).cloned().unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let values = value.and_then(Value::as_array).into_iter().flatten();
    values.filter_map(Value::as_str).collect()
}

#[test]
fn folders_import_only_to_the_left() {
    none(&Manifests::read().check());
}

/// The violations after `doctor` has changed the manifest in `folder` (the root's where empty).
fn doctored(folder: &str, doctor: impl FnOnce(&mut Table)) -> Vec<String> {
    let mut manifests = Manifests::read();
    let manifest = match folder {
        "" => &mut manifests.root,
        folder => manifests.members.get_mut(folder).expect("it is in the table"),
    };
    doctor(manifest);
    manifests.check()
}

fn add(section: &'static str, name: &'static str, dependency: &'static str) -> impl Fn(&mut Table) {
    move |manifest| {
        let section = manifest.entry(section).or_insert(Value::Table(Table::new()));
        let dependency: Table = dependency.parse().expect("written here");
        let section = section.as_table_mut().expect("sections are tables");
        section.insert(name.into(), Value::Table(dependency));
    }
}

#[test]
fn an_import_to_the_right_is_found_in_every_section() {
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let found = doctored("actors", add(section, "umbel-cluster", "workspace = true"));
        assert!(found[0].starts_with("actors may not import umbel-cluster"), "{found:?}");
        let found = doctored("supervision", add(section, "umbel-sims", "workspace = true"));
        assert_eq!(found.len(), 1, "{found:?}");
    }
    let for_one_system = |manifest: &mut Table| {
        let target = "[target.'cfg(unix)'.dependencies]\numbel-cluster = { workspace = true }";
        let target: Table = target.parse().expect("written here");
        manifest.insert("target".into(), target["target"].clone());
    };
    let found = doctored("supervision", for_one_system);
    assert!(found[0].starts_with("supervision may not import umbel-cluster"), "{found:?}");
}

#[test]
fn a_clock_or_a_runtime_in_the_protocol_is_found() {
    for name in ["tokio", "ractor", "rand"] {
        let found = doctored("cluster/protocol", add("dependencies", name, "workspace = true"));
        assert_eq!(found.len(), 1, "{found:?}");
        let tests = doctored("cluster/protocol", add("dev-dependencies", name, "workspace = true"));
        assert_eq!(tests, [""; 0], "tests may use what they like");
    }
}

#[test]
fn a_dependency_past_the_workspace_is_found() {
    let path = add("dependencies", "elsewhere", "path = \"../../elsewhere\"");
    assert!(doctored("cluster", path)[0].contains("say `workspace = true`"));
    let path = |manifest: &mut Table| {
        let workspace = manifest["workspace"].as_table_mut().expect("it is a table");
        add("dependencies", "serde", "path = \"../serde\"")(workspace);
    };
    assert!(doctored("", path)[0].contains("serde has the path"));
}

#[test]
fn what_a_member_does_not_inherit_is_found() {
    let found = doctored("cluster", |manifest| {
        manifest.remove("lints");
        let package = manifest["package"].as_table_mut().expect("it is a table");
        package.insert("edition".into(), Value::from("2021"));
        package.remove("license");
        package.remove("publish");
    });
    let wanted = ["edition", "license", "publish", "lints"];
    assert!(wanted.iter().all(|key| found.iter().any(|line| line.contains(key))), "{found:?}");
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn a_member_that_is_not_in_the_table_is_found() {
    let found = doctored("", |manifest| {
        let workspace = manifest["workspace"].as_table_mut().expect("it is a table");
        let members = workspace["members"].as_array_mut().expect("it is a list");
        members.push(Value::from("elsewhere"));
    });
    assert!(found[0].contains("the table has"), "{found:?}");
}
