//! Nodes from configuration files, as their user runs them.
#![cfg(target_os = "linux")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{Running, file, run, stderr, stdout, umbel};

mod support;

fn certs(arguments: &[&str]) {
    let output = run(umbel(&[&["certs"], arguments].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// The certificates of node `name`, beside those of its authority, for a configuration there.
fn certificates(directory: &Path, cluster: &str, name: &str) -> String {
    let shown = directory.to_str().unwrap();
    if !directory.join("ca.pem").exists() {
        certs(&["new-ca", "--cluster", cluster, "--dir", shown]);
    }
    certs(&["issue", "--dir", shown, "--node", name]);
    format!(
        "[certs]\ncertificate = \"{name}.pem\"\nkey = \"{name}-key.pem\"\nauthorities = \"ca.pem\"\n"
    )
}

fn node(config: &Path) -> Command {
    umbel(&["node", "--json", "--config", config.to_str().unwrap()])
}

fn address(running: &mut Running) -> String {
    let started: Value = serde_json::from_str(&running.line("\"started\"")).unwrap();
    started["address"].as_str().unwrap().to_owned()
}

#[test]
fn two_nodes_link_and_leave_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let of_a = certificates(directory.path(), "shop", "a");
    let a = file(directory.path(), "a.toml", format!("listen = \"127.0.0.1:0\"\n{of_a}"));
    let mut a = Running::start(node(&a));
    let seed = address(&mut a);

    let of_b = certificates(directory.path(), "shop", "b");
    let b = file(directory.path(), "b.toml", format!("join = [\"127.0.0.1:1\"]\n{of_b}"));
    let mut command = node(&b);
    // The environment overrides the file.
    command.env("UMBEL_JOIN", format!("[\"{seed}\"]"));
    let mut b = Running::start(command);
    b.line("\"linked\"");
    assert!(a.line("\"linked\"").contains("\"node\":\"b\""));

    b.signal(Signal::TERM);
    assert_eq!(b.wait().code(), Some(0));
    a.line("\"unlinked\"");
    a.signal(Signal::INT);
    assert_eq!(a.wait().code(), Some(0));
    assert_eq!((a.all_gone().as_str(), b.all_gone().as_str()), ("", ""));
}

#[test]
fn a_node_of_a_foreign_authority_is_refused_and_both_are_told() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let of_a = certificates(ours.path(), "shop", "a");
    let a = file(ours.path(), "a.toml", format!("listen = \"127.0.0.1:0\"\n{of_a}"));
    let mut a = Running::start(node(&a));
    let seed = address(&mut a);
    let of_b = certificates(theirs.path(), "shop", "b");
    let b = file(theirs.path(), "b.toml", format!("join = [\"{seed}\"]\nlog = \"info\"\n{of_b}"));
    let mut command = node(&b);
    let b = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut b = b.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(b.stderr.take().unwrap()));
    let refusal = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("refused")));
    b.kill().unwrap();
    b.wait().unwrap();
    let refusal = refusal.unwrap().unwrap();
    assert!(refusal.contains("it is not from an authority of this cluster"), "{refusal}");
    a.signal(Signal::TERM);
    assert_eq!(a.wait().code(), Some(0));
    assert!(a.all_gone().contains("refused"));
}

#[test]
fn the_example_configuration_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let example = stdout(&run(umbel(&["node", "--example-config"])));
    let path = file(directory.path(), "example.toml", example);
    let output = run(node(&path));
    // All that it lacks are the certificates.
    assert!(stderr(&output).contains("node-1.pem: No such file"), "{}", stderr(&output));
}

#[test]
fn every_wrong_configuration_is_told_by_key_and_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = certificates(directory.path(), "shop", "a");
    certs(&["issue", "--dir", directory.path().to_str().unwrap(), "--node", "c"]);
    let other = certificates.replace("a-key.pem", "c-key.pem");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("listen = \"{}\"\n{certificates}", taken.local_addr().unwrap());
    let with = |line: &str| format!("listen = \"127.0.0.1:0\"\n{certificates}[bounds]\n{line}\n");
    for (text, said, advice) in [
        ("lisen = 1".into(), "line 1, `lisen`: unknown field `lisen`", "see `umbel node --example"),
        ("listen = 7".into(), "line 1, `listen`: invalid type: integer `7`", "see `umbel node"),
        ("listen =".into(), "line 1, `listen`", "see `umbel node"),
        (
            with("silence_max = \"5\""),
            "line 7, `silence_max`: \"5\" is no duration",
            "as in \"5s\"",
        ),
        (with("message_bytes_max = 1"), "`message_bytes_max` is 1", "it must be from 4096 to"),
        (with("frame_bytes_max = 1"), "`frame_bytes_max` is 1", "it must be from 4096 to"),
        (with("silence_max = \"1ms\""), "`silence_max` (1ms) must be longer", "`ping_interval`"),
        (with("ping_interval = \"0s\""), "`ping_interval` is zero", "leave it out"),
        (String::new(), "neither `certs` nor `dev` is set", "`umbel certs` makes"),
        ("dev = true".into(), "`dev` is set, but `name` is not", "name = \"a\""),
        ("dev = true\nname = \"A\"".into(), "the name \"A\" may hold only a-z", ""),
        (
            "dev = true\nname = \"a\"\nlisten = \"0.0.0.0:0\"".into(),
            "loopback only, not on 0.0.0.0:0",
            "use `Node::builder` with credentials",
        ),
        (certificates.clone(), "neither `listen` nor `join` is set", "set listen"),
        (format!("listen = \"x\"\n{certificates}"), "could not listen on x", "set `listen` to"),
        (format!("listen = \"0.0.0.0:0\"\n{certificates}"), "others cannot dial", "`advertise`"),
        (format!("join = [\"x\"]\n{certificates}"), "`join` has \"x\"", "write host:port"),
        (taken, "could not listen on", "another process has that port"),
        (
            certificates.replace("a.pem", "x.pem"),
            "x.pem: No such file",
            "or make it with `umbel certs`",
        ),
        (format!("listen = \"x\"\n{other}"), "does not belong to the certificate", "right file"),
        (format!("log = \"!\"\nlisten = \"127.0.0.1:0\"\n{certificates}"), "`log` is", "info"),
    ] {
        let path = file(directory.path(), "node.toml", &text);
        let output = run(node(&path));
        let lines = stderr(&output);
        let first = lines.lines().next().unwrap_or_default();
        assert_eq!(output.status.code(), Some(2), "{text}\n{lines}");
        assert!(first.contains(said) && first.contains(advice), "{text}\n{lines}");
    }
    let missing = run(node(&directory.path().join("missing.toml")));
    assert!(stderr(&missing).contains("missing.toml: No such file"), "{}", stderr(&missing));
    let path = file(directory.path(), "node.toml", with(""));
    let mut command = node(&path);
    command.env("UMBEL_LISTN", "x").env("UMBEL_STATE_DIR", "/tmp");
    let unknown = run(command);
    assert!(stderr(&unknown).contains("UMBEL_LISTN: there is no such key"), "{}", stderr(&unknown));
}
