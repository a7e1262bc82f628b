//! A company's own authority, which issues whatever it is asked for, and peers that use it badly.

use std::fs;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use umbel_cluster::{CertsError, Credentials, TransportError};

use super::soon;

pub(super) struct Company {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as they are written to files.
pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

impl Company {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate with these URIs, for both ends of a connection unless `change` says otherwise.
    pub(super) fn issue(
        &self,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        self.issue_by(&self.issuer, uris, change)
    }

    fn issue_by(
        &self,
        issuer: &Issuer<'static, KeyPair>,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        Issued { certificate: params.signed_by(&key, issuer).unwrap(), key }
    }

    /// A certificate for `uri` that the holder of `node`'s key has issued as if it were an authority.
    pub(super) fn issue_through(&self, node: Issued, uri: &str) -> (Issued, Certificate) {
        let issuer = Issuer::from_ca_cert_der(node.certificate.der(), node.key).unwrap();
        (self.issue_by(&issuer, &[uri], |_| {}), node.certificate)
    }

    /// What a node gets: its files, through the disk, and the authorities to trust.
    pub(super) fn credentials(
        &self,
        issued: &Issued,
        trusted: &[&Company],
    ) -> Result<Credentials, CertsError> {
        let directory = TempDir::new().unwrap();
        let [certificate, key, authorities] =
            ["node.pem", "node-key.pem", "ca.pem"].map(|name| directory.path().join(name));
        let trusted: String = trusted.iter().map(|company| company.certificate.pem()).collect();
        fs::write(&certificate, issued.certificate.pem()).unwrap();
        write_private(&key, &issued.key.serialize_pem());
        fs::write(&authorities, trusted).unwrap();
        Credentials::load(certificate, key, authorities)
    }

    /// The credentials of `uri`, trusting this company alone.
    pub(super) fn node(&self, uri: &str) -> Credentials {
        self.credentials(&self.issue(&[uri], |_| {}), &[self]).unwrap()
    }

    /// A list, as PEM, on which is `serial` alone.
    pub(super) fn revoking(&self, serial: SerialNumber) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: serial,
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

pub(super) fn write_private(path: &std::path::Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Dials as a client that trusts everybody and shows what it is told to, and reports what it reads first.
pub(super) async fn dial_showing(
    address: &str,
    chain: Option<(Vec<Certificate>, KeyPair)>,
) -> TransportError {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
    let config = match chain {
        Some((chain, key)) => {
            let chain = chain.iter().map(|certificate| certificate.der().clone()).collect();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("anybody").unwrap();
    let error = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(mut stream) => soon(stream.read(&mut [0; 8])).await.expect_err("the server refuses us"),
        Err(error) => error,
    };
    TransportError::from_io(address, error)
}

#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Serves one connection as `issued`, asking for no certificate, and reports why the dialler went.
pub(super) async fn serve_showing(
    listener: tokio::net::TcpListener,
    issued: &Issued,
) -> TransportError {
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.certificate.der().clone()], key)
            .unwrap();
    let (stream, from) = listener.accept().await.unwrap();
    let error = match tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
        Ok(mut stream) => soon(stream.read(&mut [0; 8])).await.expect_err("the dialler refuses us"),
        Err(error) => error,
    };
    TransportError::from_io(&from.to_string(), error)
}
