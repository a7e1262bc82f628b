//! The owner of everything that would otherwise be process-wide.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, ActorStatus,
    SupervisionEvent,
};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng, TryRngCore};
use tokio::sync::watch;
use umbel_supervision::{ChildSpec, StartError, Supervisor, SupervisorRef};

use crate::address::Address;
use crate::buggify::{Buggify, Points};
use crate::clock::{Clock, WallClock};
use crate::dead_letter::{DeadLetter, DeadLetterReason, Unread};
use crate::managed::{Mailbox, Managed};
use crate::message::Message;
use crate::slot::{Slot, SlotOwner};
use crate::topic::{Subscription, Topic, TopicTypeError};
use crate::trace::Traces;
use crate::wire::Deliver;

mod options;
mod shutdown;

pub use self::options::{ChildOptions, SpawnError, SpawnOptions};
pub use self::shutdown::{SHUTDOWN_PER_ACTOR, ShutdownReport};

/// The messages that a mailbox holds unless it is told otherwise.
pub const MAILBOX_CAPACITY: usize = 1024;

/// A set of actors that live and die together: it owns their names, topics, clock, chance and end.
///
/// Cheap to clone. A process may hold any number; they share nothing. Dropping the last handle
/// leaves the actors running, as they hold one too: end them with [`System::shutdown`].
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

#[derive(Clone, Default)]
pub(crate) struct WeakSystem(Weak<Inner>);

/// An actor's number, and its `Arc<Slot<M>>`.
type Named = (u64, Arc<dyn Any + Send + Sync>);

struct Inner {
    name: Arc<str>,
    mailbox_capacity: usize,
    throughput: Option<NonZeroUsize>,
    clock: Arc<dyn Clock>,
    chance: Mutex<StdRng>,
    traces: Option<Arc<dyn Traces>>,
    points: Points,
    next_id: AtomicU64,
    root: ActorCell,
    /// Those directly under the root: they may take longer to stop than an actor.
    supervisors: Mutex<Vec<SupervisorRef>>,
    /// Who an actor is, by its number: its present incarnation, and its label.
    living: Mutex<BTreeMap<u64, (ActorId, Arc<str>)>>,
    names: Mutex<BTreeMap<Arc<str>, Named>>,
    exports: RwLock<HashMap<u64, Arc<dyn Deliver>>>,
    topics: Mutex<BTreeMap<Arc<str>, Box<dyn Any + Send>>>,
    dead_letters: Topic<DeadLetter>,
    stopping: AtomicBool,
    stopped: watch::Sender<bool>,
}

/// What a [`System`] is made of, where the defaults do not do.
#[must_use = "a builder does nothing until `start`"]
pub struct SystemBuilder {
    name: Arc<str>,
    mailbox_capacity: usize,
    throughput: Option<NonZeroUsize>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    traces: Option<Arc<dyn Traces>>,
    points: Points,
}

impl fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("name", &self.name)
            .field("mailbox_capacity", &self.mailbox_capacity)
            .field("throughput", &self.throughput)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl SystemBuilder {
    /// The messages that an actor's mailbox holds, at least one. Default: [`MAILBOX_CAPACITY`].
    pub fn mailbox_capacity(mut self, messages: usize) -> Self {
        self.mailbox_capacity = messages.max(1);
        self
    }

    /// How many messages an actor handles in a row: [`SpawnOptions::throughput`] of those that say nothing of
    /// it. Default: one.
    pub fn throughput(mut self, messages: NonZeroUsize) -> Self {
        self.throughput = Some(messages);
        self
    }

    /// The wall clock. Default: the operating system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The seed of all the system's chance. Default: from the operating system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What connects messages with traces. Default: nothing.
    pub fn traces(mut self, traces: impl Traces) -> Self {
        self.traces = Some(Arc::new(traces));
        self
    }

    /// What makes rare things happen. Default: nothing.
    pub fn buggify(mut self, points: impl Buggify) -> Self {
        self.points = Points::new(points);
        self
    }

    /// Starts the system.
    ///
    /// # Panics
    /// Outside a tokio runtime, and where the operating system has no randomness to give.
    pub fn start(self) -> System {
        let chance = match self.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => {
                let mut seed = [0; 32];
                rand::rngs::OsRng
                    .try_fill_bytes(&mut seed)
                    .expect("the operating system gives randomness; or set a seed");
                StdRng::from_seed(seed)
            }
        };
        let (root, _) = ActorRuntime::spawn_instant(None, Root, ())
            .expect("an unnamed actor that was never started can be");
        System {
            inner: Arc::new(Inner {
                name: self.name,
                mailbox_capacity: self.mailbox_capacity,
                throughput: self.throughput,
                clock: self.clock,
                chance: Mutex::new(chance),
                traces: self.traces,
                points: self.points,
                next_id: AtomicU64::new(1),
                root: root.get_cell(),
                supervisors: Mutex::default(),
                living: Mutex::default(),
                names: Mutex::default(),
                exports: RwLock::default(),
                topics: Mutex::default(),
                dead_letters: Topic::new("umbel.dead-letters"),
                stopping: AtomicBool::new(false),
                stopped: watch::Sender::new(false),
            }),
        }
    }
}

