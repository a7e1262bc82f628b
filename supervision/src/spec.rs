use std::{fmt, future::Future, pin::Pin, sync::Arc};

use ractor::{Actor, ActorCell, SpawnErr, concurrency::JoinHandle};
use serde::{Deserialize, Serialize};

use crate::{
    Backoff, Probe, Restart, Senseless, Shutdown, Supervisor, engine::ChildRules, remains::Remains,
};

/// The declaration of a child: its name, how it is started, and what becomes of it when it ends.
///
/// `H` is a handle of the caller's choice that rides along (an address, say) until the
/// declaration is given to a supervisor.
///
/// The declaration, with all that its closure owns, is dropped as soon as the child can never be
/// started again: it was deleted, it was temporary and has ended, or its supervisor has stopped,
/// given up, failed to start or been killed. So a value that is owned by the closure alone tells
/// by its drop that the child is gone for good.
pub struct ChildSpec<H = ()> {
    spec: Spec,
    handle: H,
}

/// What a supervisor keeps of a declaration.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: Arc<str>,
    pub(crate) start: Start,
    /// What a start has to wait for, where that is known.
    pub(crate) remains: Option<Remains>,
    pub(crate) rules: ChildRules,
    pub(crate) shutdown: Shutdown,
    pub(crate) mailbox: Option<Arc<dyn Fn() -> Option<usize> + Send + Sync>>,
    pub(crate) ping: Option<Ping>,
    pub(crate) probe: Option<Probe>,
}

/// How a child is started.
#[derive(Clone)]
pub(crate) enum Start {
    Actor(Arc<dyn Fn(ActorCell) -> Starting + Send + Sync>),
    Supervisor(Arc<dyn Fn() -> Supervisor + Send + Sync>),
}

/// How a child is asked whether it answers.
pub(crate) type Ping = Arc<dyn Fn(ActorCell) -> Answer + Send + Sync>;
pub(crate) type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) type Starting = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// An actor (OTP's `worker`).
    Actor,
    /// A supervisor with children of its own.
    Supervisor,
}

impl ChildSpec<()> {
    /// A child that is started by a closure, which is called for each incarnation.
    ///
    /// The closure gets the supervisor to link to, and returns the started actor. It should
    /// spawn *linked* and without a name in ractor: ractor's table of names is one for the
    /// process. An actor that comes back unlinked is linked by the supervisor.
    ///
    /// The supervisor knows when the actor has ended, and not when its task is through with
    /// dropping what it owned: where the next incarnation needs that to be gone, use
    /// [`spawned`](Self::spawned).
    pub fn new<F, S>(name: impl Into<Arc<str>>, start: F) -> Self
    where
        F: Fn(ActorCell) -> S + Send + Sync + 'static,
        S: Future<Output = Result<ActorCell, SpawnErr>> + Send + 'static,
    {
        let start = Start::Actor(Arc::new(move |supervisor| Box::pin(start(supervisor))));
        Self::from_start(name.into(), start, Shutdown::DEFAULT)
    }

    /// Like [`new`](Self::new), for a closure that returns the actor's task as well, which ractor
    /// gives to whoever spawns.
    ///
    /// The closure is called when the tasks of all incarnations before have ended, so that
    /// what they owned, a locked file say, is free again. That is so over restarts of the
    /// supervisor, too, where its declaration was cloned.
    ///
    /// That wait has no bound, for nobody can end a `Drop` that blocks, and a successor beside it
    /// would find the file locked. It holds up this child's start alone (and the siblings that the
    /// strategy starts after it), and ends when the supervisor is stopped. After 5 s it is told, by
    /// a warning and as [`Happening::Lingering`](crate::Happening::Lingering). So what an actor owns
    /// should be dropped quickly: what takes long belongs in `post_stop`, which [`Shutdown`] bounds.
    pub fn spawned<F, S>(name: impl Into<Arc<str>>, start: F) -> Self
    where
        F: Fn(ActorCell) -> S + Send + Sync + 'static,
        S: Future<Output = Result<(ActorCell, JoinHandle<()>), SpawnErr>> + Send + 'static,
    {
        let remains = Remains::default();
        let mut child = Self::new(name, {
            let remains = remains.clone();
            move |supervisor| {
                let (starting, remains) = (start(supervisor), remains.clone());
                async move {
                    let (actor, task) = starting.await?;
                    remains.add(actor.clone(), task);
                    Ok(actor)
                }
            }
        });
        child.spec.remains = Some(remains);
        child
    }

    /// A child that is a plain ractor actor; the closure makes the actor and its arguments for
    /// each incarnation, when nothing is left of the one before. It is spawned linked, and unnamed in
    /// ractor.
    pub fn actor<A, F>(name: impl Into<Arc<str>>, make: F) -> Self
    where
        A: Actor,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        Self::spawned(name, move |supervisor| {
            let (actor, arguments) = make();
            async move {
                let (actor, task) = Actor::spawn_linked(None, actor, arguments, supervisor).await?;
                Ok((actor.get_cell(), task))
            }
        })
    }

    /// A child that is a supervisor; the closure declares it for each incarnation. Its shutdown
    /// is [`Shutdown::Infinity`] unless set otherwise.
    ///
    /// [`Supervisor`] is cheap to clone, so the closure may clone one declaration; what the
    /// declarations of *its* children own then lives over restarts of the nested supervisor.
    pub fn supervisor<F>(name: impl Into<Arc<str>>, make: F) -> Self
    where
        F: Fn() -> Supervisor + Send + Sync + 'static,
    {
        Self::from_start(name.into(), Start::Supervisor(Arc::new(make)), Shutdown::Infinity)
    }

    fn from_start(name: Arc<str>, start: Start, shutdown: Shutdown) -> Self {
        let rules = ChildRules::default();
        let (remains, mailbox, ping, probe) = (None, None, None, None);
        let spec = Spec { name, start, remains, rules, shutdown, mailbox, ping, probe };
        Self { spec, handle: () }
    }
}

