//! Nodes of one process, connected without sockets, threads or cryptography.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use umbel_protocol::Identity;

use super::pipe::{Cut, PipeEnd};
use super::{CertificateFault, Connection, Incoming, Listener, Transport, TransportError};

/// How many diallers may wait to be accepted at one address; more of them wait for room. Linux's usual
/// backlog for a TCP listener in tokio is 1,024.
const BACKLOG: usize = 1024;

/// A network inside one process, for tests and demonstrations. Nothing in it happens by itself or by
/// chance: no tasks, no threads, no clock. Clones are the same network.
///
/// Addresses are plain names. A name that ends in `:0` gets a number in place of the zero.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    wires: Arc<Mutex<Wires>>,
}

#[derive(Default)]
struct Wires {
    listeners: BTreeMap<String, mpsc::Sender<Call>>,
    cuts: Vec<(String, Cut)>,
    names_given: u64,
}

/// A dialler at a listener's door.
struct Call {
    from: String,
    identity: Identity,
    stream: PipeEnd,
    answer: oneshot::Sender<Identity>,
}

impl MemoryNetwork {
    /// A network with nobody on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node's place on the network. Its identity is taken on trust.
    #[must_use]
    pub fn transport(&self, identity: Identity) -> MemoryTransport {
        MemoryTransport { identity, network: self.clone() }
    }

    /// Cuts all connections that were dialled to `address`, as a reset would: both ends get an error, and
    /// what was under way is lost. One whose handshake is still to run is cut too, and finds out when it
    /// is used. The listener stays. Returns how many were cut.
    pub fn sever(&self, address: &str) -> usize {
        let of_address = |(to, cut): &mut (String, Cut)| to == address && cut.is_live();
        let severed: Vec<_> = self.wires.lock().cuts.extract_if(.., of_address).collect();
        severed.iter().for_each(|(_, cut)| cut.cut());
        severed.len()
    }

    fn listen(&self, address: &str, identity: Identity) -> Result<MemoryListener, TransportError> {
        let mut wires = self.wires.lock();
        let address = match address.strip_suffix(":0") {
            Some(name) => loop {
                wires.names_given += 1;
                let address = format!("{name}:{}", wires.names_given);
                if !wires.listeners.contains_key(&address) {
                    break address;
                }
            },
            None => address.to_owned(),
        };
        if wires.listeners.contains_key(&address) {
            return Err(TransportError::Listen {
                address,
                source: io::ErrorKind::AddrInUse.into(),
            });
        }
        let (door, calls) = mpsc::channel(BACKLOG);
        wires.listeners.insert(address.clone(), door);
        Ok(MemoryListener { address, identity, calls, network: self.clone() })
    }

    async fn dial(self, address: String, ours: Identity) -> Result<Connection, TransportError> {
        let door = self.wires.lock().listeners.get(&address).cloned();
        let refused = |address| TransportError::Unreachable {
            address,
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        let Some(door) = door else { return Err(refused(address)) };
        // The call is made only once there is room for it, so that a dial given up leaves nothing.
        let Ok(room) = door.reserve_owned().await else { return Err(refused(address)) };

        let (stream, far_end, cut) = PipeEnd::pair();
        let (answer, answered) = oneshot::channel();
        let from = {
            let mut wires = self.wires.lock();
            wires.cuts.retain(|(_, cut)| cut.is_live());
            wires.cuts.push((address.clone(), cut));
            wires.names_given += 1;
            format!("{}#{}", ours.node, wires.names_given)
        };
        room.send(Call { from, identity: ours.clone(), stream: far_end, answer });

        // An error: the listener, or the `Incoming`, was dropped.
        let Ok(peer) = answered.await else {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(TransportError::Lost { address, source });
        };
        if peer.cluster != ours.cluster {
            return Err(other_cluster(address, &peer));
        }
        Ok(Connection { stream: Box::new(stream), peer, address, proof: None })
    }
}

fn other_cluster(address: String, peer: &Identity) -> TransportError {
    TransportError::CertificateRefused {
        address,
        fault: CertificateFault::OtherCluster,
        detail: peer.to_uri(),
    }
}

/// A node's transport on a [`MemoryNetwork`]. Clones are the same node.
#[derive(Clone)]
pub struct MemoryTransport {
    identity: Identity,
    network: MemoryNetwork,
}

impl Transport for MemoryTransport {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn listen(
        &self,
        address: &str,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (network, identity, address) =
            (self.network.clone(), self.identity.clone(), address.to_owned());
        async move { Ok(Box::new(network.listen(&address, identity)?) as Box<dyn Listener>) }
            .boxed()
    }

    fn dial(&self, address: &str) -> BoxFuture<'static, Result<Connection, TransportError>> {
        self.network.clone().dial(address.to_owned(), self.identity.clone()).boxed()
    }
}

struct MemoryListener {
    address: String,
    identity: Identity,
    calls: mpsc::Receiver<Call>,
    network: MemoryNetwork,
}

impl Listener for MemoryListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, Result<Incoming, TransportError>> {
        async move {
            // Never `None`: the network holds a sender for as long as this listener lives.
            let Some(call) = self.calls.recv().await else { return std::future::pending().await };
            let (from, ours) = (call.from.clone(), self.identity.clone());
            Ok(Incoming::new(from, async move { answer(call, ours) }.boxed()))
        }
        .boxed()
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        // Removed before the receiver goes, so that whoever is waiting there is told "nobody listens".
        let door = self.network.wires.lock().listeners.remove(&self.address);
        drop(door);
    }
}

/// The acceptor's half of the handshake. Of two clusters it is the dialler that refuses, as with TLS,
/// where the acceptor shows its certificate first.
fn answer(call: Call, ours: Identity) -> Result<Connection, TransportError> {
    let Call { from: address, identity: peer, stream, answer } = call;
    let cluster = ours.cluster.clone();
    if answer.send(ours).is_err() {
        let source = io::ErrorKind::UnexpectedEof.into();
        return Err(TransportError::Lost { address, source });
    }
    if peer.cluster != cluster {
        let fault = CertificateFault::OtherCluster;
        return Err(TransportError::RefusedByPeer { address, fault });
    }
    Ok(Connection { stream: Box::new(stream), peer, address, proof: None })
}
