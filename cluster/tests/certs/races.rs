//! The development authority is made once, however many come first.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;

use tempfile::TempDir;
use umbel_cluster::{Authority, CertsError, Credentials, Overwrite};

use super::authority;

/// In a process that has it, `a_child_of_the_race` takes part in the race.
const CHILD: &str = "UMBEL_TEST_RACE_CHILD";

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn threads_that_come_first_at_once_get_one_authority() {
    const THREADS: usize = 16;
    for _ in 0..20 {
        let state = TempDir::new().unwrap();
        let directory = state.path().join("dev");
        let start = Barrier::new(THREADS);
        let certificates: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let cluster = "dev".parse().unwrap();
                        let authority = Authority::load_or_create(&directory, cluster).unwrap();
                        authority.certificate_pem().to_owned()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(certificates.iter().all(|certificate| *certificate == certificates[0]));
        assert_eq!(entries(state.path()), ["dev"], "no draft is left behind");
    }
}

/// Not a claim, but what the processes of the next test run: they say that they are up, wait for the
/// start, and tell which authority they got.
#[test]
fn a_child_of_the_race() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    println!("\nup");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let authority = Authority::development().unwrap();
    let node = Credentials::development(&"a".parse().unwrap()).unwrap();
    assert_eq!(node.identity().to_uri(), "umbel://dev/a");
    assert_eq!(node.authorities_pem(), authority.certificate_pem());
    println!("\ngot {}", authority.certificate_pem().lines().collect::<String>());
}

fn child(state: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "races::a_child_of_the_race", "--nocapture"])
        .env(CHILD, "1")
        .env("UMBEL_STATE_DIR", state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_come_first_at_once_get_one_authority() {
    for _ in 0..5 {
        let outer = TempDir::new().unwrap();
        let state = outer.path().join("not there yet");
        let mut children: Vec<_> = (0..8).map(|_| child(&state)).collect();
        let mut outputs: Vec<_> = children
            .iter_mut()
            .map(|child| BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap))
            .collect();
        for output in &mut outputs {
            assert!(output.any(|line| line == "up"));
        }
        for child in &mut children {
            child.stdin.take().unwrap().write_all(b"!").unwrap();
        }
        let got: Vec<_> = outputs
            .iter_mut()
            .map(|output| output.find(|line| line.starts_with("got ")).expect("it got one"))
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert!(got.iter().all(|line| *line == got[0]), "they got different ones");
        assert_eq!(entries(&state), ["dev"], "no draft is left behind");
    }
}

#[test]
fn an_authority_that_is_there_is_used_again() {
    let state = TempDir::new().unwrap();
    let directory = state.path().join("dev");
    let [first, second] =
        [(); 2].map(|()| Authority::load_or_create(&directory, "dev".parse().unwrap()).unwrap());
    assert_eq!(first.certificate_pem(), second.certificate_pem());
}

#[test]
fn an_empty_directory_is_taken_and_another_s_is_left_alone() {
    let state = TempDir::new().unwrap();
    let directory = state.path().join("dev");
    fs::create_dir(&directory).unwrap();
    assert!(Authority::load_or_create(&directory, "dev".parse().unwrap()).is_ok());

    let directory = state.path().join("taken");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("diary"), "dear diary").unwrap();
    let error = Authority::load_or_create(&directory, "dev".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, CertsError::Write { file, .. } if *file == directory), "{error}");
    assert_eq!(entries(&directory), ["diary"]);
    assert_eq!(entries(state.path()).len(), 2, "no draft is left behind");
}

#[test]
fn an_authority_of_another_cluster_is_not_taken_for_ours() {
    let state = TempDir::new().unwrap();
    authority("shop").save(state.path().join("dev"), Overwrite::Refuse).unwrap();
    let error =
        Authority::load_or_create(state.path().join("dev"), "dev".parse().unwrap()).unwrap_err();
    assert!(matches!(error, CertsError::OtherCluster { .. }), "{error}");
}

#[test]
fn half_an_authority_is_named_and_not_repaired_in_silence() {
    let state = TempDir::new().unwrap();
    let directory = state.path().join("dev");
    authority("dev").save(&directory, Overwrite::Refuse).unwrap();
    fs::remove_file(directory.join("ca-key.pem")).unwrap();
    let error = Authority::load_or_create(&directory, "dev".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, CertsError::Read { file, .. } if file.ends_with("ca-key.pem")));
}
