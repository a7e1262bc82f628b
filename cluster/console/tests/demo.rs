//! The demo, as its user runs it.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use support::{Other, Running, file, run, stderr, stdout, umbel};

mod support;

/// Runs the demo with `--json`; it must be the only line on standard output.
fn demo(arguments: &[&str]) -> Value {
    let output = run(umbel(&[&["demo", "--json"], arguments].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1);
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn text() -> String {
    "The quick brown fox\njumps over the lazy dog; the DOG sleeps.\n".repeat(2000)
}

#[test]
fn a_killed_node_costs_no_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "fox.txt", text());
    let report = demo(&[path.to_str().unwrap()]);
    assert_eq!(report["correct"], true);
    assert_eq!((&report["files"], &report["lines"]), (&1.into(), &4000.into()));
    assert_eq!((&report["words"], &report["distinct"]), (&24_000.into(), &9.into()));
    assert_eq!(report["nodes"], 3);
    assert!(report["killed"].as_str().unwrap().starts_with("node-"));
    assert!(report["batches_resent"].as_u64().unwrap() >= 1, "{report}");
    let (detected, recovered) = (&report["detected_in_ms"], &report["recovered_in_ms"]);
    assert!(detected.as_f64().unwrap() <= recovered.as_f64().unwrap());
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "batches_resent correct detected_in_ms distinct files killed lines nodes \
                    recovered_in_ms seconds words";
    assert_eq!(keys.join(" "), expected, "and nothing else");
}

#[test]
fn nobody_is_killed_where_nobody_is_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "fox.txt", text());
    let path = path.to_str().unwrap();
    let report = demo(&["--kill", "none", "--nodes", "2", path, path]);
    assert_eq!((&report["correct"], &report["words"]), (&true.into(), &48_000.into()));
    for none in ["killed", "detected_in_ms", "recovered_in_ms"] {
        assert_eq!(report[none], Value::Null);
    }
    assert_eq!((&report["batches_resent"], &report["nodes"]), (&0.into(), &2.into()));
}

#[test]
fn a_single_word_is_enough_to_kill_a_node_in_the_middle() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "word", "Word");
    let report = demo(&[path.to_str().unwrap()]);
    assert_eq!((&report["correct"], &report["words"]), (&true.into(), &1.into()));
    assert!(report["killed"].is_string());
    assert!(report["recovered_in_ms"].is_number());
    assert!(report["batches_resent"].as_u64().unwrap() >= 1, "the word was sent to it");
}

#[test]
fn the_node_to_be_killed_can_be_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "fox.txt", text());
    let report = demo(&["--kill", "node-2", path.to_str().unwrap()]);
    assert_eq!((&report["correct"], &report["killed"]), (&true.into(), &"node-2".into()));
}

#[test]
fn odd_input_is_counted_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path =
        |name: &str, text: &[u8]| file(directory.path(), name, text).to_str().unwrap().to_owned();
    let empty = path("empty", b"");
    let report = demo(&[&empty]);
    assert_eq!((&report["correct"], &report["words"]), (&true.into(), &0.into()));
    assert_eq!(report["killed"], Value::Null, "there is no middle");

    // Bytes that are no UTF-8, a line without end, a word longer than any frame.
    let mut bytes = b"caf\xc3\xa9 na\xefve \xe6\x9d\xb1\xe4\xba\xac \xff\xfe end".repeat(500);
    bytes.push(b' ');
    bytes.extend_from_slice("W".repeat(3 << 20).as_bytes());
    let report = demo(&[&path("odd", &bytes), &empty]);
    assert_eq!((&report["correct"], &report["lines"]), (&true.into(), &1.into()));
    // One "end" and "café" grow together at each of the 499 seams.
    assert_eq!(report["words"], 500 * 5 - 499 + 1);
}

#[test]
fn standard_input_is_counted_like_a_file() {
    let mut command = umbel(&["demo", "--json", "--kill", "none", "-"]);
    let mut demo = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    demo.stdin.take().unwrap().write_all(b"one two\ntwo").unwrap();
    let output = demo.wait_with_output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["words"], &report["distinct"]), (&3.into(), &2.into()));
}