impl System {
    /// Starts a system with defaults.
    ///
    /// # Panics
    /// Outside a tokio runtime, and where the operating system has no randomness to give.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).start()
    }

    /// Begins a system that is to differ from the defaults.
    pub fn builder(name: impl Into<Arc<str>>) -> SystemBuilder {
        SystemBuilder {
            name: name.into(),
            mailbox_capacity: MAILBOX_CAPACITY,
            throughput: None,
            clock: Arc::new(WallClock),
            seed: None,
            traces: None,
            points: Points::default(),
        }
    }

    /// The system's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The system's wall clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// What connects messages with traces, if anything does.
    #[must_use]
    pub fn traces(&self) -> Option<&Arc<dyn Traces>> {
        self.inner.traces.as_ref()
    }

    /// The next number of the system's seeded generator.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.inner.chance.lock().next_u64()
    }

    /// Whether something rare happens now at a point of this name: never, unless the system was built
    /// with a [`Buggify`]. Name points `crate.place.what`.
    #[must_use]
    pub fn buggify(&self, point: &'static str) -> bool {
        self.inner.points.strikes(point)
    }

    /// Starts an actor that nobody restarts. It is stopped when the system shuts down.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    pub async fn spawn<A: Actor<Msg: Message>>(
        &self,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Address<A::Msg>, SpawnError> {
        self.spawn_with(SpawnOptions::default(), actor, arguments).await
    }

    /// Starts an actor that nobody restarts, with options.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    pub async fn spawn_with<A: Actor<Msg: Message>>(
        &self,
        options: SpawnOptions,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<Address<A::Msg>, SpawnError> {
        if self.inner.stopping.load(Ordering::Acquire) {
            return Err(SpawnError::ShuttingDown(self.inner.name.clone()));
        }
        let owner = match &options.name {
            Some(name) => self.named_slot(name, false)?,
            None => self.slot(std::any::type_name::<A>(), false),
        };
        let address = Address::local(owner.slot.clone());
        let mailbox = self.mailbox(options.mailbox_capacity, options.throughput);
        let managed = Managed::new(actor, mailbox, owner, self.clone());
        ActorRuntime::spawn_linked(None, managed, arguments, self.inner.root.clone())
            .await
            .map_err(SpawnError::Failed)?;
        Ok(address)
    }

    /// With the system's own where nothing is said.
    fn mailbox(&self, capacity: Option<usize>, throughput: Option<NonZeroUsize>) -> Mailbox {
        Mailbox {
            capacity: capacity.unwrap_or(self.inner.mailbox_capacity),
            throughput: throughput.or(self.inner.throughput),
        }
    }

    /// Declares an actor for a [`Supervisor`], under a name that is unique in the system.
    ///
    /// `make` is called for every start, when nothing is left of the incarnation before. The
    /// specification carries the actor's address ([`ChildSpec::handle`]), which holds over all
    /// restarts. Where another actor has the name, the child will not start, and the supervisor says
    /// so.
    ///
    /// A [`Probe`](crate::Probe) of it is answered between any two messages: `within` has to be more
    /// than one message may take, however many wait.
    pub fn child<A: Actor<Msg: Message>>(
        &self,
        name: impl Into<String>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> ChildSpec<Address<A::Msg>> {
        self.child_with(name, ChildOptions::default(), make)
    }

    /// As [`System::child`], with options.
    pub fn child_with<A: Actor<Msg: Message>>(
        &self,
        name: impl Into<String>,
        options: ChildOptions,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> ChildSpec<Address<A::Msg>> {
        let name = name.into();
        let owner = self.named_slot::<A::Msg>(&name, options.keep_unread).ok();
        let slot = owner.as_ref().map_or_else(Slot::vacant_for_good, |owner| owner.slot.clone());
        let mailbox = self.mailbox(options.mailbox_capacity, options.throughput);
        let (system, taken) = (self.clone(), name.clone());
        let start = move |supervisor: ActorCell| {
            let managed = owner.as_ref().map(|owner| {
                let (actor, arguments) = make();
                (Managed::new(actor, mailbox, owner.clone(), system.clone()), arguments)
            });
            let taken = taken.clone();
            async move {
                let Some((managed, arguments)) = managed else {
                    return Err(ractor::SpawnErr::ActorAlreadyRegistered(taken));
                };
                let (actor, task) =
                    ActorRuntime::spawn_linked(None, managed, arguments, supervisor).await?;
                Ok((actor.get_cell(), task))
            }
        };
        let (read, asked) = (slot.clone(), slot.clone());
        ChildSpec::spawned(name, start)
            .mailbox(move || usize::try_from(read.depth()).ok())
            .ping(move |actor| asked.clone().beat(actor.get_id()))
            .with_handle(Address::local(slot))
    }

    /// Starts a supervision tree under the system's root. To see what happens in it from its first
    /// start on, take its [`Supervisor::events`] before.
    ///
    /// # Errors
    /// [`StartError`]: which child failed to start, and why. Those before it were stopped again.
    pub async fn supervise(&self, supervisor: Supervisor) -> Result<SupervisorRef, StartError> {
        let started =
            supervisor.seed_unless_set(self.random()).start_linked(self.inner.root.clone()).await?;
        let mut supervisors = self.inner.supervisors.lock();
        supervisors.retain(|one| one.cell().get_status() < ActorStatus::Stopped);
        supervisors.push(started.clone());
        drop(supervisors);
        Ok(started)
    }

    /// The actor of this name, if there is one and it takes such messages.
    #[must_use]
    pub fn whereis<M: Message>(&self, name: &str) -> Option<Address<M>> {
        let (_, slot) = self.inner.names.lock().get(name)?.clone();
        slot.downcast::<Slot<M>>().ok().map(Address::local)
    }

    /// The topic of this name, made on first use.
    ///
    /// # Errors
    /// [`TopicTypeError`] where the topic carries another type of message.
    pub fn topic<T: Clone + Send + 'static>(&self, name: &str) -> Result<Topic<T>, TopicTypeError> {
        let mut topics = self.inner.topics.lock();
        let topic = topics
            .entry(name.into())
            .or_insert_with(|| Box::new(Topic::<T>::new(name)))
            .downcast_ref::<Topic<T>>();
        let wanted = std::any::type_name::<T>();
        topic.cloned().ok_or_else(|| TopicTypeError { topic: name.to_owned(), wanted })
    }

    /// The messages that were accepted and that no actor handled, from now on.
    #[must_use]
    pub fn dead_letters(&self) -> Subscription<DeadLetter> {
        self.inner.dead_letters.subscribe()
    }

    /// Notes a message that no actor handled.
    pub fn dead_letter(&self, letter: DeadLetter) {
        metrics::counter!("umbel_dead_letters_total").increment(letter.count);
        tracing::debug!(target: "umbel", %letter, "dead letter");
        self.inner.dead_letters.publish(letter);
    }

    /// How many actors and supervisors live directly under the system's root.
    #[must_use]
    pub fn top_level_actors(&self) -> usize {
        self.inner.root.get_children().len()
    }

    /// Makes an actor known to the links of a cluster, and forgets it when it is gone.
    #[doc(hidden)]
    pub fn export(&self, actor: Arc<dyn Deliver>) {
        let id = actor.id();
        {
            let mut exports = self.inner.exports.write();
            if exports.contains_key(&id) {
                return;
            }
            exports.insert(id, actor.clone());
        }
        let system = WeakSystem(Arc::downgrade(&self.inner));
        actor.on_gone(Box::new(move || {
            if let Some(system) = system.upgrade() {
                system.inner.exports.write().remove(&id);
            }
        }));
    }

    /// An actor that was exported and is not gone.
    #[doc(hidden)]
    #[must_use]
    pub fn exported(&self, id: u64) -> Option<Arc<dyn Deliver>> {
        self.inner.exports.read().get(&id).cloned()
    }

    pub(crate) fn bury(&self, unread: Unread<'_>) {
        let Unread { to, message, count, why } = unread;
        self.dead_letter(DeadLetter::new(
            to.clone(),
            message,
            count,
            DeadLetterReason::Unread(why.clone()),
        ));
    }

    /// Called when a slot is vacant for good.
    pub(crate) fn forget(&self, id: u64, label: &str) {
        self.inner.living.lock().remove(&id);
        let mut names = self.inner.names.lock();
        if names.get(label).is_some_and(|(holder, _)| *holder == id) {
            let forgotten = names.remove(label);
            drop(names);
            drop(forgotten);
        }
    }

    fn slot<M: Message>(&self, label: impl Into<Arc<str>>, keep_unread: bool) -> Arc<SlotOwner<M>> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let weak = WeakSystem(Arc::downgrade(&self.inner));
        Arc::new(SlotOwner { slot: Slot::new(id, label.into(), weak, keep_unread) })
    }

    fn named_slot<M: Message>(
        &self,
        name: &str,
        keep_unread: bool,
    ) -> Result<Arc<SlotOwner<M>>, SpawnError> {
        let owner = self.slot::<M>(name, keep_unread);
        let mut names = self.inner.names.lock();
        if names.contains_key(name) {
            drop(names);
            return Err(SpawnError::NameTaken(name.to_owned()));
        }
        names.insert(owner.slot.label.clone(), (owner.slot.id, owner.slot.clone()));
        drop(names);
        Ok(owner)
    }
}

impl WeakSystem {
    pub(crate) fn upgrade(&self) -> Option<System> {
        self.0.upgrade().map(|inner| System { inner })
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("System").field(&self.inner.name).finish()
    }
}

/// The parent of all that is started without a supervisor. A child's end is not its own.
struct Root;

enum Never {}

impl ractor::Message for Never {}

impl Actor for Root {
    type Msg = Never;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Never>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Never>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, why) = event {
            tracing::warn!(target: "umbel", actor = %actor.get_id(), %why, "an actor failed");
        }
        Ok(())
    }
}
