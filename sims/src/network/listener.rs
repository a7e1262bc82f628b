//! Where diallers knock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn};
use umbel_cluster::{Connection, Incoming, Listener, TransportError};
use umbel_protocol::Identity;

use super::connection::Payload;
use super::stream::SimStream;
use super::transport::{answer, judge};
use super::{Network, Place, Side};
use crate::shared::Shared;

/// How many diallers may wait to be accepted at one address; who comes then is not answered, and tries
/// again. Linux's usual backlog for a TCP listener in tokio is 1,024.
const BACKLOG: usize = 1024;

/// Where diallers knock.
pub(super) struct Door {
    place: Place,
    calls: VecDeque<u64>,
    accepting: Option<Waker>,
}

impl Door {
    pub(super) fn new(place: Place) -> Self {
        Self { place, calls: VecDeque::new(), accepting: None }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn has_room(&self) -> bool {
        self.calls.len() < BACKLOG
    }

    pub(super) fn knock(&mut self, connection: u64) -> Option<Waker> {
        self.calls.push_back(connection);
        self.accepting.take()
    }
}

/// One process's ear at an address.
pub(super) struct SimListener {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    pub(super) identity: Identity,
    pub(super) address: String,
}

impl Listener for SimListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>> {
        let (shared, identity, address) =
            (self.shared.clone(), self.identity.clone(), &self.address);
        poll_fn(move |cx| {
            let mut network = shared.network();
            // Gone with its process: whoever waits here is about to be dropped.
            let Some(door) = network.doors.get_mut(address) else { return Poll::Pending };
            let Some(number) = door.calls.pop_front() else {
                door.accepting = Some(cx.waker().clone());
                return Poll::Pending;
            };
            drop(network);
            let stream = SimStream { shared: shared.clone(), number, side: Side::Acceptor };
            let ours = identity.clone();
            Poll::Ready(Ok(Incoming::new(format!("10.1.{number}"), welcome(stream, ours).boxed())))
        })
        .boxed()
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut network = self.shared.network();
        let ours = network.doors.get(&self.address).is_some_and(|door| door.place == self.place);
        let calls = if ours { network.doors.remove(&self.address) } else { None };
        for number in calls.into_iter().flat_map(|door| door.calls) {
            network.drop_end(number, Side::Acceptor, true);
        }
    }
}

/// As with TLS, the acceptor shows who it is first, and is done when the dialler has.
async fn welcome(stream: SimStream, ours: Identity) -> Result<Connection, TransportError> {
    let (number, address) = (stream.number, format!("10.1.{}", stream.number));
    let lost = || {
        let source = std::io::ErrorKind::ConnectionReset.into();
        TransportError::Lost { address: address.clone(), source }
    };
    let peer = greet(&mut stream.shared.network(), number, &ours).ok_or_else(lost)?;
    judge(&ours, &peer, &address, false)?;
    answer(&stream.shared, number, Side::Acceptor).await.map_err(|_| lost())?;
    Ok(Connection { stream: Box::new(stream), peer, address, proof: None })
}

/// Shows the dialler who we are; who it is, if the connection is still there.
fn greet(network: &mut Network, number: u64, ours: &Identity) -> Option<Identity> {
    let connection = network.connections.get_mut(&number)?;
    let dialler = connection.end(Side::Dialler).identity.clone();
    connection.end(Side::Acceptor).identity = Some(ours.clone());
    network.post(number, Side::Dialler, Payload::Welcome(ours.clone()));
    dialler
}
