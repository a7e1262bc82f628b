//! The examples are run as a user runs them, and must say what they promise.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

/// Far beyond what an example takes: a guard against one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `cargo test` has put the example: beside the directory of this test's own program.
fn program(example: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a test knows its own program");
    let deps = me.parent().expect("it lies in target/<profile>/deps");
    let directory = deps.parent().expect("so there is one above").join("examples");
    let program = directory.join(example).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{program:?} is not built: run `cargo test` without `--test`");
    program
}

/// Runs an example that must succeed; returns what it printed.
async fn run(example: &str) -> String {
    run_with(example, &[]).await
}

async fn run_with(example: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program(example));
    command.args(arguments);
    // An example that touched the user's state would fail here.
    command.env("UMBEL_STATE_DIR", "/dev/null/nowhere").kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{example} ran for more than {PATIENCE:?}"));
    let Output { status, stdout, stderr } = output.expect("the program can be started");
    let (printed, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{example}: {status}\n{printed}\n{errors}");
    printed.into_owned()
}

#[tokio::test]
async fn hello_counts_those_it_greets() {
    let printed = run("hello").await;
    let lines = ["hello Ada, you are #1", "hello Grace, you are #2", "hello Barbara, you are #3"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
}

#[tokio::test]
async fn supervised_keeps_its_takings_over_three_crashes() {
    let printed = run("supervised").await;
    for line in ["the takings are 250", "the takings are 750", "dropped the reply", "Ok(250)"] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
    assert!(printed.contains("a bill shared among nobody"), "the tree says why:\n{printed}");
}

#[tokio::test]
async fn dependency_serves_the_rest_and_quotes_again_in_the_end() {
    let printed = run("dependency").await;
    for line in ["hung up", "waits", "open nine to five", "prices ", "1 stopped"] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
    assert_eq!(printed.matches("a kettle is 6").count(), 2, "before and after:\n{printed}");
}

#[tokio::test]
async fn pool_replaces_connections_that_break_or_hang() {
    let printed = run("pool").await;
    for line in ["100 answers over 4 connections", "200ms", "3 connections are left"] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
    assert_eq!(printed.matches("restarted once").count(), 2, "{printed}");
}

#[tokio::test]
async fn two_nodes_talk_and_refuse_a_stranger() {
    let printed = run("two_nodes").await;
    for line in ["on node harbour", "take berth 1", "wind_knots: 24", "refused", "Unreachable"] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
}

#[tokio::test]
async fn ractor_cluster_goes_on_after_the_kill_of_its_peer() {
    let printed = run("ractor_cluster").await;
    for line in ["made soup and bread", "that waited: ", "made rice and peas", "counter closed"] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
}

#[tokio::test]
async fn services_are_busy_fall_back_and_come_back() {
    let printed = run("services").await;
    for line in [
        "a teapot is 2500; 9 are left",
        "there is no samovar (unknown_item)",
        "of ten at once were served",
        "then the breaker opened",
        "refused by circuit breaker",
        "8 teapots are left",
    ] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
}

#[tokio::test]
async fn bank_finds_the_bug_of_the_naive_bank_and_passes_the_careful_one() {
    let printed = run_with("bank", &["story", "5"]).await;
    let story =
        ["invariant=the-sum-of-all-accounts", "replay: cargo run", "the careful bank: 5 seeds"];
    for line in story {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
}
