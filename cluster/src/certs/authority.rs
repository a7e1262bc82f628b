//! An authority of our own: what issues certificates where there is no other.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use time::OffsetDateTime;
use umbel_protocol::{ClusterName, Identity, NodeName};
use x509_parser::extensions::GeneralName;

use super::files::{self, PemFile, Secrecy};
use super::{AUTHORITY_FILE, CertsError, Credentials, Overwrite, Validity};
use crate::tls::provider;

const AUTHORITY_KEY_FILE: &str = "ca-key.pem";

/// How long an authority lasts. It is replaced by hand, on all nodes, so it must outlast many nodes.
const AUTHORITY_LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// By how much certificates are dated back, for the nodes whose clocks are slow.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// Issues certificates to the nodes of one cluster.
///
/// Keys, its own and the nodes', are ECDSA on P-256: of the kinds that are quick to make and to check,
/// it is the one that every TLS library, hardware module and company authority takes as well (Ed25519 is
/// not), so that a cluster may move to another authority and keep its rules. Its certificate allows it to
/// sign certificates and revocation lists and nothing else, and those that it signs may not sign others.
pub struct Authority {
    cluster: ClusterName,
    validity: Validity,
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssueOptions {
    /// For how long it is valid. The default, 90 days, is what public authorities have settled on for
    /// certificates that are renewed by machines. It never outlasts the authority's own.
    pub valid_for: Duration,
    /// When it is issued: the system's clock, where `None`. It is dated back by five minutes from then.
    pub issued_at: Option<UnixTime>,
}

impl Default for IssueOptions {
    fn default() -> Self {
        Self { valid_for: Duration::from_secs(90 * 24 * 60 * 60), issued_at: None }
    }
}

impl IssueOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`valid_for`](Self::valid_for).
    #[must_use]
    pub fn valid_for(mut self, duration: Duration) -> Self {
        self.valid_for = duration;
        self
    }

    /// Sets [`issued_at`](Self::issued_at).
    #[must_use]
    pub fn issued_at(mut self, time: UnixTime) -> Self {
        self.issued_at = Some(time);
        self
    }
}

