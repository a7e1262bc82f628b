//! What stands in a certificate, for people to read.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use umbel_protocol::Identity;
use x509_parser::extensions::GeneralName;

use super::files::{PemFile, Secrecy};
use super::{CertsError, Validity};
use crate::tls::certified_identity;

/// What stands in a certificate, for people to read. It says nothing about whom to trust: that is
/// judged at each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateView {
    /// Whose it is, as X.509 writes names.
    pub subject: String,
    /// Who signed it, as X.509 writes names.
    pub issuer: String,
    /// The number that its issuer gave it, in hexadecimal.
    pub serial: String,
    /// The node that it is for; `None` for an authority's, and where it names no node.
    pub node: Option<Identity>,
    /// The URIs among its names.
    pub uris: Vec<String>,
    /// Whether it may sign certificates.
    pub is_authority: bool,
    /// From when to when it is accepted.
    pub validity: Validity,
}

impl CertificateView {
    /// Reads every certificate in a PEM file, in its order.
    ///
    /// # Errors
    /// [`CertsError`], naming the file: unreadable, not PEM, no certificate in it.
    pub fn read(file: impl AsRef<Path>) -> Result<Vec<Self>, CertsError> {
        let file = PemFile::read(file.as_ref(), Secrecy::Public)?;
        let view = |certificate: &CertificateDer<'_>| {
            Self::of(certificate).ok_or_else(|| file.unusable("it is not an X.509 certificate"))
        };
        file.certificates()?.iter().map(view).collect()
    }

    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let uris = names.iter().flat_map(|names| &names.value.general_names);
        let uris = uris.filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: certificate.raw_serial_as_string(),
            node: certified_identity(der).ok(),
            uris: uris.collect(),
            is_authority: certificate.is_ca(),
            validity: Validity::of(der)?,
        })
    }
}
