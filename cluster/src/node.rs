//! One member of a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use umbel_actors::{
    Actor, Address, AskError, Message, ShutdownReport, SpawnError, SpawnOptions, System,
};
use umbel_protocol::{InterestView, NodeId, PeersView, RegistryView};

use crate::builder::NodeBuilder;
use crate::certs::{CertsError, Credentials};
use crate::config::NodeConfig;
use crate::coordinator::Coordinate;
use crate::home::NodeHome;
use crate::lane::{OpenAsks, Unsent};
use crate::transport::Transport;

/// One member of a cluster: a [`System`] whose actors can be reached from the other nodes, and that
/// reaches theirs.
///
/// Cheap to clone. End it with [`Node::leave`]; dropping the last handle leaves it running.
///
/// ```no_run
/// # use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Reply};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Message, Serialize, Deserialize)]
/// # #[message(remote)]
/// # enum Greet { Hello(String, Reply<String>) }
/// # struct Greeter;
/// # impl Actor for Greeter {
/// #     type Msg = Greet; type State = (); type Arguments = ();
/// #     async fn pre_start(&self, _: ActorRef<Greet>, _: ()) -> Result<(), ActorProcessingErr> { Ok(()) }
/// # }
/// # async fn two() -> Result<(), Box<dyn std::error::Error>> {
/// use umbel_cluster::Node;
///
/// let node = Node::dev("a").listen("127.0.0.1:7401").start().await?;         // one process
/// let greeter = node.spawn(Greeter, ()).await?;
/// node.register("greeter", &greeter).await?;
///
/// let node = Node::dev("b").join(["127.0.0.1:7401"]).start().await?;         // another
/// let greeter = node.resolve::<Greet>("greeter").await?;
/// println!("{}", greeter.ask(|reply| Greet::Hello("Ada".into(), reply)).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    home: Arc<NodeHome>,
    transport: Arc<dyn Transport>,
    coordinator: Address<Coordinate>,
    acceptor: Option<AbortHandle>,
}

impl Node {
    /// A node for development: in the cluster `dev`, with a certificate from the development
    /// authority of this user, reachable on loopback only.
    pub fn dev(name: &str) -> NodeBuilder {
        NodeBuilder::dev(name)
    }

