//! The transport of a node whose connections all pass through proxies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use umbel_cluster::{
    AddressError, CertificateFault, Connection, Credentials, Listener, Proof, TcpTransport,
    Transport, TransportError,
};
use umbel_protocol::Identity;

/// TCP with mutual TLS as it is, but for one thing: instead of a node's address, the door is dialled that
/// leads there from *this* node. A node has one address for all others, and so without this a proxy
/// could not tell who dials.
pub(super) struct Doors {
    tcp: TcpTransport,
    /// From the address that a node gives others to the door that leads there from here.
    doors: BTreeMap<String, String>,
    listens: Arc<dyn Fn(String) + Send + Sync>,
}

impl Doors {
    /// With `listens` told where the node really listens.
    pub(super) fn new(
        credentials: &Credentials,
        doors: BTreeMap<String, String>,
        listens: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        Self { tcp: TcpTransport::new(credentials), doors, listens: Arc::new(listens) }
    }
}

impl Transport for Doors {
    fn identity(&self) -> &Identity {
        self.tcp.identity()
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (listening, listens) = (self.tcp.listen(address), self.listens.clone());
        async move {
            let listener = listening.await?;
            listens(listener.address());
            Ok(listener)
        }
        .boxed()
    }

    fn check_address(&self, address: &str) -> Result<(), AddressError> {
        self.tcp.check_address(address)
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        self.tcp.dial(self.doors.get(address).map_or(address, String::as_str))
    }

    fn bulk_on_thread(&self) -> bool {
        self.tcp.bulk_on_thread()
    }

    fn judge(&self, proof: &Proof) -> Result<Duration, CertificateFault> {
        self.tcp.judge(proof)
    }

    fn credentials(&self) -> Option<Credentials> {
        self.tcp.credentials()
    }

    fn rotate(&self, credentials: &Credentials) -> Result<(), umbel_cluster::CertsError> {
        self.tcp.rotate(credentials)
    }
}
