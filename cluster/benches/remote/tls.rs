//! TLS for the peers that bring none of their own: 1.3 by aws-lc-rs, as umbel has it.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const CERTIFICATE: &str = "plain.pem";
const KEY: &str = "plain-key.pem";
const NAME: &str = "localhost";

/// Makes a certificate for both processes.
pub(crate) fn make_files(directory: &Path) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("it can be made");
    std::fs::write(directory.join(CERTIFICATE), made.cert.pem()).expect("it can be written");
    std::fs::write(directory.join(KEY), made.signing_key.serialize_pem())
        .expect("it can be written");
}

fn certificate(directory: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(directory.join(CERTIFICATE)).expect("it was written")
}

pub(crate) fn acceptor(directory: &Path) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_file(directory.join(KEY)).expect("it was written");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("it has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate(directory)], key)
        .expect("they belong together");
    Arc::new(config).into()
}

pub(crate) fn connector(directory: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(directory)).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .expect("it has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a host name")
}
