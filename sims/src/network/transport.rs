//! A process's way to the simulated network.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn};
use umbel_cluster::{CertificateFault, Connection, Listener, Transport, TransportError};
use umbel_protocol::Identity;

use super::connection::{Payload, Refused};
use super::listener::{Door, SimListener};
use super::stream::SimStream;
use super::{Place, Side};
use crate::shared::Shared;

/// A process's way to the simulated network. Its identity is taken on trust.
#[derive(Clone)]
pub(crate) struct SimTransport {
    shared: Arc<Shared>,
    place: Place,
    identity: Identity,
}

impl SimTransport {
    pub(crate) fn new(shared: Arc<Shared>, place: Place, identity: Identity) -> Self {
        Self { shared, place, identity }
    }

    fn open(&self, address: &str) -> Result<SimListener, TransportError> {
        let Self { shared, place, identity } = self.clone();
        let mut network = shared.network();
        let taken = network.doors.contains_key(address) || !network.runs(place);
        if taken || network.addresses.get(address).is_some_and(|owner| *owner != place.machine) {
            let source = io::ErrorKind::AddrInUse.into();
            return Err(TransportError::Listen { address: address.to_owned(), source });
        }
        network.addresses.insert(address.to_owned(), place.machine);
        network.doors.insert(address.to_owned(), Door::new(place));
        drop(network);
        Ok(SimListener { shared, place, identity, address: address.to_owned() })
    }

    async fn call(self, address: String) -> Result<Connection, TransportError> {
        let Self { shared, place, identity } = self;
        let number = shared.network().knock(place, identity.clone(), &address);
        // Dropped with this future, when the caller has waited long enough.
        let stream = SimStream { shared: shared.clone(), number, side: Side::Dialler };
        let answer = answer(&shared, number, Side::Dialler).await;
        let peer = answer.map_err(|why| match why {
            Refused::Nobody => TransportError::Unreachable {
                address: address.clone(),
                source: io::ErrorKind::ConnectionRefused.into(),
            },
            Refused::Broken => TransportError::Lost {
                address: address.clone(),
                source: io::ErrorKind::ConnectionReset.into(),
            },
        })?;
        judge(&identity, &peer, &address, true)?;
        shared.network().post(number, Side::Acceptor, Payload::Welcome(identity));
        Ok(Connection { stream: Box::new(stream), peer, address, proof: None })
    }
}

/// Waits for the other end of a connection to show who it is.
pub(super) async fn answer(shared: &Shared, number: u64, side: Side) -> Result<Identity, Refused> {
    poll_fn(|cx| {
        let mut network = shared.network();
        let Some(connection) = network.connections.get_mut(&number) else {
            return Poll::Ready(Err(Refused::Broken));
        };
        match connection.end(side).answer(cx.waker()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    })
    .await
}

/// Of two clusters it is the dialler that refuses, as with TLS, where the acceptor shows its certificate
/// first.
pub(super) fn judge(
    ours: &Identity,
    peer: &Identity,
    address: &str,
    dials: bool,
) -> Result<(), TransportError> {
    let (address, fault) = (address.to_owned(), CertificateFault::OtherCluster);
    match (ours.cluster == peer.cluster, dials) {
        (true, _) => Ok(()),
        (false, true) => {
            Err(TransportError::CertificateRefused { address, fault, detail: peer.to_uri() })
        }
        (false, false) => Err(TransportError::RefusedByPeer { address, fault }),
    }
}

impl Transport for SimTransport {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (own, address) = (self.clone(), address.to_owned());
        async move { Ok(Box::new(own.open(&address)?) as Box<dyn Listener>) }.boxed()
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        self.clone().call(address.to_owned()).boxed()
    }
}
