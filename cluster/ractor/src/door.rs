//! The door that ractor_cluster insists on having, walled up.

use std::sync::Arc;

use ractor_cluster::IncomingEncryptionMode;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio_rustls::TlsAcceptor;

/// What `NodeServer`'s own listener demands of whoever connects: TLS 1.3 with a server that has no
/// certificate, no key and no sessions to resume. Without one of these no handshake can be finished,
/// so nothing that a stranger says is ever decoded. The listener takes one at a time: whoever says
/// nothing keeps out other strangers.
pub(crate) fn walled_up() -> IncomingEncryptionMode {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    IncomingEncryptionMode::Tls(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
