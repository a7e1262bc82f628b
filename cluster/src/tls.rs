//! Mutual TLS 1.3 in which a peer is checked for its cluster, and named by its certificate.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, DnsName, ServerName, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme, version,
};
use thiserror::Error;
use umbel_protocol::{ClusterName, Identity, IdentityError};
use x509_parser::extensions::GeneralName;

use crate::certs::{Credentials, ListDates};
use crate::transport::CertificateFault;

/// How one set of credentials accepts and dials. Made anew at each rotation, read at each handshake.
#[derive(Debug)]
pub(crate) struct TlsConfigs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) credentials: Credentials,
}

impl TlsConfigs {
    pub(crate) fn new(credentials: &Credentials, clock: Arc<dyn TimeProvider>) -> Self {
        let verifier = credentials.verifier();
        let ours = Arc::new(SingleCertAndKey::from(credentials.certified_key()));

        let mut server = ServerConfig::builder_with_details(provider(), Arc::clone(&clock))
            .with_protocol_versions(&[&version::TLS13])
            .expect("aws-lc-rs has cipher suites for TLS 1.3")
            .with_client_cert_verifier(Arc::clone(&verifier) as _)
            .with_cert_resolver(Arc::clone(&ours) as _);
        // A resumed session would skip the check of the peer's certificate, and outlive it. Tickets that
        // a dialler never reads would also turn its close into a reset.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});

        let mut client = ClientConfig::builder_with_details(provider(), clock)
            .with_protocol_versions(&[&version::TLS13])
            .expect("aws-lc-rs has cipher suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(ours);
        client.resumption = Resumption::disabled();
        // Nodes are known by their URI, and a host name in clear would only tell eavesdroppers.
        client.enable_sni = false;

        let credentials = credentials.clone();
        Self { server: Arc::new(server), client: Arc::new(client), credentials }
    }

    /// Whether a peer that has shown `chain` would be let in at this time.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateFault> {
        let (certificate, intermediates) = chain.split_first().ok_or(CertificateFault::Missing)?;
        let judged =
            self.credentials.verifier().verify_client_cert(certificate, intermediates, now);
        match judged {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(why)) => Err(CertificateFault::found(&why).0),
            Err(_) => Err(CertificateFault::Malformed),
        }
    }
}

/// The one provider of cryptography. Always passed on: with two compiled in, rustls panics where it has
/// to pick the process's default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Accepts the nodes of one cluster and nobody else, whichever end they are at.
///
/// A certificate must lead to one of the cluster's authorities, be valid now, allow the use, not be
/// revoked, and name exactly one node of this cluster. No host name is looked at: nodes move, and a
/// certificate without one can be had from any authority.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    cluster: ClusterName,
    authorities: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    lists: bool,
}

impl PeerVerifier {
    /// # Errors
    /// Where there is no authority, or a revocation list cannot be read.
    pub(crate) fn new(
        cluster: ClusterName,
        authorities: Arc<RootCertStore>,
        revocation_lists: Vec<CertificateRevocationListDer<'static>>,
        dates: ListDates,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let lists = !revocation_lists.is_empty();
        let mut clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&authorities),
            provider,
        )
        .clear_root_hint_subjects()
        .with_crls(revocation_lists);
        if dates == ListDates::Enforced {
            clients = clients.enforce_revocation_expiration();
        }
        let clients = clients.build()?;
        Ok(Self { cluster, authorities, clients, algorithms, lists })
    }

    fn check_cluster(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let identity = certified_identity(certificate).map_err(|fault| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
        })?;
        if identity.cluster == self.cluster {
            return Ok(());
        }
        // This error and the one above have an alert each, so that the peer learns which it was.
        let expected = DnsName::try_from(self.cluster.as_str().to_owned())
            .unwrap_or_else(|_| DnsName::try_from("cluster").expect("a host name"));
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: ServerName::DnsName(expected),
            presented: vec![identity.to_uri()],
        }))
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        // The function above knows no revocation. A node is a client too, so its client side is checked
        // where there are lists: rustls' verifier for servers insists on a host name.
        if self.lists {
            self.clients.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.check_cluster(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.clients.verify_client_cert(end_entity, intermediates, now)?;
        self.check_cluster(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// The node that a certificate names: its only subject alternative name with the scheme `umbel`. Names of
/// other kinds may stand beside it.
pub(crate) fn certified_identity(
    certificate: &CertificateDer<'_>,
) -> Result<Identity, NamesNoNode> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| NamesNoNode::Unreadable)?;
    let names = certificate.subject_alternative_name().map_err(|_| NamesNoNode::Unreadable)?;
    let mut uris =
        names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with("umbel:") => Some(*uri),
            _ => None,
        });
    match (uris.next(), uris.next()) {
        (None, _) => Err(NamesNoNode::None),
        (Some(_), Some(_)) => Err(NamesNoNode::Several),
        (Some(uri), None) => Ok(Identity::from_uri(uri)?),
    }
}

/// Why a certificate says nothing of which node it is for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NamesNoNode {
    #[error("no umbel:// URI among its names")]
    None,
    #[error("more than one umbel:// URI among its names")]
    Several,
    #[error(transparent)]
    Malformed(#[from] IdentityError),
    #[error("its names cannot be read")]
    Unreadable,
}