impl Authority {
    /// Makes a new authority for `cluster`, valid for ten years, in memory: [`save`](Self::save) keeps it.
    ///
    /// # Errors
    /// [`CertsError::Making`] where there is no entropy.
    pub fn create(cluster: ClusterName) -> Result<Self, CertsError> {
        let validity = Validity::starting(now()?, AUTHORITY_LASTS)?;
        let key = new_key()?;
        let mut params = params(validity)?;
        // Two authorities of the same cluster must not have one name: a verifier would take the one for
        // the other, and report a bad signature in place of a foreign authority.
        let mut random = [0; 4];
        fill(&mut random)?;
        let name = format!("umbel authority of {cluster}, {:08x}", u32::from_be_bytes(random));
        params.distinguished_name.push(DnType::CommonName, name);
        // Without a node, so nobody can be this: it tells `load` which cluster the authority is for.
        params.subject_alt_names = vec![uri(&format!("umbel://{cluster}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(making)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { cluster, validity, certificate_pem, key_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads `ca.pem` and `ca-key.pem` from `directory`.
    ///
    /// # Errors
    /// [`CertsError`], naming the file: unreadable, not an authority that [`create`](Self::create) made,
    /// or a key that others may read or that does not fit.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, CertsError> {
        let directory = directory.as_ref();
        let certificate = PemFile::read(&directory.join(AUTHORITY_FILE), Secrecy::Public)?;
        let key = PemFile::read(&directory.join(AUTHORITY_KEY_FILE), Secrecy::Private)?;
        files::refuse_exposed_directory(directory)?;

        let chain = certificate.certificates()?;
        let (cluster, public_key) =
            cluster_of(&chain[0]).map_err(|reason| certificate.unusable(reason))?;
        let validity = Validity::of(&chain[0])
            .ok_or_else(|| certificate.unusable("its dates cannot be read"))?;
        if !key.has_section("PRIVATE KEY") {
            return Err(key.unusable("there is no private key in it"));
        }
        let pair = KeyPair::from_pem(&key.text)
            .map_err(|error| key.unusable(&format!("no private key can be read ({error})")))?;
        if pair.subject_public_key_info() != public_key {
            return Err(CertsError::KeyMismatch { certificate: certificate.path, key: key.path });
        }
        let issuer = Issuer::from_ca_cert_der(&chain[0], pair)
            .map_err(|error| certificate.unusable(&error.to_string()))?;
        let (certificate_pem, key_pem) = (certificate.text, key.text);
        Ok(Self { cluster, validity, certificate_pem, key_pem, issuer })
    }

    /// Writes `ca.pem` and `ca-key.pem` (for its owner only) into `directory`, which is made (for its
    /// owner only) where it does not exist. Of several that save to one place at once, one succeeds.
    ///
    /// # Errors
    /// [`CertsError::Exists`] where either is there already and `overwrite` says [`Overwrite::Refuse`];
    /// nothing was changed then. [`CertsError::Write`] where the disk refuses.
    pub fn save(
        &self,
        directory: impl AsRef<Path>,
        overwrite: Overwrite,
    ) -> Result<(), CertsError> {
        let directory = directory.as_ref();
        files::make_directory(directory)?;
        let certificate = directory.join(AUTHORITY_FILE);
        if overwrite == Overwrite::Refuse && certificate.exists() {
            return Err(CertsError::Exists { file: certificate });
        }
        // The key first: whoever gets its name is the one that may write the certificate.
        let key = directory.join(AUTHORITY_KEY_FILE);
        files::write(&key, &self.key_pem, Secrecy::Private, overwrite)?;
        files::write(&certificate, &self.certificate_pem, Secrecy::Public, overwrite)
    }

    /// Makes a key and a certificate for `node`, to serve and to dial with.
    ///
    /// # Errors
    /// [`CertsError::AuthorityNotValid`] where the authority has expired, [`CertsError::Dates`] where the
    /// options make no sense, [`CertsError::Making`] where there is no entropy.
    pub fn issue(
        &self,
        node: &NodeName,
        options: &IssueOptions,
    ) -> Result<Credentials, CertsError> {
        let issued_at = match options.issued_at {
            Some(time) => time,
            None => now()?,
        };
        let mut validity = Validity::starting(issued_at, options.valid_for)?;
        validity.not_after = validity.not_after.min(self.validity.not_after);
        if validity.not_after < issued_at {
            return Err(CertsError::AuthorityNotValid(self.cluster.clone()));
        }
        let identity = Identity::new(self.cluster.clone(), node.clone());
        let key = new_key()?;
        let mut params = params(validity)?;
        params.distinguished_name.push(DnType::CommonName, node.as_str());
        params.subject_alt_names = vec![uri(&identity.to_uri())?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(making)?;

        let issued =
            |text: String| PemFile { path: format!("(just issued to {node})").into(), text };
        Credentials::read(
            issued(certificate.pem()),
            issued(key.serialize_pem()),
            issued(self.certificate_pem.clone()),
        )
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The cluster that this authority issues certificates for.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// From when to when the authority issues certificates.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The authority's certificate as PEM: what every node of the cluster trusts.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Validity {
    fn starting(at: UnixTime, lasts: Duration) -> Result<Self, CertsError> {
        let after = at.as_secs().checked_add(lasts.as_secs()).ok_or(CertsError::Dates)?;
        if lasts.as_secs() == 0 {
            return Err(CertsError::Dates);
        }
        let before = at.as_secs().saturating_sub(BACKDATED.as_secs());
        Ok(Self { not_before: at_seconds(before), not_after: at_seconds(after) })
    }
}

fn at_seconds(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(super) fn now() -> Result<UnixTime, CertsError> {
    DefaultTimeProvider.current_time().ok_or(CertsError::Dates)
}

fn new_key() -> Result<KeyPair, CertsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making)
}

pub(super) fn date(time: UnixTime) -> Result<OffsetDateTime, CertsError> {
    let seconds = i64::try_from(time.as_secs()).map_err(|_| CertsError::Dates)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertsError::Dates)
}

fn params(validity: Validity) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // 16 random bytes, positive, not zero: RFC 5280, 4.1.2.2 allows 20.
    let mut serial = [0; 16];
    fill(&mut serial)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn fill(bytes: &mut [u8]) -> Result<(), CertsError> {
    provider().secure_random.fill(bytes).map_err(|_| CertsError::Making("no entropy".into()))
}

fn uri(uri: &str) -> Result<SanType, CertsError> {
    Ok(SanType::URI(Ia5String::try_from(uri).map_err(making)?))
}

pub(super) fn making(error: rcgen::Error) -> CertsError {
    CertsError::Making(error.to_string())
}

/// The cluster that an authority is for, and its public key.
fn cluster_of(certificate: &CertificateDer<'_>) -> Result<(ClusterName, Vec<u8>), &'static str> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| "it is not an X.509 certificate")?;
    if !certificate.is_ca() {
        return Err("it is not an authority's certificate");
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut clusters =
        names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => ClusterName::new(uri.strip_prefix("umbel://")?).ok(),
            _ => None,
        });
    let cluster = clusters.next().ok_or("it does not say for which cluster it is")?;
    Ok((cluster, certificate.public_key().raw.to_vec()))
}