    /// A node for production: give it credentials, an address to listen on, and whom to join.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    pub(crate) fn new(
        home: Arc<NodeHome>,
        transport: Arc<dyn Transport>,
        coordinator: Address<Coordinate>,
        acceptor: Option<AbortHandle>,
    ) -> Self {
        Self { inner: Arc::new(Inner { home, transport, coordinator, acceptor }) }
    }

    pub(crate) fn home(&self) -> &Arc<NodeHome> {
        &self.inner.home
    }

    /// Which life of which node this is. It becomes another one where the node was declared down
    /// while it could not be reached: see [`MemberChange::Renewed`](crate::MemberChange::Renewed).
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId::clone(&self.inner.home.me())
    }

    /// How the node is configured, from its start on.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.home.config
    }

    /// The address that others dial, with the real port; `None` where the node does not listen.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        self.inner.home.listen().map(|endpoint| endpoint.to_string())
    }

    /// The system that the node's actors live in.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.inner.home.system
    }

    /// Starts an actor here that nobody restarts: [`System::spawn`].
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    pub async fn spawn<A: Actor<Msg: Message>>(
        &self,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Address<A::Msg>, SpawnError> {
        self.system().spawn(actor, arguments).await
    }

    /// Starts an actor here that nobody restarts, with options: [`System::spawn_with`].
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    pub async fn spawn_with<A: Actor<Msg: Message>>(
        &self,
        options: SpawnOptions,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Address<A::Msg>, SpawnError> {
        self.system().spawn_with(options, actor, arguments).await
    }

    /// The other nodes that are linked with this one, by name.
    #[must_use]
    pub fn linked(&self) -> Vec<NodeId> {
        self.inner.home.linked()
    }

    /// Waits until others are linked than those in `known`, which is as [`Node::linked`] told it;
    /// those that are.
    pub async fn links_changed(&self, known: &[NodeId]) -> Vec<NodeId> {
        let mut changes = self.inner.home.links_changed();
        loop {
            let linked = self.linked();
            if linked != known {
                return linked;
            }
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    /// Waits until at least `count` other nodes are linked; false where `deadline` came first.
    pub async fn wait_for_peers(&self, count: usize, deadline: Duration) -> bool {
        let linked = async {
            let mut changes = self.inner.home.links_changed();
            while self.linked().len() < count {
                // The sender lives in `self`.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(deadline, linked).await.is_ok()
    }

    /// How things stand with every peer and seed.
    ///
    /// # Errors
    /// [`AskError`] where the node is going down.
    pub async fn peers(&self) -> Result<PeersView, AskError> {
        self.inner.coordinator.ask(Coordinate::View).await
    }

    /// All entries of the registry, as this node knows them now.
    #[must_use]
    pub fn registry_view(&self) -> RegistryView {
        self.inner.home.with_registry(umbel_protocol::Registry::view)
    }

    /// All topics that anybody subscribes to, as this node knows them now.
    #[must_use]
    pub fn topics_view(&self) -> InterestView {
        self.inner.home.interest_view()
    }

    /// How many questions wait for their answers over each link.
    #[must_use]
    pub fn open_asks(&self) -> BTreeMap<NodeId, OpenAsks> {
        let home = self.home();
        let of = |id: NodeId| {
            let open = home.peer(&id).open_asks();
            (id, open)
        };
        home.linked().into_iter().map(of).collect()
    }

    /// How much waits to be written to each linked node.
    #[must_use]
    pub fn unsent(&self) -> BTreeMap<NodeId, Unsent> {
        let home = self.home();
        let of = |id: NodeId| {
            let unsent = home.peer(&id).unsent();
            (id, unsent)
        };
        home.linked().into_iter().map(of).collect()
    }

    /// How many diallers and dials were refused since the start, by cause.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.inner.home.refusals.totals()
    }

    /// What the node proves itself with at present; `None` where its transport needs no proof.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        self.inner.transport.credentials()
    }

    /// Uses other credentials from now on: another certificate, other authorities to trust, other
    /// revocation lists. They must be of the same node of the same cluster.
    ///
    /// Whom this node trusts no more loses its link at once, before this returns, and is told why; all
    /// else goes on. Where the certificate is another one, the connections of all links are replaced
    /// within some seconds, so that peers see it; nothing is lost or interrupted by that.
    ///
    /// ```no_run
    /// # async fn renew(node: umbel_cluster::Node) -> Result<(), umbel_cluster::CertsError> {
    /// use umbel_cluster::Credentials;
    ///
    /// node.rotate(Credentials::load("a.pem", "a-key.pem", "ca.pem")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CertsError::OtherIdentity`] where the credentials are another node's, [`CertsError::NotUsed`]
    /// where the node's transport uses none. The node goes on with what it has.
    pub async fn rotate(&self, credentials: Credentials) -> Result<(), CertsError> {
        let before = self.credentials();
        self.inner.transport.rotate(&credentials)?;
        let is_other =
            before.is_none_or(|before| before.certificate_pem() != credentials.certificate_pem());
        // A node that is going down has no links to look after.
        let _ = self.inner.coordinator.ask(|done| Coordinate::Rotated { is_other, done }).await;
        Ok(())
    }

    /// Uses the revocation lists in `file` from now on, in place of those that the node has: as
    /// [`Node::rotate`] does with [`Credentials::with_revocation_lists`]. Whoever is on one of them
    /// loses its link at once, and is refused from then on.
    ///
    /// # Errors
    /// [`CertsError`], naming the file, where it holds no revocation list;
    /// [`CertsError::NotUsed`] where the node's transport uses no certificates. The node goes on with
    /// what it has.
    pub async fn revoke(&self, file: impl AsRef<Path>) -> Result<(), CertsError> {
        let credentials = self.credentials().ok_or(CertsError::NotUsed)?;
        self.rotate(credentials.with_revocation_lists(file)?).await
    }

    /// How many connections of its links this node has replaced by new ones since its start: those that
    /// it had dialled, at their age, or after a [`rotation`](Node::rotate).
    #[must_use]
    pub fn renewals(&self) -> u64 {
        self.inner.home.renewals.load(Ordering::Relaxed)
    }

    /// Leaves the cluster within `deadline`, one thing after the other:
    ///
    /// 1. Accepts nobody any more, and takes back all that it has registered, so that no other node
    ///    finds its actors; nothing can be registered any more.
    /// 2. Lets running asks finish, in both directions: for half of `deadline` at most.
    /// 3. Says goodbye to all. What was sent before, either way, still arrives: answers, messages,
    ///    publications. The links have a second for it; what a peer has not read by then is lost.
    ///    What is asked of this node and not answered yet ends at the asker as
    ///    [`AskError::LinkLost`].
    /// 4. Shuts the system down as [`System::shutdown`] does, with what is left of `deadline`.
    pub async fn leave(&self, deadline: Duration) -> ShutdownReport {
        let begun = Instant::now();
        let left = || deadline.saturating_sub(begun.elapsed());
        if let Some(acceptor) = &self.inner.acceptor {
            acceptor.abort();
        }
        self.home().withdraw();
        let _ = tokio::time::timeout(deadline / 2, self.home().settled()).await;
        let _ = self.inner.coordinator.ask_within(left(), Coordinate::Leave).await;
        self.system().shutdown(left()).await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
