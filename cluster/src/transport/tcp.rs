//! Nodes connected by TCP and mutual TLS.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use umbel_protocol::Identity;

use super::{
    AddressError, CertificateFault, Connection, Incoming, Listener, Proof, Transport,
    TransportError,
};
use crate::certs::{CertsError, Credentials, Validity};
use crate::tls::{TlsConfigs, certified_identity};
use socket::{Socket, Surge};

mod socket;

/// How long, and for how many bytes, a refused peer is listened to so that our reason reaches it: closing
/// a socket with unread bytes in it sends a reset, which may overtake the alert.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// The bytes that are taken from the kernel at once. rustls reads 4 KiB a time, and then what a record lacks,
/// which is four or five system calls a record; and it writes four full records at once, of 16 KiB each and 22
/// bytes more (RFC 8446, 5.2: header, content type, and the tag of the cipher).
const READ_BYTES: usize = 4 * (16 * 1024 + 22);

/// A node's transport over TCP, encrypted and authenticated both ways by TLS 1.3.
///
/// Addresses are `host:port`. Nagle's algorithm is off. Sessions are never resumed, so each connection
/// checks both certificates anew. Clones are the same node and are rotated together.
#[derive(Clone)]
pub struct TcpTransport {
    identity: Identity,
    clock: Arc<dyn TimeProvider>,
    tls: Arc<ArcSwap<TlsConfigs>>,
    busy_poll: bool,
    surge: Arc<Surge>,
}

impl TcpTransport {
    /// A transport for the node that `credentials` name. Certificates are checked against the system's
    /// clock.
    #[must_use]
    pub fn new(credentials: &Credentials) -> Self {
        Self::with_clock(credentials, Arc::new(DefaultTimeProvider))
    }

    /// Like [`new`](Self::new), with a clock of one's own to check the dates of certificates against.
    #[must_use]
    pub fn with_clock(credentials: &Credentials, clock: Arc<dyn TimeProvider>) -> Self {
        let tls = TlsConfigs::new(credentials, Arc::clone(&clock));
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let (identity, surge) = (credentials.identity().clone(), Arc::new(Surge::new()));
        Self { identity, clock, tls, busy_poll: true, surge }
    }

    /// Whether connections are polled where it pays: see [`NodeConfig::busy_poll`](crate::NodeConfig::busy_poll).
    /// Default: true.
    #[must_use]
    pub fn busy_poll(self, busy_poll: bool) -> Self {
        Self { busy_poll, ..self }
    }

    /// None where connections are not to be polled.
    fn surge(&self) -> Option<Arc<Surge>> {
        self.busy_poll.then(|| Arc::clone(&self.surge))
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Transport for TcpTransport {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (address, tls) = (address.to_owned(), Arc::clone(&self.tls));
        let surge = self.surge();
        async move {
            let listening = async {
                let listener = TcpListener::bind(&address).await?;
                let address = listener.local_addr()?.to_string();
                Ok(TlsListener { listener, address, tls, surge })
            };
            match listening.await {
                Ok(listener) => Ok(Box::new(listener) as Box<dyn Listener>),
                Err(source) => Err(TransportError::Listen { address, source }),
            }
        }
        .boxed()
    }

    fn check_address(&self, address: &str) -> Result<(), AddressError> {
        let (host, port) = address.rsplit_once(':').ok_or(AddressError::NoPort)?;
        match port.parse::<u16>() {
            Err(_) => Err(AddressError::NoPort),
            Ok(_) if host.is_empty() => Err(AddressError::NoHost),
            Ok(0) => Err(AddressError::PortZero),
            Ok(_) => Ok(()),
        }
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        dial(address.to_owned(), Arc::clone(&self.tls), self.surge()).boxed()
    }

    fn bulk_on_thread(&self) -> bool {
        true
    }

    fn judge(&self, proof: &Proof) -> Result<Duration, CertificateFault> {
        // A clock that cannot be read says that nothing is in force: no handshake succeeds then, either.
        let now = self.clock.current_time().ok_or(CertificateFault::NotValidNow)?;
        let tls = self.tls.load();
        tls.judge(proof.chain(), now)?;
        let until =
            tls.credentials.lists_until().map_or(proof.until(), |lists| lists.min(proof.until()));
        Ok(Duration::from_secs(until.as_secs().saturating_sub(now.as_secs())))
    }

    fn credentials(&self) -> Option<Credentials> {
        Some(self.tls.load().credentials.clone())
    }

    fn rotate(&self, credentials: &Credentials) -> Result<(), CertsError> {
        if *credentials.identity() != self.identity {
            return Err(CertsError::OtherIdentity {
                ours: self.identity.clone(),
                theirs: credentials.identity().clone(),
            });
        }
        self.tls.store(Arc::new(TlsConfigs::new(credentials, Arc::clone(&self.clock))));
        Ok(())
    }
}

struct TlsListener {
    listener: TcpListener,
    address: String,
    tls: Arc<ArcSwap<TlsConfigs>>,
    surge: Option<Arc<Surge>>,
}

impl Listener for TlsListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>> {
        async move {
            loop {
                match self.listener.accept().await {
                    Ok((stream, from)) => {
                        let from = from.to_string();
                        let (tls, surge) = (Arc::clone(&self.tls), self.surge.clone());
                        let handshake = accept(stream, from.clone(), tls, surge);
                        return Ok(Incoming::new(from, handshake.boxed()));
                    }
                    // The dialler was gone before we looked: nothing is wrong with the listener.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(source) => {
                        let address = self.address.clone();
                        return Err(TransportError::Accept { address, source });
                    }
                }
            }
        }
        .boxed()
    }
}

