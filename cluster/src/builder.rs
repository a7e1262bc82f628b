//! Declares and starts a node.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use umbel_actors::ractor::SpawnErr;
use umbel_actors::{Address, SHUTDOWN_PER_ACTOR, SpawnError, SpawnOptions, System};
use umbel_protocol::{Endpoint, IdentityError, NodeName, PeersConfigError, Profile, ProfileError};

use crate::acceptor;
use crate::certs::{CertsError, Credentials};
use crate::config::NodeConfig;
use crate::coordinator::{Coordinate, Coordinator};
use crate::home::NodeHome;
use crate::node::Node;
use crate::rider::{Rider, RiderError};
use crate::seeds::{self, AnySource, SeedSource};
use crate::transport::{AddressError, TcpTransport, Transport, TransportError};

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
    sources: Vec<Box<dyn AnySource>>,
    roles: Vec<String>,
    version: String,
    rider: Option<Arc<dyn Rider>>,
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
        "a development node listens on loopback only, not on {0}: its authority is not made for a \
         network; listen on 127.0.0.1, or use `Node::builder` with credentials of your own"
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
    /// What is to be dialled can never be.
    #[error("`{setting}` has {endpoint:?}, which nobody can dial: {why}")]
    Endpoint {
        /// What it was given for: `join` or `advertise`.
        setting: &'static str,
        /// The endpoint.
        endpoint: String,
        /// The reason.
        why: AddressError,
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
    /// A role or the version is not allowed.
    #[error("not allowed as a node's role or version: {0}")]
    Profile(#[from] ProfileError),
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
    /// The age of links is out of bounds.
    #[error(
        "`link_age_max` is {0:?}: it must be from {least:?} to {most:?}",
        least = NodeConfig::LINK_AGE_LEAST,
        most = NodeConfig::LINK_AGE_MOST
    )]
    LinkAge(Duration),
    /// What was to ride on the node's links did not start.
    #[error("the rider did not start: {0}")]
    Rider(#[source] RiderError),
    /// The node's own actors did not start.
    #[error(transparent)]
    Spawn(SpawnError),
}

impl From<SpawnError> for StartError {
    fn from(why: SpawnError) -> Self {
        if let SpawnError::Failed(SpawnErr::StartupFailed(cause)) = &why
            && let Some(cause) = cause.downcast_ref::<RiderError>()
        {
            return Self::Rider(cause.clone());
        }
        Self::Spawn(why)
    }
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

    /// Nodes to join through, over TCP each as `host:port`. They may be down: they are dialled for ever, with back-off. Through
    /// one of them the node learns of all others.
    pub fn join<S: Into<String>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// Where nodes to join through are found, beside those of [`Self::join`]: a name in the DNS
    /// ([`Dns`](crate::Dns)), or a source of one's own. May be given more than once.
    pub fn discover(mut self, source: impl SeedSource) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// What this node does, for others to see: at most 8 roles of at most 63 bytes.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// The version of the program, for others to see: at most 63 bytes, in any form.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What rides on the node's links. Default: nothing.
    pub fn rider(mut self, rider: impl Rider) -> Self {
        self.rider = Some(Arc::new(rider));
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
        self.config.check()?;
        if self.dev.is_some()
            && let Some(listen) = &self.listen
        {
            only_loopback(listen)?;
        }
        let tcp = |credentials: &Credentials| {
            Arc::new(TcpTransport::new(credentials).busy_poll(self.config.busy_poll))
        };
        let transport: Arc<dyn Transport> = match (self.transport, self.credentials, &self.dev) {
            (Some(transport), _, _) => transport,
            (None, Some(credentials), _) => tcp(&credentials),
            (None, None, Some(name)) => tcp(&Credentials::development(&NodeName::new(name)?)?),
            (None, None, None) => return Err(StartError::NoCredentials),
        };
        let endpoint = |setting, text: &str| endpoint(&*transport, setting, text);
        let seeds = self.seeds.iter().map(|seed| endpoint("join", seed));
        let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
        let advertised = self.advertise.as_ref().map(|text| endpoint("advertise", text));
        let advertised = advertised.transpose()?;
        let identity = transport.identity().clone();
        let listener = match &self.listen {
            Some(address) => Some(transport.listen(address).await?),
            None => None,
        };
        let advertise = match (advertised, &listener) {
            (Some(advertised), _) => Some(advertised),
            (None, Some(listener)) => {
                let address = listener.address();
                let parsed = address.parse::<SocketAddr>();
                if parsed.is_ok_and(|address| address.ip().is_unspecified()) {
                    return Err(StartError::Advertise(address));
                }
                Some(endpoint("advertise", &address)?)
            }
            (None, None) => None,
        };
        let mut profile = Profile::default().with_endpoint(advertise.clone());
        for role in &self.roles {
            profile = profile.role(role)?;
        }
        profile = profile.version(&self.version)?;
        let system = self.system.unwrap_or_else(|| System::new(identity.node.as_str()));
        let home = NodeHome::new(system.clone(), identity, self.config);
        if let Some(advertise) = advertise {
            home.set_listen(advertise);
        }
        let options = SpawnOptions {
            name: Some("umbel.coordinator".to_owned()),
            mailbox_capacity: Some(COORDINATOR_CAPACITY),
            // Whatever the user's system has for the user's actors.
            throughput: Some(NonZeroUsize::MIN),
        };
        let (shared, own) = (home.clone(), transport.clone());
        let coordinator = Coordinator { home: shared, transport: own, profile, rider: self.rider };
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
        for (number, source) in self.sources.into_iter().enumerate() {
            seeds::follow(number, source, coordinator.clone(), system.clone());
        }
        Ok(Node::new(home, transport, coordinator, acceptor))
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

fn endpoint(
    transport: &dyn Transport,
    setting: &'static str,
    text: &str,
) -> Result<Endpoint, StartError> {
    let endpoint = Endpoint::new(text).map_err(AddressError::from);
    endpoint.and_then(|endpoint| transport.check_address(text).map(|()| endpoint)).map_err(|why| {
        StartError::Endpoint { setting, endpoint: text.chars().take(300).collect(), why }
    })
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
            .field("sources", &self.sources)
            .field("roles", &self.roles)
            .field("version", &self.version)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
