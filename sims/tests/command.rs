//! `umbel-sim` as it is used.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a command has said, and its status.
#[derive(Debug)]
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

fn umbel_sim(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_umbel-sim")).args(arguments).output();
    said(output.expect("it was built for this test"))
}

fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
    Said { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Says the line that a failure tells, as one would paste it: a shell takes it apart.
fn paste(line: &str) -> Said {
    let (_, ours) = line.split_once(" -- ").expect("cargo's arguments, then ours");
    let line = format!("{} {ours}", env!("CARGO_BIN_EXE_umbel-sim"));
    said(Command::new("sh").args(["-c", &line]).output().expect("there is a shell"))
}

fn lines(said: &Said) -> Vec<Value> {
    let object = |line| serde_json::from_str(line).expect("an object a line");
    said.out.lines().map(object).collect()
}

/// Without what depends on the machine.
fn traces(said: &Said) -> Vec<(Value, Value, Value)> {
    let of = |line: &Value| (line["scenario"].clone(), line["seed"].clone(), line["trace"].clone());
    lines(said).iter().map(of).collect()
}

#[test]
fn a_run_tells_each_seed_of_each_scenario_as_one_json_object_in_order() {
    let said = umbel_sim(&["run", "--seeds", "3", "--from", "100", "--json", "--jobs", "2"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let told = lines(&said);
    let seeds: Vec<_> = told.iter().filter_map(|line| line["seed"].as_u64()).collect();
    let scenarios = umbel_sims::scenarios().len();
    assert_eq!(seeds.len(), 3 * scenarios);
    assert!(seeds.is_sorted() && seeds[0] == 100 && seeds.last() == Some(&102), "{seeds:?}");
    for line in &told {
        assert_eq!(line["ok"], true);
        assert_eq!(line["trace"].as_str().map(str::len), Some(16));
        assert!(line["sim_seconds"].is_f64() && line["wall_ms"].is_f64());
    }
    assert!(said.out.starts_with(r#"{"scenario":"standard","seed":100,"ok":true,"trace":""#));
}

#[test]
fn how_many_seeds_are_run_at_a_time_changes_nothing_in_them() {
    let run = |jobs| umbel_sim(&["run", "--seeds", "4", "--json", "--jobs", jobs]);
    assert_eq!(traces(&run("1")), traces(&run("3")));
}

#[test]
fn a_summary_says_which_seeds_were_run_and_that_some_were_run_twice() {
    let said = umbel_sim(&["run", "--scenario", "decisions", "--seeds", "5", "--from", "60"]);
    let told = "decisions: seeds 60 to 64, all hold; 1 run twice; ";
    assert!(said.status == Some(0) && said.out.starts_with(told), "{said:?}");
    assert!(said.out.contains("the slowest to be well again took"), "{said:?}");
    assert_eq!(said.err, "", "no bar where there is no terminal");
}

#[test]
fn failing_seeds_end_a_run_with_status_one_three_in_full_and_the_others_in_a_line() {
    let said = umbel_sim(&["run", "--seeds", "6", "--mutant", "KeepsEntries", "--jobs", "2"]);
    assert_eq!(said.status, Some(1));
    assert!(said.out.contains("seeds 0 to 5, 5 of 6 FAILED"), "{said:?}");
    let full: Vec<_> = said.err.lines().filter(|line| line.starts_with("replay: ")).collect();
    let brief: Vec<_> = said.err.lines().filter(|line| line.contains("s replay: ")).collect();
    assert_eq!((full.len(), brief.len()), (3, 2), "{said:?}");
    for line in [full[0], brief[0]] {
        let again = paste(line);
        assert_eq!(again.status, Some(1));
        assert!(again.out.contains("VIOLATED living-entries"), "{again:?}");
    }
}

#[test]
fn a_seed_whose_two_runs_differ_is_told_with_the_event_at_which_they_part() {
    let arguments = ["run", "--seeds", "1", "--json", "--mutant", "HashOrder", "--from"];
    // A hash table of few keys is in the same order twice now and then.
    let said = ["0", "1", "2", "3", "4", "5", "6", "7"].iter().find_map(|seed| {
        let said = umbel_sim(&[&arguments[..], &[seed]].concat());
        (said.status == Some(1)).then_some(said)
    });
    let said = said.expect("one of eight differs");
    assert_eq!(lines(&said)[0]["violations"][0]["invariant"], "same-every-time");
    assert!(said.err.contains("two runs part at event "), "{said:?}");
}

#[test]
fn when_the_time_is_over_it_says_how_far_it_came() {
    let said = umbel_sim(&["run", "--seeds", "1000000", "--time-budget", "2s", "--jobs", "2"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.out.contains(" of seeds 0 to 999999, all hold; "), "{said:?}");
    assert!(said.out.contains("the time was over after "), "{said:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_with_what_it_has_so_far() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umbel-sim"));
    command.args(["run", "--seeds", "1000000", "--json", "--scenario", "decisions"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut first = String::new();
    out.read_line(&mut first).expect("it tells its first seed");
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(kill.expect("there is a shell").success());
    for line in out.lines() {
        let line = line.expect("it is read to its end");
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "no line is cut: {line}");
    }
    let said = said(child.wait_with_output().expect("it ends"));
    assert_eq!(said.status, Some(130), "{said:?}");
    assert!(said.err.contains("of seeds 0 to 999999") && said.err.contains("ended by Ctrl-C"));
}

#[test]
fn a_replay_tells_the_faults_and_all_that_happened() {
    let ran =
        umbel_sim(&["run", "--scenario", "standard", "--seeds", "1", "--from", "7", "--json"]);
    let trace = lines(&ran)[0]["trace"].as_str().map(str::to_owned).expect("it has one");
    let said = umbel_sim(&["replay", "7", "--trace"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.out.starts_with("standard seed 7: ") && said.out.contains(&trace), "{said:?}");
    assert!(said.out.lines().count() > 500 && said.out.contains("the faults are over"));
}

#[test]
fn the_faults_of_a_replay_are_taken_from_a_file_or_from_the_line() {
    let list = r#"[{"at_ms":1500,"fault":{"kill":{"node":1,"down_ms":300}}}]"#;
    let file = std::env::temp_dir().join(format!("umbel-sim-{}.json", std::process::id()));
    std::fs::write(&file, list).expect("there is room");
    let from_line = umbel_sim(&["replay", "7", "--faults", list]);
    let from_file = umbel_sim(&["replay", "7", "--faults", file.to_str().expect("it is UTF-8")]);
    std::fs::remove_file(&file).expect("it is there");
    assert!(from_line.out.contains("1.500000s Kill { node: 1, down_ms: 300 }"), "{from_line:?}");
    assert_eq!((from_line.status, &from_line.out), (Some(0), &from_file.out));
}

#[test]
fn faults_that_cannot_befall_a_scenario_are_refused_before_the_run() {
    let refused = |arguments: &[&str], told: &str| {
        let said = umbel_sim(&[&["replay", "7"], arguments].concat());
        assert!(said.status == Some(2) && said.out.is_empty(), "{said:?}");
        assert!(said.err.contains(told), "{said:?}");
    };
    refused(&["--faults", "nowhere.json"], "could not read nowhere.json");
    refused(
        &["--faults", "[\n {\"at_ms\": true}]"],
        "--faults, line 2, column 15: invalid type: boolean",
    );
    let fault = |fault: &str| format!(r#"[{{"at_ms":1,"fault":{fault}}}]"#);
    refused(&["--faults", &fault(r#"{"reset":{"a":0,"b":3}}"#)], "they are 0 to 2");
    refused(
        &["--faults", &fault(r#"{"clock_drift":{"node":0,"millionths":9000000000,"ms":1}}"#)],
        "more than a clock can do",
    );
    let late = r#"[{"at_ms":10000,"fault":{"reset":{"a":0,"b":1}}}]"#;
    refused(&["--faults", late], "faults end at 10s");
    refused(&["--faults", "[]", "--scenario", "decisions"], "takes no list of faults");
}

#[test]
fn a_seed_that_holds_has_nothing_to_shrink() {
    let said = umbel_sim(&["shrink", "7"]);
    assert_eq!((said.status, said.out.as_str()), (Some(0), ""));
    assert!(said.err.contains("standard: seed 7 holds"), "{said:?}");
}

#[test]
fn a_bench_tells_each_scenario_as_one_json_object() {
    let said = umbel_sim(&["bench", "--scenario", "decisions", "--time-budget", "300ms", "--json"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let told = lines(&said);
    assert_eq!((told.len(), &told[0]["scenario"]), (1, &Value::from("decisions")));
    for figure in ["seeds_per_minute_per_core", "sim_seconds_per_second"] {
        assert!(told[0][figure].as_f64() > Some(0.0), "{said:?}");
    }
}

#[test]
fn a_list_tells_scenarios_and_bugs() {
    let said = umbel_sim(&["list"]);
    assert_eq!(said.status, Some(0));
    for word in ["standard", "decisions", "LosesMessages"] {
        assert!(said.out.contains(word), "{said:?}");
    }
}

#[test]
fn what_it_does_not_understand_it_refuses_with_what_there_is() {
    let refused = |arguments: &[&str], told: &str| {
        let said = umbel_sim(arguments);
        assert!(said.status == Some(2) && said.err.contains(told), "{said:?}");
    };
    refused(&["replay", "seven"], "seven");
    refused(&["run", "--scenario", "standart"], "the scenarios are standard, ");
    refused(&["run", "--mutant", "Gremlin"], "LosesMessages");
    refused(&["run", "--scenario", "decisions", "--mutant", "Gremlin"], "LosesMessages");
    refused(&["run", "--jobs", "0"], "--jobs");
    refused(&["run", "--seeds", "0"], "--seeds");
    refused(&["run", "--time-budget", "3"], "a time is a number and its unit");
    refused(&["shrink", "7", "--scenario", "decisions"], "takes no list of faults");
}
