//! What is wrong with a certificate, a key, or the files that they are in.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use umbel_protocol::{ClusterName, Identity, NodeName};

/// Why credentials or an authority could not be read, made, or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertsError {
    /// A file cannot be read.
    #[error("could not read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written. Whatever had its name before still has.
    #[error("could not write {}: {source}", file.display())]
    Write {
        /// The file, or the directory.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is there already, and was left as it is.
    #[error("{} exists already and was left as it is; write to another directory, or move it away first", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// A file was read, but does not hold what it should.
    #[error("{} is of no use: {reason}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file holds something of use, but not here: files that were swapped.
    #[error("{} holds {found}, where {wanted} should be", file.display())]
    Misplaced {
        /// The file.
        file: PathBuf,
        /// What is in it.
        found: &'static str,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A private key's file lets more people in than its owner (and, to read it, the owner's group).
    #[error("the private key {} is open to others (mode {mode:o}); run chmod 600 {}", file.display(), file.display())]
    KeyExposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory of an authority can be written by others, who could put theirs in its place.
    #[error("others can write to {} (mode {mode:o}); run chmod 700 {}", directory.display(), directory.display())]
    DirectoryExposed {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The private key is not the certificate's.
    #[error("the private key {} does not belong to the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate does not say which node it is for.
    #[error("the certificate {} names no node: {reason}; it needs umbel://<cluster>/<node> as a subject alternative name", file.display())]
    NoIdentity {
        /// The certificate's file.
        file: PathBuf,
        /// What is in place of the name.
        reason: String,
    },
    /// The certificate would be refused by every node that trusts these authorities.
    #[error("no node that trusts {} would accept the certificate {}: {reason}", authorities.display(), certificate.display())]
    NotAccepted {
        /// The certificate's file.
        certificate: PathBuf,
        /// The file with the authorities.
        authorities: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Credentials of another node were offered as a replacement. Nothing was replaced.
    #[error("these credentials are for {theirs}, and cannot replace those of {ours}")]
    OtherIdentity {
        /// Whose credentials are in use.
        ours: Identity,
        /// Whose were offered.
        theirs: Identity,
    },
    /// The node does not prove itself by certificates: its transport is not TCP with TLS. Nothing was
    /// replaced.
    #[error("this node's transport uses no certificates, so there are none to replace")]
    NotUsed,
    /// An authority is another cluster's.
    #[error("the authority in {} is for the cluster {found}, not for {wanted}", directory.display())]
    OtherCluster {
        /// Where the authority is.
        directory: PathBuf,
        /// The cluster that it is for.
        found: ClusterName,
        /// The cluster that was asked for.
        wanted: ClusterName,
    },
    /// A node's files would be mistaken for another's.
    #[error(
        "the files of a node named {0} would clash with an authority's or another node's; choose a name other than ca, and not ending in -key"
    )]
    ReservedName(
        /// The node.
        NodeName,
    ),
    /// The authority is past its last day, or has not reached its first. It has issued nothing.
    #[error(
        "the authority of {0} is not valid at this time; check the clock, or make a new authority"
    )]
    AuthorityNotValid(
        /// Its cluster.
        ClusterName,
    ),
    /// No certificate can have such dates.
    #[error("a certificate is valid for at least a second and ends before the year 10000")]
    Dates,
    /// What should name a certificate to revoke is no serial number. No list was made.
    #[error("{0:?} is no serial number: give it in hexadecimal, as `umbel certs show` prints it")]
    Serial(
        /// What was given.
        String,
    ),
    /// A key or a certificate could not be made: a defect of the cryptographic library, or no entropy.
    #[error("could not make a key or a certificate: {0}")]
    Making(
        /// The library's reason.
        String,
    ),
    /// The development authority is there and of no use, or cannot be made.
    #[error("no development authority in {}: {source}{}", directory.display(), mend(source))]
    Development {
        /// Where it is kept.
        directory: PathBuf,
        /// What is wrong.
        source: Box<CertsError>,
    },
    /// There is no place for the development authority.
    #[error(
        "no directory for the development authority; set UMBEL_STATE_DIR, XDG_STATE_HOME or HOME"
    )]
    NoStateDirectory,
}

/// What to do about a development authority that cannot be used.
fn mend(why: &CertsError) -> &'static str {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, PermissionDenied};
    match why {
        // They say so themselves.
        CertsError::KeyExposed { .. } | CertsError::DirectoryExposed { .. } => "",
        CertsError::Read { source, .. } if source.kind() == PermissionDenied => {
            "; set UMBEL_STATE_DIR to a directory of your own"
        }
        CertsError::Write { source, .. }
            if !matches!(source.kind(), DirectoryNotEmpty | NotADirectory) =>
        {
            "; set UMBEL_STATE_DIR to a directory that you may write to"
        }
        _ => {
            "; move that directory away, and the next start makes a new one (then start all other \
             development nodes anew as well)"
        }
    }
}
