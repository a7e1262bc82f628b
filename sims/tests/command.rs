//! `umbel-sim` as it is used.

use std::process::{Command, Output};

fn umbel_sim(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_umbel-sim")).args(arguments).output();
    let Output { status, stdout, stderr } = output.expect("it was built for this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.success(), text(&stdout), text(&stderr))
}

#[test]
fn a_run_tells_each_seed_as_one_json_object() {
    let (well, out, _) = umbel_sim(&["run", "--seeds", "3", "--from", "100", "--json"]);
    assert!(well, "{out}");
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let seeds: Vec<_> = lines.iter().map(|line| line["seed"].as_u64()).collect();
    assert_eq!(seeds, [Some(100), Some(101), Some(102)]);
    for line in &lines {
        assert_eq!(line["ok"], true);
        assert_eq!(line["trace"].as_str().map(str::len), Some(16));
        assert!(line["sim_seconds"].is_f64() && line["wall_ms"].is_f64());
    }
}

#[test]
fn a_failing_seed_ends_it_with_status_one_and_the_line_that_replays_it() {
    let (well, _, told) = umbel_sim(&["run", "--seeds", "3", "--mutant", "KeepsEntries"]);
    assert!(!well);
    let line = told.lines().find_map(|line| line.strip_prefix("replay: ")).expect("it is told");
    let (_, arguments) = line.split_once(" -- ").expect("cargo's arguments, then ours");
    let (well, out, _) = umbel_sim(&arguments.split(' ').collect::<Vec<_>>());
    assert!(!well && out.contains("VIOLATED living-entries"), "{out}");
}

#[test]
fn a_seed_that_is_none_and_a_bug_that_is_none_are_refused_with_what_there_is() {
    let (well, _, told) = umbel_sim(&["replay", "seven"]);
    assert!(!well && told.contains("seven"));
    let (well, _, told) = umbel_sim(&["run", "--mutant", "Gremlin"]);
    assert!(!well && told.contains("LosesMessages"), "{told}");
}
