//! What actually lies in an actor's mailbox: the message, and what its delivery must give back.

use std::cell::Cell;
use std::sync::Arc;

use ractor::message::{BoxedDowncastErr, BoxedMessage};

use crate::docket::Asker;

/// What a message in a mailbox holds until the actor takes it.
#[derive(Default)]
pub(crate) enum Permit {
    /// A raw cast: nothing was taken, nothing is given back.
    #[default]
    None,
    /// A place in the mailbox.
    Place,
    /// A place in the mailbox, and an asker who wants to know that the message was taken.
    Asked(Arc<dyn Asker>),
    /// No place, as it came over a link: what it owes that link, if the debt is not a later
    /// message's.
    Beside(Option<Charge>),
}

/// Where a link's credit goes back to.
pub trait Credit: Send + Sync {
    /// So many bytes no longer lie in a mailbox.
    fn release(&self, bytes: u32);
}

/// What a message that came over a link owes that link until it is taken or dropped: the bytes
/// that it keeps in memory. The link's credit is released when this is dropped.
pub struct Charge {
    credit: Arc<dyn Credit>,
    bytes: u32,
}

impl Charge {
    /// A charge of `bytes`.
    #[must_use]
    pub fn new(credit: Arc<dyn Credit>, bytes: u32) -> Self {
        Self { credit, bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.credit.release(self.bytes);
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes)
    }
}

struct Parcel<M> {
    message: M,
    permit: Permit,
}

impl<M: Send + 'static> ractor::Message for Parcel<M> {}

thread_local! {
    /// The permit of the message that is being put into a mailbox on this thread, just now.
    /// ractor's `box_message` has no parameter for it; nothing runs between `set` and `take`.
    static OUTBOUND: Cell<Permit> = const { Cell::new(Permit::None) };
    /// What the message held that ractor just took out of a mailbox on this thread.
    static ARRIVED: Cell<Arrived> = const { Cell::new(Arrived::Raw) };
}

/// What a message held in the mailbox that it was taken out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Nothing.
    #[default]
    Raw,
    /// A place.
    Placed,
    /// It came in beside the places.
    Beside,
}

/// Runs `send` so that the message which it puts into a mailbox carries `permit`.
pub(crate) fn with_permit<R>(permit: Permit, send: impl FnOnce() -> R) -> R {
    OUTBOUND.set(permit);
    let result = send();
    // Not taken where ractor refused the message before it boxed it.
    drop(OUTBOUND.take());
    result
}

/// What the message held that the running handler was just given.
#[inline]
pub(crate) fn arrived() -> Arrived {
    ARRIVED.take()
}

/// `ractor::Message::box_message` of every derived message.
#[doc(hidden)]
pub fn pack<M: Send + 'static>(
    message: M,
    to: &ractor::ActorId,
) -> Result<BoxedMessage, BoxedDowncastErr> {
    ractor::Message::box_message(Parcel { message, permit: OUTBOUND.take() }, to)
}

/// `ractor::Message::from_boxed` of every derived message.
#[doc(hidden)]
pub fn unpack<M: Send + 'static>(boxed: BoxedMessage) -> Result<M, BoxedDowncastErr> {
    let Parcel { message, permit } = <Parcel<M> as ractor::Message>::from_boxed(boxed)?;
    ARRIVED.set(match permit {
        Permit::None => Arrived::Raw,
        Permit::Place => Arrived::Placed,
        Permit::Asked(asker) => {
            asker.taken();
            Arrived::Placed
        }
        Permit::Beside(charge) => {
            drop(charge);
            Arrived::Beside
        }
    });
    Ok(message)
}