async fn dial(
    address: String,
    tls: Arc<ArcSwap<TlsConfigs>>,
    surge: Option<Arc<Surge>>,
) -> Result<Connection, TransportError> {
    let connecting = async {
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(stream.peer_addr()?.ip());
        Ok((buffered(stream), name))
    };
    let (stream, name) = match connecting.await {
        Ok(connected) => connected,
        Err(source) => return Err(TransportError::Unreachable { address, source }),
    };
    let tls = tls.load_full();
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    match connector.connect(name, stream).into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().0.get_mut().let_poll(surge);
            let (peer, proof) = proven(stream.get_ref().1.peer_certificates(), &tls);
            Ok(Connection { stream: Box::new(stream), peer, address, proof: Some(proof) })
        }
        Err((error, stream)) => Err(refuse(&address, error, stream).await),
    }
}

async fn accept(
    stream: TcpStream,
    address: String,
    tls: Arc<ArcSwap<TlsConfigs>>,
    surge: Option<Arc<Surge>>,
) -> Result<Connection, TransportError> {
    if let Err(source) = stream.set_nodelay(true) {
        return Err(TransportError::Lost { address, source });
    }
    let stream = buffered(stream);
    let tls = tls.load_full();
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
    match acceptor.accept(stream).into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().0.get_mut().let_poll(surge);
            let (peer, proof) = proven(stream.get_ref().1.peer_certificates(), &tls);
            Ok(Connection { stream: Box::new(stream), peer, address, proof: Some(proof) })
        }
        Err((error, stream)) => Err(refuse(&address, error, stream).await),
    }
}

fn buffered(stream: TcpStream) -> BufReader<Socket> {
    BufReader::with_capacity(READ_BYTES, Socket::new(stream))
}

/// Whom a finished handshake has proved to be there, and by what.
fn proven(chain: Option<&[CertificateDer<'static>]>, tls: &TlsConfigs) -> (Identity, Proof) {
    let chain = chain.unwrap_or_default();
    let peer = chain
        .first()
        .and_then(|certificate| certified_identity(certificate).ok())
        .expect("PeerVerifier has read the identity in this certificate during the handshake");
    let ours = tls.credentials.validity().not_after;
    let ends = chain.iter().filter_map(Validity::of).map(|validity| validity.not_after);
    (peer, Proof::new(chain.to_vec(), ends.fold(ours, std::cmp::min)))
}

/// What a failed handshake means. The alert, if there is one, was written by then; this makes sure that
/// the peer can read it.
async fn refuse(address: &str, error: io::Error, mut stream: BufReader<Socket>) -> TransportError {
    let error = TransportError::from_io(address, error);
    if matches!(error, TransportError::CertificateRefused { .. } | TransportError::Tls { .. }) {
        let lingering = async {
            stream.shutdown().await?;
            let mut rest = stream.take(LINGER_BYTES);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        // However it ends, the refusal stands.
        let _ = tokio::time::timeout(LINGER, lingering).await;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_host_or_no_port_is_not_dialled() {
        let authority = crate::Authority::create("test".parse().expect("a name")).expect("entropy");
        let node = "a".parse().expect("a name");
        let credentials = authority.issue(&node, &crate::IssueOptions::new()).expect("in force");
        let transport = TcpTransport::new(&credentials);
        for (address, found) in [
            ("node-2.example.org:7401", Ok(())),
            ("10.0.0.1:1", Ok(())),
            ("[::1]:65535", Ok(())),
            (":7401", Err(AddressError::NoHost)),
            ("node-2", Err(AddressError::NoPort)),
            ("node-2:", Err(AddressError::NoPort)),
            ("node-2:65536", Err(AddressError::NoPort)),
            ("node-2:http", Err(AddressError::NoPort)),
            ("node-2:0", Err(AddressError::PortZero)),
        ] {
            assert_eq!(transport.check_address(address), found, "{address}");
        }
    }
}
