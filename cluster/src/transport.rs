//! The seam between the cluster and the network: byte streams whose other end is known by certificate.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use umbel_protocol::Identity;

use crate::certs::{CertsError, Credentials};

#[doc(hidden)]
pub mod conformance;
mod error;
mod memory;
mod pipe;
mod proof;
mod renewable;
mod tcp;

pub use error::{AddressError, CertificateFault, TransportError};
pub use memory::{MemoryNetwork, MemoryTransport};
pub use proof::Proof;
pub(crate) use renewable::{Renewable, Renewal};
pub use tcp::TcpTransport;

/// How a node reaches others and is reached: dial, listen, and the proof of who is there.
///
/// Implementations are [`TcpTransport`] (TCP with mutual TLS), [`MemoryTransport`] (inside one process)
/// and whatever a simulation brings; the suite in `transport::conformance` holds for each.
///
/// A connection whose owner shuts it down ends with the end of the stream at the other side. One that is
/// dropped without shutting down ends with an error there, after what was already sent or instead of it.
pub trait Transport: Send + Sync + 'static {
    /// Who we are: what our certificate says.
    fn identity(&self) -> &Identity;

    /// Starts to listen. With port 0 the system picks a free one, which [`Listener::address`] tells.
    ///
    /// # Errors
    /// [`TransportError::Listen`] where the address is taken, not ours, or not an address.
    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>>;

    /// Whether `address` has the form of something that this transport dials. What a node is told to
    /// join is checked so before it starts. Unless a transport says otherwise, every address has.
    ///
    /// # Errors
    /// [`AddressError`]; nobody could ever dial it.
    fn check_address(&self, address: &str) -> Result<(), AddressError> {
        let _ = address;
        Ok(())
    }

    /// Connects and proves both ends to each other. It has no deadline of its own: the caller drops it.
    ///
    /// That the peer refused *our* certificate may show only at the first read of the connection (TLS 1.3
    /// lets the dialler finish first): pass that read's error to [`TransportError::from_io`].
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] where nobody listens, [`TransportError::CertificateRefused`] where
    /// the peer is not of our cluster, [`TransportError::RefusedByPeer`] where we are not of the peer's,
    /// [`TransportError::Tls`] or [`TransportError::Lost`] where the handshake broke.
    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>>;

    /// Whether large messages are to be driven on a thread of their own, of low priority, so that they
    /// take no core from those who answer questions. Its runtime dials; what was accepted is polled
    /// there too. Default: false, so that what is simulated stays on its one thread.
    fn bulk_on_thread(&self) -> bool {
        false
    }

    /// Whether the peer of a connection would be let in now, with the certificates that it showed when
    /// the connection was made; and for how long at most, until a certificate of either end expires.
    /// Without certificates, for ever.
    ///
    /// # Errors
    /// What is wrong by now: its certificate has expired or was revoked, its authority is not trusted
    /// any more.
    fn judge(&self, _: &Proof) -> Result<Duration, CertificateFault> {
        Ok(Duration::MAX)
    }

    /// What this node proves itself with at present; `None` where it needs no proof.
    fn credentials(&self) -> Option<Credentials> {
        None
    }

    /// Uses other credentials of the same node from now on: for each handshake that begins after this
    /// call, also at listeners that are already open. Connections that exist stay as they are.
    ///
    /// # Errors
    /// [`CertsError::OtherIdentity`] where the credentials are another node's,
    /// [`CertsError::NotUsed`] where this transport uses none; nothing has changed then.
    fn rotate(&self, _: &Credentials) -> Result<(), CertsError> {
        Err(CertsError::NotUsed)
    }
}

/// Where others reach us. Dropping it frees the address; connections that it accepted live on.
pub trait Listener: Send {
    /// The address that others dial, with the real port where port 0 was asked for.
    fn address(&self) -> String;

    /// Waits for the next dialler. Nothing is read from it yet, so that a silent one holds up nobody.
    /// Dropping the future loses no dialler.
    ///
    /// # Errors
    /// [`TransportError::Accept`], after which the listener still works: the cause (too many open files,
    /// say) passes, so wait a little and accept again.
    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>>;
}

/// A dialler that was accepted, but has proved nothing yet. Dropping it hangs up.
pub struct Incoming {
    from: String,
    handshake: BoxFuture<'static, Result<Connection, TransportError>>,
}

impl Incoming {
    /// What a [`Listener`] makes of a raw stream: where it is from, and the handshake that is still to run.
    /// The future must do nothing before it is polled, and must own the stream.
    #[must_use]
    pub fn new(
        from: String,
        handshake: BoxFuture<'static, Result<Connection, TransportError>>,
    ) -> Self {
        Self { from, handshake }
    }

    /// The dialler's address: not proved, good for logs and for limits by origin.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Proves both ends to each other. It has no deadline of its own, and a limit on how many run at
    /// once is the caller's too: a client may say nothing for ever, or drip byte after byte.
    ///
    /// After a refusal it lingers, for at most a second, until the peer has taken the reason.
    ///
    /// # Errors
    /// As of [`Transport::dial`], without `Unreachable`.
    #[must_use]
    pub fn handshake(self) -> BoxFuture<'static, Result<Connection, TransportError>> {
        self.handshake
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("from", &self.from).finish_non_exhaustive()
    }
}

/// A byte stream to a peer that has proved who it is.
pub struct Connection {
    /// The stream, both directions.
    pub stream: Box<dyn ByteStream>,
    /// Who is at the other end, as its certificate says.
    pub peer: Identity,
    /// The peer's address: the one that was dialled, or the one that the peer dialled from.
    pub address: String,
    /// What the peer's identity rests on; `None` where it is taken on trust.
    pub proof: Option<Proof>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Anything that one can read bytes from and write bytes to; implemented for all such types.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}
