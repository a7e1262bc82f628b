//! The certificates of nodes that run, changed as their user changes them.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use support::{Running, file, run, stderr, umbel};

mod support;

fn certs(directory: &Path, arguments: &[&str]) {
    let mut command = umbel(&[&["certs"], arguments].concat());
    command.current_dir(directory);
    let output = run(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Issues a certificate, in place of one that is there.
fn issue(directory: &Path, name: &str) {
    let _ = fs::remove_file(directory.join(format!("{name}.pem")));
    let _ = fs::remove_file(directory.join(format!("{name}-key.pem")));
    certs(directory, &["issue", "--dir", ".", "--node", name]);
}

/// The `[certs]` of a node's configuration.
fn section(name: &str) -> String {
    format!(
        "[certs]\ncertificate = \"{name}.pem\"\nkey = \"{name}-key.pem\"\nauthorities = \"ca.pem\"\n"
    )
}

fn node(config: &Path) -> Command {
    umbel(&["node", "--json", "--config", config.to_str().unwrap()])
}

fn event(running: &mut Running, part: &str) -> Value {
    serde_json::from_str(&running.line(part)).unwrap()
}

/// Two nodes that are linked; the first looks at its files as `more` says.
fn pair(directory: &Path, more: &str) -> (Running, Running) {
    let a = file(directory, "a.toml", format!("listen = \"127.0.0.1:0\"\n{}{more}", section("a")));
    let mut a = Running::start(node(&a));
    let address = event(&mut a, "\"started\"")["address"].as_str().unwrap().to_owned();
    let b = format!("join = [\"{address}\"]\n{}", section("b"));
    let mut b = Running::start(node(&file(directory, "b.toml", b)));
    b.line("\"linked\"");
    a.line("\"linked\"");
    (a, b)
}

#[test]
fn a_hangup_has_the_certificates_read_again_and_what_is_wrong_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    certs(directory, &["new-ca", "--cluster", "shop", "--dir", "."]);
    issue(directory, "a");
    issue(directory, "b");
    let (a, mut b) = pair(directory, "");

    b.signal(Signal::HUP);
    assert_eq!(event(&mut b, "\"certificates\"")["changed"], false);
    issue(directory, "b");
    b.signal(Signal::HUP);
    assert_eq!(event(&mut b, "\"certificates\"")["changed"], true);
    // Another key: half of a change, as it may be seen.
    let whole = fs::read(directory.join("b-key.pem")).unwrap();
    fs::write(directory.join("b-key.pem"), fs::read(directory.join("a-key.pem")).unwrap()).unwrap();
    b.signal(Signal::HUP);
    let wrong = event(&mut b, "\"certificates\"");
    let said = wrong["error"].as_str().unwrap();
    assert!(said.contains("does not belong to the certificate"), "{said}");
    fs::write(directory.join("b-key.pem"), whole).unwrap();
    issue(directory, "b");
    b.signal(Signal::HUP);
    assert_eq!(event(&mut b, "\"certificates\"")["changed"], true);

    for mut node in [b, a] {
        assert!(node.heard().iter().all(|line| !line.contains("unlinked")), "{:?}", node.heard());
        node.signal(Signal::TERM);
        assert_eq!(node.wait().code(), Some(0));
    }
}

#[test]
fn files_that_change_are_used_without_a_signal_and_a_revoked_node_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    certs(directory, &["new-ca", "--cluster", "shop", "--dir", "."]);
    for name in ["a", "b", "stolen"] {
        issue(directory, name);
    }
    certs(directory, &["revoke", "--dir", ".", "stolen.pem"]);
    let (mut a, mut b) = pair(directory, "reread = \"200ms\"\nrevoked = \"revoked.pem\"\n");
    issue(directory, "a");
    assert_eq!(event(&mut a, "\"changed\":true")["event"], "certificates");
    certs(directory, &["revoke", "--dir", ".", "stolen.pem", "b.pem"]);
    a.line("\"unlinked\"");
    b.line("\"unlinked\"");
    for mut node in [b, a] {
        node.signal(Signal::TERM);
        assert_eq!(node.wait().code(), Some(0));
    }
}

#[test]
fn a_hangup_ends_a_node_that_has_no_certificates_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(directory.path(), "dev.toml", "dev = true\nname = \"a\"\n");
    let mut command = node(&config);
    command.env("UMBEL_STATE_DIR", directory.path());
    let mut dev = Running::start(command);
    dev.line("\"started\"");
    dev.signal(Signal::HUP);
    assert_eq!(dev.wait().code(), Some(0));
}
