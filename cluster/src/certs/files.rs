//! PEM files that appear whole or not at all, and are as private as they must be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use super::CertsError;
use crate::tls::provider;

/// The largest file that is read: a hundred times what a chain of certificates takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What to do where a file is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Leave it, and fail.
    #[default]
    Refuse,
    /// Put the new one in its place.
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    Private,
}

/// A file with PEM in it, still with its name for the errors.
pub(super) struct PemFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl PemFile {
    pub(super) fn read(path: &Path, secrecy: Secrecy) -> Result<Self, CertsError> {
        let read = |source| CertsError::Read { file: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if metadata.is_dir() {
            return Err(read(io::ErrorKind::IsADirectory.into()));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read)?;
        let length = bytes.len() as u64;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let file = Self { path: path.to_owned(), text };
        match length {
            0 => Err(file.unusable("it is empty")),
            length if length > FILE_BYTES_MAX => Err(file.unusable("it is larger than 1 MiB")),
            _ if file.text.is_empty() => Err(file.unusable("it is not PEM, for it is not text")),
            _ => file.admitted(secrecy, &metadata),
        }
    }

    /// Refuses a certificate in place of a key, before its file's mode is: that of a certificate need
    /// not be changed.
    fn admitted(self, secrecy: Secrecy, metadata: &fs::Metadata) -> Result<Self, CertsError> {
        if secrecy == Secrecy::Private {
            if self.has_section("CERTIFICATE") && !self.has_section("PRIVATE KEY") {
                return Err(self.misplaced("a certificate", "a private key"));
            }
            refuse_exposed_key(&self.path, metadata)?;
        }
        Ok(self)
    }

    /// Whether there is a section whose label ends in `label`, as RFC 7468 writes them.
    pub(super) fn has_section(&self, label: &str) -> bool {
        let end = format!("{label}-----");
        self.text
            .lines()
            .any(|line| line.starts_with("-----BEGIN") && line.trim_end().ends_with(&end))
    }

    /// The certificates in the file, in its order: at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertsError> {
        let certificates = CertificateDer::pem_slice_iter(self.text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.unusable(&format!("it is not PEM ({})", in_words(&error))))?;
        if certificates.is_empty() {
            if self.has_section("PRIVATE KEY") {
                return Err(self.misplaced("a private key", "a certificate"));
            }
            return Err(self.unusable("there is no certificate in it"));
        }
        Ok(certificates)
    }

    pub(super) fn misplaced(&self, found: &'static str, wanted: &'static str) -> CertsError {
        CertsError::Misplaced { file: self.path.clone(), found, wanted }
    }

    pub(super) fn unusable(&self, reason: &str) -> CertsError {
        CertsError::Unusable { file: self.path.clone(), reason: reason.to_owned() }
    }
}

/// rustls' own text shows markers as numbers.
pub(super) fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("it is cut short: there is no END {}", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("malformed: {:?}", String::from_utf8_lossy(line))
        }
        pem::Error::NoItemsFound => "there is no section of the kind in it".to_owned(),
        other => other.to_string(),
    }
}

/// Writes a file under a name that nobody looks for, makes sure that it is on the disk, and only then
/// gives it its own name.
pub(super) fn write(
    path: &Path,
    text: &str,
    secrecy: Secrecy,
    overwrite: Overwrite,
) -> Result<(), CertsError> {
    let failed = |source| CertsError::Write { file: path.to_owned(), source };
    let draft = sibling(path)?;
    let named = draft_of(&draft, text, secrecy).and_then(|()| match overwrite {
        Overwrite::Replace => fs::rename(&draft, path),
        // A link, for it alone fails where the name is taken.
        Overwrite::Refuse => fs::hard_link(&draft, path),
    });
    // After a rename there is none, after anything else it has served.
    let _ = fs::remove_file(&draft);
    match named {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertsError::Exists { file: path.to_owned() })
        }
        named => named.map_err(failed),
    }
}

fn draft_of(draft: &Path, text: &str, secrecy: Secrecy) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secrecy == Secrecy::Private { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = secrecy;
    let mut file = options.open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A name beside `path` that is taken by nobody.
pub(super) fn sibling(path: &Path) -> Result<PathBuf, CertsError> {
    let mut random = [0; 8];
    provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| CertsError::Making("no entropy".into()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(path.with_file_name(format!(".{name}-{:016x}", u64::from_be_bytes(random))))
}

/// Makes a directory, and those above it, for their owner only. One that exists stays as it is.
pub(super) fn make_directory(path: &Path) -> Result<(), CertsError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| CertsError::Write { file: path.to_owned(), source })
}

/// The owner's group may read a key, since Kubernetes mounts secrets so.
#[cfg(unix)]
fn refuse_exposed_key(path: &Path, metadata: &fs::Metadata) -> Result<(), CertsError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o037 == 0 {
        return Ok(());
    }
    Err(CertsError::KeyExposed { file: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn refuse_exposed_key(_: &Path, _: &fs::Metadata) -> Result<(), CertsError> {
    Ok(())
}

/// Refuses a directory in which others could replace the files.
#[cfg(unix)]
pub(super) fn refuse_exposed_directory(directory: &Path) -> Result<(), CertsError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(directory)
        .map_err(|source| CertsError::Read { file: directory.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(CertsError::DirectoryExposed { directory: directory.to_owned(), mode })
}

#[cfg(not(unix))]
pub(super) fn refuse_exposed_directory(_: &Path) -> Result<(), CertsError> {
    Ok(())
}
