//! The one handle to an actor.

mod ask;
mod error;

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::ask::Ask;
pub use self::error::{AskError, TellError};
use crate::message::{Message, RemoteMessage};
use crate::outgoing::{Outgoing, Refused, Teller};
use crate::reply::Reply;
use crate::slot::{Offer, Slot};
use crate::watch::Watch;
use crate::wire::{self, ActorPath, Deliver, Imported, Route, RouteError};

/// The deadline of [`Address::ask`]: OTP's default for `gen_server:call`.
pub const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// The one handle to an actor: cheap to clone, valid over the actor's restarts, the same for an
/// actor of this machine and of another, and itself a thing that can travel in a message.
///
/// Between a sender and a receiver, messages arrive in the order in which they were sent, each at
/// most once, over one life of the actor and of the link.
pub struct Address<M: Message> {
    place: Place<M>,
}

enum Place<M: Message> {
    Here(Arc<Slot<M>>),
    There(Arc<There>),
}

struct There {
    path: ActorPath,
    route: Arc<dyn Route>,
}

impl<M: Message> Address<M> {
    pub(crate) fn local(slot: Arc<Slot<M>>) -> Self {
        Self { place: Place::Here(slot) }
    }

    /// Sends a message, and waits while there is no room for it: while the mailbox is full, the
    /// receiving node gives no credit, or the actor is between two lives. Cancelling the wait
    /// drops the message unsent.
    ///
    /// # Errors
    /// [`TellError`], with the message.
    pub async fn tell(&self, message: M) -> Result<(), TellError<M>> {
        // As tokio's channels do: who tells on and on would never give the receiver its turn where
        // both run on one thread.
        if !self.takes_no_budget() {
            tokio::task::coop::consume_budget().await;
        }
        match &self.place {
            Place::Here(slot) => {
                let mut message = Outgoing::new(message);
                match slot.offer(&mut message, &Teller) {
                    Offer::Accepted => Ok(()),
                    Offer::Gone => Err(TellError::Closed(message.back())),
                    Offer::Full | Offer::Absent => match slot.push(&mut message, &Teller).await {
                        Ok(()) => Ok(()),
                        Err(Refused) => Err(TellError::Closed(message.back())),
                    },
                }
            }
            Place::There(there) => there.tell(message).await,
        }
    }

    /// Whether a tell takes nothing of its task's budget: of those over links, two in three.
    ///
    /// When the budget of 128 is used up, the link's task writes what was told: of a task that does nothing but
    /// tell, 384 messages. With 128, system calls and wake-ups for nothing take a sixth of its rate.
    #[inline]
    fn takes_no_budget(&self) -> bool {
        const TELLS_PER_UNIT: u8 = 3;
        thread_local! {
            // A task that does not yield has its thread to itself, so each counts its own.
            static TOLD: Cell<u8> = const { Cell::new(0) };
        }
        matches!(self.place, Place::There(_)) && {
            let told = (TOLD.get() + 1) % TELLS_PER_UNIT;
            TOLD.set(told);
            told != 0
        }
    }

    /// Sends a message if there is room for it, without waiting.
    ///
    /// # Errors
    /// [`TellError`], with the message.
    pub fn try_tell(&self, message: M) -> Result<(), TellError<M>> {
        match &self.place {
            Place::Here(slot) => {
                let mut message = Outgoing::new(message);
                match slot.offer(&mut message, &Teller) {
                    Offer::Accepted => Ok(()),
                    Offer::Gone => Err(TellError::Closed(message.back())),
                    Offer::Full => Err(TellError::Full(message.back())),
                    Offer::Absent => Err(TellError::Restarting(message.back())),
                }
            }
            Place::There(there) => there.try_tell(message),
        }
    }

    /// Asks a question and waits for its answer, for at most [`ASK_DEADLINE`].
    ///
    /// # Errors
    /// [`AskError`]: every failure is told, none waits for the deadline.
    ///
    /// ```
    /// # use umbel_actors::{Address, AskError, Message, Reply};
    /// # #[derive(Message)]
    /// # enum Counter { Total(Reply<u64>) }
    /// # async fn total(counter: Address<Counter>) -> Result<u64, AskError> {
    /// let total = counter.ask(Counter::Total).await?;
    /// # Ok(total)
    /// # }
    /// ```
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Reply<T>) -> M,
    ) -> impl Future<Output = Result<T, AskError>> {
        Ask::new(self, ASK_DEADLINE, question)
    }

    /// Asks a question and waits for its answer, for at most `deadline`, the wait for room
    /// included.
    ///
    /// A question that nobody waits for any more, because its deadline has passed or the wait was
    /// cancelled, is not begun: the actor drops it when it takes it from its mailbox, on another node
    /// too, and counts it in `umbel_questions_skipped_total`. (OTP's `gen_server` would handle it;
    /// gRPC's servers would not.) One that is under way sees it by [`Reply::is_cancelled`] and
    /// [`Reply::deadline`].
    ///
    /// A message that asks for several is dropped when all of them are gone; that goes for all
    /// replies in a message from another node, those that were handed on included. On one machine only
    /// the reply that this ask made is known: others that were put into the same message are dropped
    /// with it, and their askers told that they came too late. A message that is told is never
    /// dropped so on one machine, whatever replies it holds.
    ///
    /// # Errors
    /// [`AskError`]: every failure is told, none waits for the deadline.
    pub fn ask_within<T: Send + 'static>(
        &self,
        deadline: Duration,
        question: impl FnOnce(Reply<T>) -> M,
    ) -> impl Future<Output = Result<T, AskError>> {
        Ask::new(self, deadline, question)
    }

    /// Watches the actor's present life: ends when that life has ended, and says why.
    pub fn watch(&self) -> Watch {
        match &self.place {
            Place::Here(slot) => slot.watch(),
            Place::There(there) => there.route.watch(&there.path),
        }
    }

    /// Stops the actor's present life after the message that it has in hands; a supervisor starts a
    /// permanent child again. False where there is no life of it on this machine: the actor has
    /// ended, or lives on another node, where only a message can ask it to stop.
    pub fn stop(&self) -> bool {
        let Place::Here(slot) = &self.place else { return false };
        let Some(incarnation) = slot.incarnation() else { return false };
        incarnation.stop();
        true
    }

    /// Whether the actor is known to have ended for good. Always false for a remote address.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(&self.place, Place::Here(slot) if slot.is_gone())
    }

    /// The messages that wait in the mailbox; `None` for a remote address.
    #[must_use]
    pub fn depth(&self) -> Option<u64> {
        match &self.place {
            Place::Here(slot) => Some(slot.depth()),
            Place::There(_) => None,
        }
    }

    /// The node that the actor is on; `None` for an actor of this system.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match &self.place {
            Place::Here(_) => None,
            Place::There(there) => Some(&there.path.node),
        }
    }

    /// Ends when the actor is gone for good; never for a remote address.
    pub(crate) async fn until_gone(&self) {
        match &self.place {
            Place::Here(slot) => slot.until_gone().await,
            Place::There(_) => std::future::pending().await,
        }
    }
}

