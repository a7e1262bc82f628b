//! What is written, who may read it, and what is refused when it is read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use umbel_cluster::{Authority, CertsError, Credentials, Overwrite};

use super::{authority, issue};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory with an authority and a node's files in it.
struct Saved {
    _outer: TempDir,
    directory: PathBuf,
}

impl Saved {
    fn new() -> Self {
        let outer = TempDir::new().unwrap();
        let directory = outer.path().join("made").join("on the way");
        let authority = authority("shop");
        authority.save(&directory, Overwrite::Refuse).unwrap();
        issue(&authority, "a").save(&directory, Overwrite::Refuse).unwrap();
        Self { _outer: outer, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn load(&self) -> Result<Credentials, CertsError> {
        Credentials::load(self.path("a.pem"), self.path("a-key.pem"), self.path("ca.pem"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn private_files_are_for_their_owner_only() {
    let saved = Saved::new();
    assert_eq!(saved.names(), ["a-key.pem", "a.pem", "ca-key.pem", "ca.pem"]);
    assert_eq!(mode(&saved.path("a-key.pem")), 0o600);
    assert_eq!(mode(&saved.path("ca-key.pem")), 0o600);
    assert_eq!(mode(&saved.directory), 0o700);
    assert_eq!(mode(saved.directory.parent().unwrap()), 0o700);
}

#[test]
fn what_was_saved_can_be_loaded() {
    let saved = Saved::new();
    let credentials = saved.load().unwrap();
    assert_eq!(credentials.identity().to_uri(), "umbel://shop/a");
    let authority = Authority::load(&saved.directory).unwrap();
    assert_eq!(authority.cluster().as_str(), "shop");
    let elsewhere = TempDir::new().unwrap();
    issue(&authority, "b").save(elsewhere.path(), Overwrite::Refuse).unwrap();
    let [certificate, key] = ["b.pem", "b-key.pem"].map(|name| elsewhere.path().join(name));
    let issued_later = Credentials::load(certificate, key, saved.path("ca.pem")).unwrap();
    assert_eq!(issued_later.identity().node.as_str(), "b");
}

#[test]
fn an_existing_authority_is_replaced_only_on_request() {
    let saved = Saved::new();
    let before = fs::read(saved.path("ca.pem")).unwrap();
    let other = authority("shop");
    let error = other.save(&saved.directory, Overwrite::Refuse).unwrap_err();
    assert!(matches!(error, CertsError::Exists { .. }), "{error}");
    fs::remove_file(saved.path("ca.pem")).unwrap();
    let error = other.save(&saved.directory, Overwrite::Refuse).unwrap_err();
    assert!(matches!(&error, CertsError::Exists { file } if file.ends_with("ca-key.pem")));
    fs::write(saved.path("ca.pem"), before).unwrap();
    assert!(Authority::load(&saved.directory).is_ok(), "nothing was changed");

    other.save(&saved.directory, Overwrite::Replace).unwrap();
    let replaced = Authority::load(&saved.directory).unwrap();
    assert_eq!(replaced.certificate_pem(), other.certificate_pem());
    assert_eq!(saved.names().len(), 4, "no draft is left behind");
}

#[test]
fn a_node_s_files_are_replaced_only_on_request_and_an_authority_s_never() {
    let saved = Saved::new();
    let authority = Authority::load(&saved.directory).unwrap();
    let renewed = issue(&authority, "a");
    let error = renewed.save(&saved.directory, Overwrite::Refuse).unwrap_err();
    assert!(matches!(&error, CertsError::Exists { file } if file.ends_with("a-key.pem")));
    renewed.save(&saved.directory, Overwrite::Replace).unwrap();
    assert_eq!(saved.load().unwrap().certificate_pem(), renewed.certificate_pem());

    let foreign = issue(&super::authority("shop"), "a");
    let error = foreign.save(&saved.directory, Overwrite::Replace).unwrap_err();
    assert!(matches!(&error, CertsError::Exists { file } if file.ends_with("ca.pem")));
    assert!(saved.load().is_ok(), "nothing was changed");
}

#[test]
fn a_node_whose_files_would_be_taken_for_others_is_not_saved() {
    let saved = Saved::new();
    let authority = Authority::load(&saved.directory).unwrap();
    for name in ["ca", "a-key"] {
        let error = issue(&authority, name).save(&saved.directory, Overwrite::Replace).unwrap_err();
        assert!(matches!(error, CertsError::ReservedName(_)), "{error}");
    }
    assert!(Authority::load(&saved.directory).is_ok() && saved.load().is_ok());
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let saved = Saved::new();
    for exposed in [0o604, 0o644, 0o660, 0o666, 0o601] {
        chmod(&saved.path("a-key.pem"), exposed);
        let error = saved.load().unwrap_err();
        assert!(matches!(error, CertsError::KeyExposed { .. }), "{exposed:o}: {error}");
        let remedy = format!("chmod 600 {}", saved.path("a-key.pem").display());
        assert!(error.to_string().contains(&remedy), "{error}");
    }
    for kept in [0o600, 0o400, 0o640, 0o440] {
        chmod(&saved.path("a-key.pem"), kept);
        assert!(saved.load().is_ok(), "{kept:o} is private enough");
    }
    chmod(&saved.path("ca-key.pem"), 0o644);
    assert!(matches!(Authority::load(&saved.directory), Err(CertsError::KeyExposed { .. })));
}

#[test]
fn an_authority_in_a_directory_that_others_can_write_to_is_refused() {
    let saved = Saved::new();
    chmod(&saved.directory, 0o777);
    let error = Authority::load(&saved.directory).unwrap_err();
    assert!(matches!(error, CertsError::DirectoryExposed { .. }), "{error}");
    chmod(&saved.directory, 0o755);
    assert!(Authority::load(&saved.directory).is_ok());
}

/// Puts `content` into each of the three files in turn, and expects an error that names that file.
fn each_file_is_refused_with(content: &[u8], said: &str) {
    for name in ["a.pem", "a-key.pem", "ca.pem"] {
        let saved = Saved::new();
        fs::write(saved.path(name), content).unwrap();
        let error = saved.load().unwrap_err().to_string();
        let path = saved.path(name).display().to_string();
        assert!(error.contains(&path) && error.contains(said), "{name} with {said}: {error}");
    }
}

#[test]
fn files_that_hold_something_else_are_refused_by_name() {
    each_file_is_refused_with(b"", "is empty");
    each_file_is_refused_with(&[0, 159, 146, 150], "not text");
    each_file_is_refused_with(&vec![b'x'; 1024 * 1024 + 1], "larger than 1 MiB");
    each_file_is_refused_with(b"this is no PEM\n", "");
    let half = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    each_file_is_refused_with(half.as_bytes(), "");
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\
                   -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    each_file_is_refused_with(rubbish.as_bytes(), "");
}

#[test]
fn missing_files_and_directories_are_refused_by_name() {
    for name in ["a.pem", "a-key.pem", "ca.pem"] {
        let saved = Saved::new();
        fs::remove_file(saved.path(name)).unwrap();
        let missing = saved.load().unwrap_err();
        assert!(matches!(&missing, CertsError::Read { file, .. } if *file == saved.path(name)));
        fs::create_dir(saved.path(name)).unwrap();
        let directory = saved.load().unwrap_err();
        assert!(matches!(&directory, CertsError::Read { file, .. } if *file == saved.path(name)));
        assert!(directory.to_string().contains("directory"), "{directory}");
    }
}

#[test]
fn files_in_each_other_s_place_are_refused() {
    let saved = Saved::new();
    let [certificate, key, authorities] = ["a.pem", "a-key.pem", "ca.pem"].map(|n| saved.path(n));
    for (files, misplaced, found) in [
        ([&key, &key, &authorities], &key, "a private key"),
        // Whatever its mode: it is no key that must be hidden.
        ([&certificate, &certificate, &authorities], &certificate, "a certificate"),
        ([&authorities, &key, &authorities], &authorities, "an authority's certificate"),
        ([&certificate, &key, &certificate], &certificate, "a node's certificate"),
        ([&certificate, &key, &key], &key, "a private key"),
    ] {
        let told = Credentials::load(files[0], files[1], files[2]).unwrap_err();
        match &told {
            CertsError::Misplaced { file, found: what, .. } => {
                assert_eq!((file, *what), (misplaced, found), "{told}");
            }
            _ => panic!("{told}"),
        }
    }
}

#[test]
fn a_key_and_a_certificate_that_do_not_belong_together_are_refused() {
    let (saved, other) = (Saved::new(), Saved::new());
    let [certificate, key, authorities] = ["a.pem", "a-key.pem", "ca.pem"];
    let error =
        Credentials::load(saved.path(certificate), other.path(key), saved.path(authorities));
    assert!(matches!(error, Err(CertsError::KeyMismatch { .. })), "{error:?}");
    let error =
        Credentials::load(saved.path(certificate), saved.path(key), other.path(authorities));
    assert!(matches!(error, Err(CertsError::NotAccepted { .. })), "{error:?}");
    fs::copy(other.path("ca-key.pem"), saved.path("ca-key.pem")).unwrap();
    let error = Authority::load(&saved.directory);
    assert!(matches!(error, Err(CertsError::KeyMismatch { .. })), "{error:?}");
}

#[test]
fn an_authority_is_not_loaded_from_a_node_s_files() {
    let saved = Saved::new();
    fs::copy(saved.path("a.pem"), saved.path("ca.pem")).unwrap();
    fs::copy(saved.path("a-key.pem"), saved.path("ca-key.pem")).unwrap();
    let error = Authority::load(&saved.directory).unwrap_err();
    assert!(error.to_string().contains("not an authority"), "{error}");
}

#[test]
fn a_file_without_a_revocation_list_is_refused() {
    let saved = Saved::new();
    let credentials = saved.load().unwrap();
    let error = credentials.with_revocation_lists(saved.path("ca.pem")).unwrap_err();
    assert!(error.to_string().contains("no revocation list"), "{error}");
    let broken = saved.path("crl.pem");
    fs::write(&broken, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
    let error = saved.load().unwrap().with_revocation_lists(&broken).unwrap_err();
    assert!(matches!(error, CertsError::Unusable { .. }), "{error}");
}
