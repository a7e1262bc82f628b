//! Nodes from configuration files, as their user runs them.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
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
fn a_seed_that_cannot_be_reached_is_told_once_however_often_it_is_dialled() {
    let directory = tempfile::tempdir().unwrap();
    let of_a = certificates(directory.path(), "shop", "a");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = "log = \"warn,umbel=debug\"";
    let text = format!("join = [\"{nobody}\"]\n{log}\n{of_a}");
    let a = file(directory.path(), "a.toml", text);
    let mut command = node(&a);
    let mut a = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(a.stderr.take().unwrap()));
    let (mut attempts, mut told) = (0, Vec::new());
    for line in lines.map_while(Result::ok) {
        attempts += u32::from(line.contains("dialled in vain"));
        told.extend(Some(line).filter(|line| line.contains(" WARN ")));
        if attempts == 4 {
            break;
        }
    }
    a.kill().unwrap();
    a.wait().unwrap();
    assert_eq!((attempts, told.len()), (4, 1), "{told:#?}");
    assert!(told[0].contains(&format!("no link with {nobody}: could not reach")), "{}", told[0]);
}

#[test]
fn it_is_told_why_a_link_went() {
    let directory = tempfile::tempdir().unwrap();
    let of_a = certificates(directory.path(), "shop", "a");
    let a = file(directory.path(), "a.toml", format!("listen = \"127.0.0.1:0\"\n{of_a}"));
    let mut a = Running::start(node(&a));
    let seed = address(&mut a);
    let of_b = certificates(directory.path(), "shop", "b");
    let b = file(directory.path(), "b.toml", format!("join = [\"{seed}\"]\n{of_b}"));
    let mut b = Running::start(node(&b));
    b.line("\"linked\"");
    a.line("\"linked\"");
    b.signal(Signal::KILL);
    a.line("\"unlinked\"");
    a.signal(Signal::TERM);
    assert_eq!(a.wait().code(), Some(0));
    let told = a.all_gone();
    assert!(told.contains(" WARN ") && told.contains("lost the link with b"), "{told}");
    assert!(told.contains("the connection broke: "), "{told}");
    assert!(!told.contains('\u{1b}'), "colours are for terminals: {told:?}");
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
fn a_development_authority_that_is_spoilt_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(directory.path(), "a.toml", "dev = true\nname = \"a\"\n");
    let state = directory.path().join("state");
    let start = || {
        let mut command = node(&config);
        command.env("UMBEL_STATE_DIR", &state);
        command
    };
    let mut a = Running::start(start());
    address(&mut a);
    a.signal(Signal::TERM);
    a.wait();
    let (certificate, key) = (state.join("dev/ca.pem"), state.join("dev/ca-key.pem"));
    let (good, good_key) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let refused = |said: &str, advice: &str| {
        let output = run(start());
        let told = stderr(&output);
        assert!(told.contains("no development authority in"), "{told}");
        assert!(told.contains(said) && told.contains(advice), "{said}: {told}");
    };
    let anew = "move that directory away, and the next start makes a new one";
    fs::write(&certificate, "").unwrap();
    refused("ca.pem is of no use: it is empty", anew);
    fs::write(&certificate, &good[..300]).unwrap();
    refused("ca.pem is of no use: it is not PEM (it is cut short", anew);
    fs::remove_file(&certificate).unwrap();
    refused("not empty", anew);
    fs::write(&certificate, &good).unwrap();
    fs::write(&key, &good).unwrap();
    refused("ca-key.pem holds a certificate, where a private key should be", anew);
    fs::write(&key, &good_key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused("ca-key.pem is open to others (mode 644)", "run chmod 600");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "a file").unwrap();
    refused("could not write", "set UMBEL_STATE_DIR to a directory that you may write to");
}

#[test]
fn every_wrong_configuration_is_told_by_key_and_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = certificates(directory.path(), "shop", "a");
    certs(&["issue", "--dir", directory.path().to_str().unwrap(), "--node", "c"]);
    let other = certificates.replace("a-key.pem", "c-key.pem");
    let swapped =
        certificates.replace("key = \"a-key", "key = \"a").replacen("\"a.", "\"a-key.", 1);
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
            "for a network, take out `dev` and `name` and set `certs`",
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
        (
            format!("join = \"127.0.0.1:1\"\n{certificates}"),
            "line 1, `join`: invalid type: string",
            "expected a list, as in [",
        ),
        (
            swapped,
            "a.pem holds a certificate, where a private key should be",
            "are two files swapped?",
        ),
        (
            certificates.replace("\"a.pem", "\"a-key.pem"),
            "a-key.pem holds a private key, where a certificate should be",
            "are two files swapped?",
        ),
        (
            certificates.replace("\"a.pem", "\"ca.pem"),
            "ca.pem holds an authority's certificate, where a node's should be",
            "are two files swapped?",
        ),
        (
            certificates.replace("\"ca.pem", "\"a.pem"),
            "a.pem holds a node's certificate, where an authority's should be",
            "are two files swapped?",
        ),
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
    // Those of services are none of the node's.
    command.env("RUST_LOG", "umbel=loud").env("UMBEL_SERVICES_DEFAULT__RETRIES", "1");
    command.env("UMBEL_RUNTIME_RUN", "[catalog]");
    let loud = run(command);
    assert!(stderr(&loud).contains("RUST_LOG is \"umbel=loud\""), "{}", stderr(&loud));
    let mut command = node(&path);
    command.env("UMBEL_LISTN", "x").env("UMBEL_STATE_DIR", "/tmp");
    let unknown = run(command);
    assert!(stderr(&unknown).contains("UMBEL_LISTN: there is no such key"), "{}", stderr(&unknown));
}
