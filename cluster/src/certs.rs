//! What a node proves itself with: its certificate, the key to it, and the authorities that it trusts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::VerifierBuilderError;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use umbel_protocol::Identity;

use crate::tls::{PeerVerifier, certified_identity, provider};

mod authority;
mod development;
mod error;
mod files;
mod revocation;
mod view;

pub use authority::{Authority, IssueOptions};
pub use development::state_directory;
pub use error::CertsError;
pub use files::Overwrite;
use files::{PemFile, Secrecy};
pub use revocation::ListDates;
pub use view::CertificateView;

/// The name of the file with the certificates of the authorities that a node trusts.
pub(crate) const AUTHORITY_FILE: &str = "ca.pem";

/// A node's certificate, its private key, and the authorities that it trusts: complete and consistent.
///
/// Whoever holds one knows that the key fits the certificate, that the certificate names one node, and
/// that one of the authorities has issued it for both ends of a connection. Whether it is valid *now* is
/// for the peer to judge: see [`validity`](Self::validity).
#[derive(Clone)]
pub struct Credentials {
    identity: Identity,
    validity: Validity,
    certificate_pem: String,
    key_pem: String,
    authorities_pem: String,
    certified_key: Arc<CertifiedKey>,
    authorities: Arc<RootCertStore>,
    revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    list_dates: ListDates,
    verifier: Arc<PeerVerifier>,
}

impl Credentials {
    /// Reads PEM files: the node's certificate (first, then any intermediate ones), its private key
    /// (PKCS#8, SEC1 or PKCS#1), and the certificates of the authorities that it trusts: one, or several
    /// while the cluster moves from one authority to the next.
    ///
    /// # Errors
    /// [`CertsError`], naming the file: unreadable, not PEM, nothing in it, a key that others may read or
    /// that does not fit, a certificate that names no node or is not from these authorities.
    pub fn load(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        authorities: impl AsRef<Path>,
    ) -> Result<Self, CertsError> {
        Self::read(
            PemFile::read(certificate.as_ref(), Secrecy::Public)?,
            PemFile::read(key.as_ref(), Secrecy::Private)?,
            PemFile::read(authorities.as_ref(), Secrecy::Public)?,
        )
    }

    fn read(certificate: PemFile, key: PemFile, trusted: PemFile) -> Result<Self, CertsError> {
        let chain = certificate.certificates()?;
        let identity = certified_identity(&chain[0]).map_err(|reason| {
            if is_authority(&chain[0]) {
                return certificate.misplaced("an authority's certificate", "a node's");
            }
            CertsError::NoIdentity { file: certificate.path.clone(), reason: reason.to_string() }
        })?;
        let validity = Validity::of(&chain[0])
            .ok_or_else(|| certificate.unusable("it is not an X.509 certificate"))?;

        let private = PrivateKeyDer::from_pem_slice(key.text.as_bytes()).map_err(|error| {
            key.unusable(&format!("no private key can be read ({})", files::in_words(&error)))
        })?;
        let signing = provider()
            .key_provider
            .load_private_key(private)
            .map_err(|error| key.unusable(&format!("the private key cannot be used ({error})")))?;
        let certified_key = Arc::new(CertifiedKey::new(chain, signing));
        if certified_key.keys_match().is_err() {
            return Err(CertsError::KeyMismatch { certificate: certificate.path, key: key.path });
        }

        let mut authorities = RootCertStore::empty();
        let trusted_certificates = trusted.certificates()?;
        let has_authority = trusted_certificates.iter().any(is_authority);
        for authority in trusted_certificates {
            authorities.add(authority).map_err(|error| {
                trusted.unusable(&format!("a certificate in it is no authority's ({error})"))
            })?;
        }
        let authorities = Arc::new(authorities);
        let verifier = Self::verifier_of(&identity, &authorities, Vec::new(), ListDates::default())
            .map_err(|error| trusted.unusable(&error.to_string()))?;

        let credentials = Self {
            identity,
            validity,
            certificate_pem: certificate.text,
            key_pem: key.text,
            authorities_pem: trusted.text,
            certified_key,
            authorities,
            revocation_lists: Vec::new(),
            list_dates: ListDates::default(),
            verifier: Arc::new(verifier),
        };
        credentials.accepted_by_ourselves().map_err(|reason| {
            if !has_authority {
                let (found, wanted) = ("a node's certificate", "an authority's");
                return CertsError::Misplaced { file: trusted.path, found, wanted };
            }
            CertsError::NotAccepted {
                certificate: certificate.path,
                authorities: trusted.path,
                reason: reason.to_string(),
            }
        })?;
        Ok(credentials)
    }

    /// Checks our certificate as a peer would, at a time at which its dates are right.
    fn accepted_by_ourselves(&self) -> Result<(), rustls::Error> {
        let (certificate, intermediates) =
            self.certified_key.cert.split_first().expect("a PemFile has at least one certificate");
        let began = |certificate| Validity::of(certificate).map(|dates| dates.not_before);
        let then = self.certified_key.cert.iter().filter_map(began).max();
        let then = then.unwrap_or(self.validity.not_before);
        let name = ServerName::try_from("node").expect("a host name");
        self.verifier.verify_server_cert(certificate, intermediates, &name, &[], then)?;
        self.verifier.verify_client_cert(certificate, intermediates, then)?;
        Ok(())
    }

