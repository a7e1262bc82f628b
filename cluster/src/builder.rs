//! Declares and starts a node.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use thiserror::Error;
use umbel_actors::{Address, SHUTDOWN_PER_ACTOR, SpawnError, SpawnOptions, System};
use umbel_protocol::{Endpoint, EndpointError, IdentityError, NodeName, PeersConfigError};

use crate::acceptor;
use crate::certs::{CertsError, Credentials};
use crate::config::NodeConfig;
use crate::coordinator::{Coordinate, Coordinator};
use crate::home::NodeHome;
use crate::node::Node;
use crate::transport::{TcpTransport, Transport, TransportError};

/// The messages that wait for the coordinator: control traffic of all peers. A full mailbox makes
/// them wait.
const COORDINATOR_CAPACITY: usize = 4096;

/// What a [`Node`] is made of.
#[must_use = "a builder does nothing until `start`"]
#[derive(Default)]
pub struct NodeBuilder {
    dev: Option<String>,
    credentials: Option<Credentials>,
    transport: Option<Arc<dyn Transport>>,
    system: Option<System>,
    listen: Option<String>,
    advertise: Option<String>,
    seeds: Vec<String>,
    config: NodeConfig,
}

/// Why a node was not started. Nothing is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's name is not allowed.
    #[error("not allowed as a node's name: {0}")]
    Name(#[from] IdentityError),
    /// The certificates cannot be had.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// Neither credentials nor a transport were given.
    #[error("a node needs credentials: make some with `umbel certs`, or use `Node::dev`")]
    NoCredentials,
    /// A development node is for one machine.
    #[error(
        "a development node listens on loopback only, not on {0}: its authority's key is for \
         everyone on this machine to use; for a network use `Node::builder` with credentials"
    )]
    DevNotLoopback(String),
    /// The address to listen on is no address.
    #[error("cannot listen on {address:?}: {source}")]
    Address {
        /// The address.
        address: String,
        /// The reason.
        source: std::io::Error,
    },
    /// An endpoint is not allowed.
    #[error("{endpoint:?} is no endpoint: {why}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// The reason.
        why: EndpointError,
    },
    /// Others cannot dial an address that stands for all.
    #[error("others cannot dial {0}: say with `advertise` where they reach this node")]
    Advertise(String),
    /// The address cannot be listened on.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] PeersConfigError),
    /// The frame limit is out of bounds.
    #[error(
        "`frame_bytes_max` is {0}: it must be from {least} to {most}",
        least = NodeConfig::FRAME_BYTES_LEAST,
        most = NodeConfig::FRAME_BYTES_MOST
    )]
    FrameBytes(usize),
    /// The message limit is out of bounds.
    #[error(
        "`message_bytes_max` is {0}: it must be from {least} to {most}",
        least = NodeConfig::MESSAGE_BYTES_LEAST,
        most = NodeConfig::MESSAGE_BYTES_MOST
    )]
    MessageBytes(usize),
    /// The node's own actors did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

impl NodeBuilder {
    pub(crate) fn dev(name: &str) -> Self {
        Self {
            dev: Some(name.to_owned()),
            listen: Some("127.0.0.1:0".to_owned()),
            ..Self::default()
        }
    }

    /// What the node proves itself with; its name and its cluster stand in the certificate.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Another transport than TCP with mutual TLS. Its identity is the node's.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// A system that was built beforehand. Default: one of the node's name.
    pub fn system(mut self, system: System) -> Self {
        self.system = Some(system);
        self
    }

    /// Where to listen: `host:port`, with port 0 for any free one. A node that does not listen can
    /// dial, but not be dialled.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Where others reach this node, if that is not where it listens: behind a proxy, or when it
    /// listens on all interfaces.
    pub fn advertise(mut self, endpoint: impl Into<String>) -> Self {
        self.advertise = Some(endpoint.into());
        self
    }

    /// Nodes to join through. They may be down: they are dialled for ever, with back-off. Through
    /// one of them the node learns of all others.
    pub fn join<S: Into<String>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// Bounds and paces.
    pub fn config(mut self, config: NodeConfig) -> Self {
        self.config = config;
        self
    }