#[test]
fn what_cannot_be_counted_is_named_before_any_node_starts() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let missing = format!("{here}/missing");
    for (arguments, said) in [
        (vec![missing.as_str()], "missing: No such file"),
        (vec![here], "is a directory, not a file; name the files in it"),
        (vec!["--kill", "node-9"], "there is no node \"node-9\" to kill; give --kill none"),
        (vec!["--nodes", "1"], "1 is not in 2..=9"),
        (vec!["--nods"], "unexpected argument '--nods'"),
    ] {
        let output = run(umbel(&[vec!["demo"], arguments].concat()));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

/// A demo that counts, and will for a while, and the processes that it has told of.
fn in_the_middle(directory: &Path, repeat: &str) -> (Running, Vec<Other>) {
    let path = file(directory, "fox.txt", text());
    let kill_nobody = ["demo", "--kill", "none", "--repeat", repeat];
    let mut command = umbel(&[&kill_nobody[..], &[path.to_str().unwrap()]].concat());
    command.env("TMPDIR", directory);
    let mut demo = Running::start(command);
    demo.line("the intake reads");
    let node = |line: &String| Some(Other::new(line.rsplit_once("as process ")?.1));
    let nodes: Vec<Other> = demo.heard().iter().filter_map(node).collect();
    assert_eq!(nodes.len(), 3);
    assert!(!nodes.iter().any(Other::has_ended));
    (demo, nodes)
}

/// The help of `option`: its paragraph.
fn help_of<'a>(help: &'a str, option: &str) -> &'a str {
    let from = help.find(option).unwrap_or_else(|| panic!("no {option} in {help}"));
    let paragraph = &help[from..];
    paragraph.split("\n\n").next().unwrap_or(paragraph)
}

#[test]
fn the_help_tells_the_ranges_that_hold() {
    let help = stdout(&run(umbel(&["demo", "--help"])));
    for option in ["--nodes", "--counters", "--batch-lines", "--repeat"] {
        let words: Vec<_> = help_of(&help, option).split_whitespace().collect();
        let range = words.windows(3).find_map(|three| {
            let number = |word: &str| word.trim_end_matches([';', ',', '.']).parse::<u64>().ok();
            let [from, to, until] = three else { return None };
            (*to == "to").then_some(())?;
            Some((number(from)?, number(until)?))
        });
        let (least, most) = range.unwrap_or_else(|| panic!("no range of {option} in {words:?}"));
        for beyond in [least - 1, most + 1] {
            let output = run(umbel(&["demo", option, &beyond.to_string()]));
            assert_eq!(output.status.code(), Some(2), "{option} {beyond}");
            assert!(stderr(&output).contains(&format!("{least}..={most}")), "{}", stderr(&output));
        }
    }
    assert_eq!(help.matches("1000 times").count(), help.matches(" times").count(), "{help}");
}

#[test]
fn what_is_lost_with_a_node_is_told_once_for_each_cause() {
    let output = run(umbel(&["demo", "--repeat", "40"]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = stdout(&output);
    let mut lines: Vec<_> = report
        .lines()
        .filter(|line| line.contains("sent again: "))
        .filter_map(|line| line.split_once("  "))
        .collect();
    let told = lines.len();
    lines.dedup_by_key(|(_, what)| what.split_once(": ").map(|(_, why)| why.to_owned()));
    assert_eq!(lines.len(), told, "{report}");
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let directory = tempfile::tempdir().unwrap();
        let (mut demo, nodes) = in_the_middle(directory.path(), "1000");
        demo.signal(signal);
        assert_eq!(demo.wait().code(), Some(status));
        assert!(nodes.iter().all(Other::has_ended));
        assert_eq!(demo.all_gone(), "", "it ends without a word");
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the input: {left:?}");
    }
}

#[test]
fn the_nodes_end_even_where_the_demo_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut demo, nodes) = in_the_middle(directory.path(), "1000");
    demo.signal(Signal::KILL);
    demo.all_gone();
    assert!(nodes.iter().all(Other::ends));
    let keys = fs::read_dir(directory.path()).unwrap().flatten();
    let keys = keys.filter(|entry| entry.path().is_dir()).map(|entry| entry.path());
    for directory in keys {
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "no key is left on the disk");
    }
}

#[test]
fn a_node_that_dies_unasked_is_replaced_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let (mut demo, nodes) = in_the_middle(directory.path(), "40");
    nodes[1].kill();
    demo.line("node-2 has ended, which nobody asked for: signal: 9");
    demo.line("node-4 is to replace node-2");
    demo.line("every count is that of a plain single-threaded count");
    assert_eq!(demo.wait().code(), Some(0));
    assert_eq!(demo.all_gone(), "");
}

#[test]
fn it_needs_no_home_and_ends_quietly_where_nobody_reads() {
    let mut command = umbel(&["demo"]);
    command.env_remove("HOME").env("XDG_STATE_HOME", "/nowhere").stdout(Stdio::piped());
    let mut demo = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(demo.stdout.take());
    let output = demo.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""));
}