impl<H> ChildSpec<H> {
    /// Lets another handle ride along, instead of the one so far.
    pub fn with_handle<T>(self, handle: T) -> ChildSpec<T> {
        ChildSpec { spec: self.spec, handle }
    }

    /// The handle that rides along.
    pub fn handle(&self) -> &H {
        &self.handle
    }

    /// The child's name, unique among its siblings.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What the child is.
    pub fn kind(&self) -> ChildKind {
        self.spec.start.kind()
    }

    /// When it is started again after it has ended. Default: [`Restart::Permanent`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.spec.rules.restart = restart;
        self
    }

    /// How long to wait before it is started again. Default: [`Backoff::none`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.spec.rules.backoff = backoff;
        self
    }

    /// How it is stopped. Default: 5 s for actors, [`Shutdown::Infinity`] for supervisors.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.spec.shutdown = shutdown;
        self
    }

    /// Makes it significant: its end may end its supervisor, see
    /// [`AutoShutdown`](crate::AutoShutdown). Only a transient or temporary child can be.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.spec.rules.significant = true;
        self
    }

    /// Lets snapshots tell how many messages wait in the child's mailbox. ractor does not know;
    /// a layer with a mailbox of its own does. `None` means not known just now.
    #[must_use]
    pub fn mailbox(mut self, depth: impl Fn() -> Option<usize> + Send + Sync + 'static) -> Self {
        self.spec.mailbox = Some(Arc::new(depth));
        self
    }

    /// How the child is asked whether it still answers: by a future that ends when it has. It
    /// should go through the child's mailbox, and end as well when the child cannot be asked any
    /// more. Asks nothing by itself: that is [`probe`](Self::probe)'s.
    ///
    /// A supervisor needs none, it knows how to answer. If the closure or its future panics, this
    /// incarnation is not asked any more.
    #[must_use]
    pub fn ping<F, A>(mut self, ask: F) -> Self
    where
        F: Fn(ActorCell) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        self.spec.ping = Some(Arc::new(move |actor| Box::pin(ask(actor))));
        self
    }

    /// Has the supervisor ask the child again and again, through its mailbox, whether it still
    /// answers; one that does not in time is killed, and that counts as a failure like any other.
    /// Off by default.
    ///
    /// Only a child that is running is asked: not while it starts, nor once it is on its way out,
    /// be it in its `post_stop`.
    ///
    /// A kill takes effect where the child next waits. One that never does (an endless loop
    /// without an `await`) cannot be ended by anybody: it is shown as
    /// [unresponsive](crate::ChildState::Unresponsive) for as long as it is there, and its
    /// successor is started when it is really gone, for there is one incarnation at a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
    /// use umbel_supervision::{ChildSpec, Probe};
    ///
    /// enum Order {
    ///     Ship(u64),
    ///     Ping(RpcReplyPort<()>),
    /// }
    /// # impl ractor::Message for Order {}
    ///
    /// struct Shop;
    ///
    /// impl Actor for Shop {
    ///     type Msg = Order;
    ///     type State = Vec<u64>;
    ///     type Arguments = ();
    ///
    ///     async fn pre_start(&self, _: ActorRef<Order>, _: ()) -> Result<Vec<u64>, ActorProcessingErr> {
    ///         Ok(Vec::new())
    ///     }
    ///
    ///     async fn handle(
    ///         &self,
    ///         _: ActorRef<Order>,
    ///         order: Order,
    ///         shipped: &mut Vec<u64>,
    ///     ) -> Result<(), ActorProcessingErr> {
    ///         match order {
    ///             Order::Ship(number) => shipped.push(number),
    ///             Order::Ping(reply) => reply.send(())?,
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let shop = ChildSpec::actor("shop", || (Shop, ()))
    ///     .ping(|shop| async {
    ///         // An error says that it is gone, of which the supervisor hears anyway.
    ///         let _ = ActorRef::<Order>::from(shop).call(Order::Ping, None).await;
    ///     })
    ///     .probe(Probe::within(Duration::from_secs(30)));
    /// # let _ = shop;
    /// ```
    #[must_use]
    pub fn probe(mut self, probe: Probe) -> Self {
        self.spec.probe = Some(probe);
        self
    }

    pub(crate) fn into_spec(self) -> Spec {
        self.spec
    }
}

impl Spec {
    /// What is wrong with the declaration in itself, wherever it is to be used.
    pub(crate) fn senseless(&self) -> Option<Senseless> {
        let probe = self.probe?;
        if !probe.has_time() {
            return Some(Senseless::ProbeWithoutTime);
        }
        let silent = self.ping.is_none() && self.start.kind() == ChildKind::Actor;
        silent.then_some(Senseless::ProbeWithoutPing)
    }
}

impl Start {
    pub(crate) fn kind(&self) -> ChildKind {
        match self {
            Self::Actor(_) => ChildKind::Actor,
            Self::Supervisor(_) => ChildKind::Supervisor,
        }
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("kind", &self.start.kind())
            .field("rules", &self.rules)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

impl<H> fmt::Debug for ChildSpec<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}