    /// Starts the node. It listens when this returns; joining goes on in the background.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind.
    pub async fn start(self) -> Result<Node, StartError> {
        self.config.peers.check()?;
        let frame = self.config.frame_bytes_max;
        if !(NodeConfig::FRAME_BYTES_LEAST..=NodeConfig::FRAME_BYTES_MOST).contains(&frame) {
            return Err(StartError::FrameBytes(frame));
        }
        let message = self.config.message_bytes_max;
        if !(NodeConfig::MESSAGE_BYTES_LEAST..=NodeConfig::MESSAGE_BYTES_MOST).contains(&message) {
            return Err(StartError::MessageBytes(message));
        }
        let seeds = self.seeds.iter().map(|seed| endpoint(seed)).collect::<Result<Vec<_>, _>>()?;
        if self.dev.is_some()
            && let Some(listen) = &self.listen
        {
            only_loopback(listen)?;
        }
        let transport: Arc<dyn Transport> = match (self.transport, self.credentials, &self.dev) {
            (Some(transport), _, _) => transport,
            (None, Some(credentials), _) => Arc::new(TcpTransport::new(&credentials)),
            (None, None, Some(name)) => {
                let credentials = Credentials::development(&NodeName::new(name)?)?;
                Arc::new(TcpTransport::new(&credentials))
            }
            (None, None, None) => return Err(StartError::NoCredentials),
        };
        let identity = transport.identity().clone();
        let listener = match &self.listen {
            Some(address) => Some(transport.listen(address).await?),
            None => None,
        };
        let advertise = match (&self.advertise, &listener) {
            (Some(advertise), _) => Some(endpoint(advertise)?),
            (None, Some(listener)) => {
                let address = listener.address();
                let parsed = address.parse::<SocketAddr>();
                if parsed.is_ok_and(|address| address.ip().is_unspecified()) {
                    return Err(StartError::Advertise(address));
                }
                Some(endpoint(&address)?)
            }
            (None, None) => None,
        };
        let system = self.system.unwrap_or_else(|| System::new(identity.node.as_str()));
        let home = NodeHome::new(system.clone(), identity, self.config);
        if let Some(advertise) = advertise {
            home.set_listen(advertise);
        }
        let options = SpawnOptions {
            name: Some("umbel.coordinator".to_owned()),
            mailbox_capacity: Some(COORDINATOR_CAPACITY),
        };
        let coordinator = Coordinator { home: home.clone(), transport };
        let coordinator = system.spawn_with(options, coordinator, ()).await?;
        let acceptor = listener.map(|listener| {
            let accepting = acceptor::run(listener, home.clone(), coordinator.clone());
            let system = system.clone();
            let task = tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = system.stopped() => {}
                    () = accepting => {}
                }
            });
            task.abort_handle()
        });
        stop_with_coordinator(&coordinator, &system);
        // The mailbox is empty and its actor alive.
        let _ = coordinator.try_tell(Coordinate::Join(seeds));
        Ok(Node::new(home, coordinator, acceptor))
    }
}

/// A node whose coordinator has failed knows nothing of its links any more: it stops, so that others
/// notice and a supervisor of processes can start it anew, instead of lingering half alive.
fn stop_with_coordinator(coordinator: &Address<Coordinate>, system: &System) {
    let (end, system) = (coordinator.watch(), system.clone());
    tokio::spawn(async move {
        let exit = end.await;
        if !exit.is_normal() {
            tracing::error!(target: "umbel", %exit, "the node's coordinator failed: stopping");
            system.shutdown(SHUTDOWN_PER_ACTOR).await;
        }
    });
}

fn endpoint(text: &str) -> Result<Endpoint, StartError> {
    Endpoint::new(text)
        .map_err(|why| StartError::Endpoint { endpoint: text.chars().take(300).collect(), why })
}

fn only_loopback(address: &str) -> Result<(), StartError> {
    let found = address
        .to_socket_addrs()
        .map_err(|source| StartError::Address { address: address.to_owned(), source })?;
    for one in found {
        if !one.ip().is_loopback() {
            return Err(StartError::DevNotLoopback(one.to_string()));
        }
    }
    Ok(())
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("dev", &self.dev)
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("seeds", &self.seeds)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