impl<M: RemoteMessage> Address<M> {
    /// The address of an actor of another node. For cluster crates; users get addresses from a
    /// registry or in messages.
    #[must_use]
    pub fn remote(path: ActorPath, route: Arc<dyn Route>) -> Self {
        Self { place: Place::There(Arc::new(There { path, route })) }
    }

    /// What a cluster needs to make a local actor reachable; `None` for a remote address.
    #[must_use]
    pub fn deliver(&self) -> Option<Arc<dyn Deliver>> {
        match &self.place {
            Place::Here(slot) => Some(slot.clone()),
            Place::There(_) => None,
        }
    }

    /// The address that an import means.
    #[must_use]
    pub fn imported(path: ActorPath, imported: Imported) -> Option<Self> {
        match imported {
            Imported::Here(actor) => {
                let slot = actor.as_any().downcast::<Slot<M>>().ok()?;
                Some(Self::local(slot))
            }
            Imported::Gone => Some(Self::local(Slot::vacant_for_good())),
            Imported::There(route) => Some(Self::remote(path, route)),
        }
    }
}

impl There {
    fn try_tell<M: Message>(&self, message: M) -> Result<(), TellError<M>> {
        self.try_send(&message).map_err(|why| untold(message, why))
    }

    fn try_send<M: Message>(&self, message: &M) -> Result<(), RouteError> {
        let codec = M::CODEC.expect("a remote address is made for remote messages only");
        let mut encode: wire::Encode<'_> = &mut |buffer, max| (codec.encode)(message, buffer, max);
        self.route.try_send(&self.path, M::FINGERPRINT, &mut encode)
    }

    async fn tell<M: Message>(&self, message: M) -> Result<(), TellError<M>> {
        loop {
            let told = match self.try_send(&message) {
                Err(RouteError::Full) => {
                    self.route.room(&self.path).await;
                    continue;
                }
                Err(RouteError::Waits(waits)) => waits.await,
                told => told,
            };
            return told.map_err(|why| untold(message, why));
        }
    }
}

fn untold<M>(message: M, why: RouteError) -> TellError<M> {
    match why {
        RouteError::Full | RouteError::Waits(_) => TellError::Full(message),
        RouteError::Unreachable(node) => TellError::Unreachable { message, node },
        RouteError::Encode(why) => TellError::Unencodable { message, why },
        RouteError::TooManyAsks { max } => TellError::TooManyAsks { message, max },
    }
}

impl<M: Message> Clone for Address<M> {
    fn clone(&self) -> Self {
        let place = match &self.place {
            Place::Here(slot) => Place::Here(slot.clone()),
            Place::There(there) => Place::There(there.clone()),
        };
        Self { place }
    }
}

impl<M: Message> PartialEq for Address<M> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Here(a), Place::Here(b)) => Arc::ptr_eq(a, b),
            (Place::There(a), Place::There(b)) => a.path == b.path,
            _ => false,
        }
    }
}

impl<M: Message> Eq for Address<M> {}

impl<M: Message> Hash for Address<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.place {
            Place::Here(slot) => slot.id.hash(state),
            Place::There(there) => there.path.hash(state),
        }
    }
}

impl<M: Message> fmt::Display for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Here(slot) => write!(f, "{}/{}", slot.label, slot.id),
            Place::There(there) => there.path.fmt(f),
        }
    }
}

impl<M: Message> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address<{}>({self})", M::NAME)
    }
}

impl<M: RemoteMessage> Serialize for Address<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let path = match &self.place {
            Place::There(there) => there.path.clone(),
            Place::Here(slot) => wire::with(|wire| wire.export(slot.clone())).ok_or_else(|| {
                S::Error::custom("an address can travel only in a message to an actor")
            })?,
        };
        <ActorPath as Serialize>::serialize(&path, serializer)
    }
}

impl<'de, M: RemoteMessage> Deserialize<'de> for Address<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = <ActorPath as Deserialize>::deserialize(deserializer)?;
        let imported = wire::with(|wire| wire.import(&path))
            .ok_or_else(|| D::Error::custom("an address can travel only in a message to an actor"))?
            .map_err(D::Error::custom)?;
        Self::imported(path, imported)
            .ok_or_else(|| D::Error::custom("the address is of an actor with other messages"))
    }
}
