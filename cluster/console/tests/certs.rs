//! Certificates, as their user makes them.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use support::{file, run, stderr, stdout, umbel};

mod support;

fn certs(arguments: &[&str]) -> Output {
    run(umbel(&[&["certs"], arguments].concat()))
}

#[test]
fn an_authority_issues_a_certificate_that_can_be_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, a) = (directory.path().join("ca"), directory.path().join("a"));
    let (ca, a) = (ca.to_str().unwrap(), a.to_str().unwrap());
    let made = certs(&["new-ca", "--cluster", "shop", "--dir", ca]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert!(stdout(&made).contains(&format!("next: umbel certs issue --dir {ca} --node NAME")));
    let issued = certs(&["issue", "--dir", ca, "--node", "till-1", "--days", "30", "--out", a]);
    assert_eq!(issued.status.code(), Some(0), "{}", stderr(&issued));
    for key in [format!("{ca}/ca-key.pem"), format!("{a}/till-1-key.pem")] {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let shown = stdout(&certs(&["show", &format!("{a}/till-1.pem")]));
    assert!(shown.starts_with("node shop/till-1\n"), "{shown}");
    assert!(shown.contains("umbel://shop/till-1") && shown.contains("(30 days left)"), "{shown}");
    let shown = stdout(&certs(&["show", &format!("{a}/ca.pem")]));
    assert!(shown.starts_with("an authority\n"), "{shown}");
}

#[test]
fn nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().to_str().unwrap();
    for (arguments, kept) in [
        (["new-ca", "--cluster", "shop", "--dir", ca], "ca-key.pem"),
        (["issue", "--node", "a", "--dir", ca], "a-key.pem"),
    ] {
        assert_eq!(certs(&arguments).status.code(), Some(0));
        let before = fs::read(directory.path().join(kept)).unwrap();
        let again = certs(&arguments);
        assert_eq!(again.status.code(), Some(2));
        let said = stderr(&again);
        assert!(said.contains("exists already and was left as it is; write to another"), "{said}");
        assert_eq!(fs::read(directory.path().join(kept)).unwrap(), before);
    }
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let text = file(directory.path(), "text.pem", "not a certificate");
    let (ca, of_a) = (format!("{here}/ca"), &*format!("{here}/a"));
    assert!(certs(&["new-ca", "--cluster", "shop", "--dir", &ca]).status.success());
    assert!(certs(&["issue", "--dir", &ca, "--node", "a", "--out", of_a]).status.success());
    let key = format!("{of_a}/a-key.pem");
    for (arguments, said) in [
        (
            vec!["issue", "--dir", here, "--node", "a"],
            "make an authority first, with `umbel certs new-ca",
        ),
        (vec!["new-ca", "--cluster", "My Shop", "--dir", here], "may hold only a-z"),
        (vec!["issue", "--dir", here, "--node", "a", "--days", "0"], "0 is not in 1..=3650"),
        (vec!["show", text.to_str().unwrap()], "there is no certificate in it"),
        (vec!["show", here], "could not read"),
        (vec!["issue", "--dir", text.to_str().unwrap(), "--node", "a"], "give the directory that"),
        (
            vec!["show", &key],
            "a-key.pem holds a private key, where a certificate should be; give the",
        ),
        (vec!["issue", "--dir", of_a, "--node", "b"], "where the authority's ca-key.pem is"),
    ] {
        let output = certs(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
