//! `umbel-sim chaos` as it is used: real processes, and none of them left.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

/// Nothing that is waited for here takes so long.
const SOON: Duration = Duration::from_secs(60);

/// A run, whose directories are made in one of its own.
struct Run {
    directory: TempDir,
    child: Child,
}

/// What has become of it.
struct Done {
    status: ExitStatus,
    out: Vec<String>,
    told: Vec<String>,
    /// The processes that it said to have started.
    processes: Vec<i32>,
}

impl Run {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_umbel-sim"))
            .arg("chaos")
            .args(arguments)
            .env("TMPDIR", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { directory, child }
    }

    /// Reads to the end what it tells; with each line `seen` may do something to it.
    fn finish(mut self, mut seen: impl FnMut(&str, Pid)) -> Done {
        let id = Pid::from_child(&self.child);
        let told = BufReader::new(self.child.stderr.take().unwrap());
        let told = std::thread::spawn(move || told.lines().map(Result::unwrap).collect::<Vec<_>>());
        let mut out = Vec::new();
        for line in BufReader::new(self.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            seen(&line, id);
            out.push(line);
        }
        let status = self.child.wait().unwrap();
        let processes = out
            .iter()
            .filter_map(|line| line.split_once("is started as process ")?.1.parse().ok())
            .collect();
        let done = Done { status, out, told: told.join().unwrap(), processes };
        done.no_process_is_left();
        let left = std::fs::read_dir(self.directory.path()).unwrap();
        done.directories_left(left.map(|entry| entry.unwrap().path()).collect())
    }
}

impl Done {
    fn no_process_is_left(&self) {
        for id in &self.processes {
            // Whom the kernel kills as the run ends is gone within a moment.
            let since = Instant::now();
            while runs(*id) {
                assert!(since.elapsed() < SOON, "process {id} is left: {:?}", self.out);
                std::thread::yield_now();
            }
        }
    }

    fn directories_left(self, left: Vec<PathBuf>) -> Self {
        if self.status.signal().is_none() {
            assert_eq!(left, [] as [PathBuf; 0]);
            return self;
        }
        // Who is killed can clear nothing away; but each node has removed its key when it had read it.
        for directory in left {
            let within: Vec<_> = std::fs::read_dir(directory).unwrap().collect();
            assert!(within.is_empty(), "{within:?}");
        }
        self
    }
}

#[test]
fn real_nodes_are_well_again_after_all_that_goes_wrong_in_fifteen_seconds() {
    let done = Run::start(&["--seconds", "15", "--seed", "5", "--json"]).finish(|_, _| {});
    assert!(done.status.success(), "{:?} {:?}", done.out, done.told);
    let [object] = done.out.as_slice() else { panic!("{:?}", done.out) };
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["ok"], true);
    assert_eq!((object["seed"].as_u64(), object["nodes"].as_u64()), (Some(5), Some(3)));
    assert_eq!(object["violations"], serde_json::json!([]));
    let faults = object["faults"].as_object().unwrap();
    assert!(faults.values().filter_map(serde_json::Value::as_u64).sum::<u64>() >= 5, "{object}");
    for counted in ["sent", "received", "answered", "heard", "connections", "records"] {
        assert!(object[counted].as_u64().unwrap() > 0, "{counted}: {object}");
    }
    assert!(!object["recoveries_seconds"].as_array().unwrap().is_empty(), "{object}");
}

#[test]
fn what_does_not_hold_is_told_with_the_last_of_each_node_and_ends_it_with_status_one() {
    let run = Run::start(&["--seconds", "5", "--seed", "1", "--settles-within", "0"]);
    let done = run.finish(|_, _| {});
    assert_eq!(done.status.code(), Some(1), "{:?}", done.told);
    let failed =
        done.told.iter().any(|line| line.starts_with("FAIL chaos seed=1 invariant=settles"));
    assert!(failed, "{:?}", done.told);
    let told = done.out.iter().any(|line| line.starts_with("chaos: FAIL seed=1, 3 nodes for "));
    assert!(told, "{:?}", done.out);
    assert_eq!(done.processes.len(), 3);
}

/// Whether there is such a process. One that has ended may wait for ever where the system's first process
/// looks after nobody.
fn runs(id: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{id}/stat"));
    let has_ended = state.is_ok_and(|state| state.contains(") Z "));
    !has_ended && test_kill_process(Pid::from_raw(id).unwrap()).is_ok()
}

/// Runs until all nodes are up, and then `does` something, once, to the run and to one of its nodes.
fn ended_by(does: impl Fn(Pid, Pid)) -> Done {
    let mut nodes = Vec::new();
    Run::start(&["--minutes", "5", "--seed", "2"]).finish(|line, run| {
        if let Some((_, id)) = line.split_once("is started as process ") {
            nodes.push(Pid::from_raw(id.parse().unwrap()).unwrap());
        }
        if line.contains("all was well after") {
            does(run, nodes[0]);
        }
    })
}

#[test]
fn a_node_that_ends_although_nobody_asked_for_it_is_a_violation() {
    let done = ended_by(|_, node| kill_process(node, Signal::KILL).unwrap());
    assert_eq!(done.status.code(), Some(1), "{:?}", done.told);
    let told = done.told.iter().any(|line| line.contains("nobody asked for: signal: 9"));
    assert!(told, "{:?}", done.told);
}

#[test]
fn ctrl_c_ends_it_and_leaves_no_process_and_no_directory() {
    let done = ended_by(|run, _| kill_process(run, Signal::INT).unwrap());
    assert_eq!(done.status.code(), Some(130), "{:?}", done.told);
}

#[test]
fn sigterm_ends_it_and_leaves_no_process_and_no_directory() {
    let done = ended_by(|run, _| kill_process(run, Signal::TERM).unwrap());
    assert_eq!(done.status.code(), Some(143), "{:?}", done.told);
}

/// The kernel ends what a killed process cannot.
#[test]
#[cfg(target_os = "linux")]
fn sigkill_leaves_no_process_not_even_one_that_is_stopped_and_no_key() {
    let done = ended_by(|run, node| {
        kill_process(node, Signal::STOP).unwrap();
        kill_process(run, Signal::KILL).unwrap();
    });
    assert_eq!(done.status.signal(), Some(9));
    assert_eq!(done.processes.len(), 3);
}

#[test]
fn a_panic_ends_it_and_leaves_no_process_and_no_directory() {
    let run = Run::start(&["--minutes", "5", "--seed", "3", "--panic-after", "4000"]);
    let done = run.finish(|_, _| {});
    assert_eq!(done.status.code(), Some(101), "{:?}", done.told);
    assert!(done.told.iter().any(|line| line.contains("as was asked for")), "{:?}", done.told);
    assert_eq!(done.processes.len(), 3);
}

#[test]
fn what_it_cannot_do_is_refused_with_what_it_can() {
    for (arguments, says) in [
        (["--nodes", "1"].as_slice(), "2..=9"),
        (&["--minutes", "0"], "1..=1440"),
        (&["--minutes", "1", "--seconds", "1"], "cannot be used with"),
    ] {
        let done = Run::start(arguments).finish(|_, _| {});
        assert_eq!(done.status.code(), Some(2));
        assert!(done.told.iter().any(|line| line.contains(says)), "{:?}", done.told);
    }
    let mut node = Command::new(env!("CARGO_BIN_EXE_umbel-sim"));
    let output = node.args(["internal-chaos-node", "{}"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && told.contains("only `umbel-sim chaos` calls this"),
        "{told}"
    );
}
