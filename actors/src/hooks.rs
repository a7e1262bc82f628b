//! What an actor's hooks know of their surroundings.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};

use ractor::ActorRef;

use crate::address::Address;
use crate::message::Message;
use crate::slot::{Incarnation, Slot};
use crate::system::System;

/// The surroundings of one incarnation.
pub(crate) struct Surroundings {
    pub(crate) system: System,
    /// The actor's number in its system.
    pub(crate) id: u64,
    /// Its `Arc<Slot<M>>`.
    pub(crate) slot: Arc<dyn Any + Send + Sync>,
    /// ractor's id and the `Arc<Incarnation<M>>`, known from `pre_start` on.
    pub(crate) started: OnceLock<(ractor::ActorId, Arc<dyn Any + Send + Sync>)>,
}

scoped_tls::scoped_thread_local!(static CURRENT: Surroundings);

/// Calls or polls a hook with its surroundings in place. A panic in it goes on, after `on_panic` was
/// told its text.
///
/// A function, not a future that wraps one: ractor moves the future of each message
/// several times before it polls it, and every `async fn` around a hook would hold it twice, as its
/// argument and as its pinned local. That was a fifth of the time of an ask.
#[inline]
pub(crate) fn within<R>(
    surroundings: &Surroundings,
    part: impl FnOnce() -> R,
    on_panic: impl FnOnce(String),
) -> R {
    match CURRENT.set(surroundings, || catch_unwind(AssertUnwindSafe(part))) {
        Ok(result) => result,
        Err(panic) => {
            on_panic(panic_text(&*panic));
            resume_unwind(panic)
        }
    }
}

#[cold]
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is not text");
    format!("panicked: {text}")
}

/// The incarnation of actor `id` if its own hook runs on this thread just now.
pub(crate) fn starting<M: Message>(id: u64) -> Option<Arc<Incarnation<M>>> {
    if !CURRENT.is_set() {
        return None;
    }
    CURRENT.with(|current| {
        let (_, incarnation) = current.started.get().filter(|_| current.id == id)?;
        incarnation.clone().downcast().ok()
    })
}

/// An actor's own address and system, from the `ActorRef` that ractor hands to its hooks.
///
/// ```
/// use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Message, Myself};
///
/// #[derive(Message)]
/// struct Tick;
/// struct Clockwork;
///
/// impl Actor for Clockwork {
///     type Msg = Tick;
///     type State = Address<Tick>;
///     type Arguments = ();
///     async fn pre_start(
///         &self,
///         myself: ActorRef<Tick>,
///         _: (),
///     ) -> Result<Address<Tick>, ActorProcessingErr> {
///         println!("started in system {}", myself.system().name());
///         Ok(myself.address())
///     }
/// }
/// ```
pub trait Myself<M: Message> {
    /// The actor's own address.
    ///
    /// # Panics
    /// Outside the actor's own hooks: a task that a hook spawned must be given the address.
    fn address(&self) -> Address<M>;

    /// The system that the actor lives in.
    ///
    /// # Panics
    /// Outside the actor's own hooks: a task that a hook spawned must be given the system.
    fn system(&self) -> System;

    /// The actor's own address, or `None` outside its own hooks.
    fn try_address(&self) -> Option<Address<M>>;

    /// The system that the actor lives in, or `None` outside its own hooks.
    fn try_system(&self) -> Option<System>;
}

const OUTSIDE: &str = "an actor's own address and system are known in its own hooks only: \
     get them there and hand them to the task that needs them";

impl<M: Message> Myself<M> for ActorRef<M> {
    fn address(&self) -> Address<M> {
        self.try_address().expect(OUTSIDE)
    }

    fn system(&self) -> System {
        self.try_system().expect(OUTSIDE)
    }

    fn try_address(&self) -> Option<Address<M>> {
        within_own(self, |own| own.slot.clone().downcast::<Slot<M>>().ok())
            .flatten()
            .map(Address::local)
    }

    fn try_system(&self) -> Option<System> {
        within_own(self, |own| own.system.clone())
    }
}

fn within_own<M: Message, R>(
    myself: &ActorRef<M>,
    work: impl FnOnce(&Surroundings) -> R,
) -> Option<R> {
    if !CURRENT.is_set() {
        return None;
    }
    CURRENT.with(|current| {
        let (id, _) = current.started.get()?;
        (*id == myself.get_id()).then(|| work(current))
    })
}