    /// The same credentials, refusing peers whose certificates are on the revocation lists in `file`
    /// (PEM, one list for each authority that issues certificates to nodes), in place of those that
    /// they had. A peer whose issuer has no list there is refused too. What a list means once its date
    /// has passed says [`with_list_dates`](Self::with_list_dates).
    ///
    /// # Errors
    /// [`CertsError`], naming the file, where there is no list in it or one cannot be read.
    pub fn with_revocation_lists(mut self, file: impl AsRef<Path>) -> Result<Self, CertsError> {
        let file = PemFile::read(file.as_ref(), Secrecy::Public)?;
        let lists = CertificateRevocationListDer::pem_slice_iter(file.text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| file.unusable(&format!("it is not PEM ({error})")))?;
        if lists.is_empty() {
            return Err(file.unusable("there is no revocation list in it"));
        }
        let dates = self.list_dates;
        let verifier = Self::verifier_of(&self.identity, &self.authorities, lists.clone(), dates)
            .map_err(|error| file.unusable(&error.to_string()))?;
        self.revocation_lists = lists;
        self.verifier = Arc::new(verifier);
        Ok(self)
    }

    /// The same credentials, with another meaning of the dates of revocation lists: those that there
    /// are, and those to come.
    #[must_use]
    pub fn with_list_dates(mut self, dates: ListDates) -> Self {
        let lists = self.revocation_lists.clone();
        let verifier = Self::verifier_of(&self.identity, &self.authorities, lists, dates)
            .expect("a verifier was made of these authorities and lists before");
        self.list_dates = dates;
        self.verifier = Arc::new(verifier);
        self
    }

    fn verifier_of(
        identity: &Identity,
        authorities: &Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
        dates: ListDates,
    ) -> Result<PeerVerifier, VerifierBuilderError> {
        PeerVerifier::new(identity.cluster.clone(), Arc::clone(authorities), lists, dates)
    }

    /// Writes `<node>.pem`, `<node>-key.pem` (for its owner only) and `ca.pem` into `directory`, which is
    /// made (for its owner only) where it does not exist. No reader sees half a file: each appears whole,
    /// or is replaced whole. The key comes before the certificate, so a reader
    /// between the two finds a key that does not fit, and may try again.
    ///
    /// # Errors
    /// [`CertsError::Exists`] where a file is there already and `overwrite` says [`Overwrite::Refuse`], and,
    /// in any case, where `ca.pem` is another authority's. [`CertsError::Write`] where the disk refuses.
    pub fn save(
        &self,
        directory: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<(), CertsError> {
        let (directory, node) = (directory.as_ref(), &self.identity.node);
        if node.as_str() == "ca" || node.as_str().ends_with("-key") {
            return Err(CertsError::ReservedName(node.clone()));
        }
        files::make_directory(directory)?;
        let authority = directory.join(AUTHORITY_FILE);
        match files::write(&authority, &self.authorities_pem, Secrecy::Public, Overwrite::Refuse) {
            Err(CertsError::Exists { .. })
                if PemFile::read(&authority, Secrecy::Public)?.text == self.authorities_pem => {}
            written => written?,
        }
        let key = directory.join(format!("{node}-key.pem"));
        files::write(&key, &self.key_pem, Secrecy::Private, overwrite)?;
        let certificate = directory.join(format!("{node}.pem"));
        files::write(&certificate, &self.certificate_pem, Secrecy::Public, overwrite)
    }

    /// The node that these credentials are for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when to when peers accept the certificate. Rotate well before its end.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate, with the intermediate ones, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PEM: keep it from others.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificates of the authorities that are trusted, as PEM.
    #[must_use]
    pub fn authorities_pem(&self) -> &str {
        &self.authorities_pem
    }

    /// Until when peers can be judged by the revocation lists; `None` where that has no end.
    pub(crate) fn lists_until(&self) -> Option<UnixTime> {
        match self.list_dates {
            ListDates::Enforced => revocation::current_until(&self.revocation_lists),
            ListDates::Ignored => None,
        }
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified_key)
    }

    pub(crate) fn verifier(&self) -> Arc<PeerVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// Whether a node with the one is as a node with the other: the same certificate, key, authorities and
/// revocation lists.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.certificate_pem == other.certificate_pem
            && self.key_pem == other.key_pem
            && self.authorities_pem == other.authorities_pem
            && self.revocation_lists == other.revocation_lists
            && self.list_dates == other.list_dates
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// The dates of a certificate, both of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second at which it is accepted.
    pub not_before: UnixTime,
    /// The last second at which it is accepted.
    pub not_after: UnixTime,
}

impl Validity {
    /// `None` where the certificate cannot be read, or has dates before 1970.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let dates = certificate.validity();
        let seconds = |at: i64| {
            let seconds = u64::try_from(at).ok()?;
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
        };
        Some(Self {
            not_before: seconds(dates.not_before.timestamp())?,
            not_after: seconds(dates.not_after.timestamp())?,
        })
    }
}
