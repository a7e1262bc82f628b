//! What actually lies in an actor's mailbox: the message, and what its delivery must give back.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use ractor::message::{BoxedDowncastErr, BoxedMessage};

use crate::docket::Asker;
use crate::kept::{Contents, Letter};
use crate::reply::Question;
use crate::trace::{TraceContext, Traces};

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

enum Parcel<M> {
    Plain(Contents<M>),
    Kept(Arc<Letter<M>>),
}

impl<M: Send + 'static> ractor::Message for Parcel<M> {}

/// How a message came into the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Entry {
    /// By a raw cast: nothing was taken, nothing is given back.
    #[default]
    Raw,
    /// It has a place.
    Placed,
    /// It has a place, and is in the docket.
    Asked,
    /// It came over a link, beside the places.
    Beside,
}

/// What few messages have, and so lies apart.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) askers: Option<Askers>,
    /// The trace that it goes on with.
    pub(crate) trace: Option<TraceContext>,
}

/// Those whom a message asks for, where the docket does not look after them.
pub(crate) enum Askers {
    /// One of this node, who asked an incarnation before.
    Here(Arc<dyn Asker>),
    /// All of another node.
    There(Vec<Arc<dyn Question>>),
}

impl Askers {
    /// Whether somebody asked, and nobody waits any more.
    fn are_gone(&self) -> bool {
        match self {
            Self::Here(asker) => asker.is_settled(),
            Self::There(asked) => !asked.is_empty() && asked.iter().all(|asked| asked.is_over()),
        }
    }
}

/// How a message came into the mailbox, and what else goes with it.
pub(crate) struct Passage {
    pub(crate) entry: Entry,
    pub(crate) charge: Option<Charge>,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What is known of a message that was just taken out of a mailbox.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) entry: Entry,
    /// Whether nobody waits any more for what it asks.
    pub(crate) is_over: bool,
    /// Whether it came with a trace.
    is_traced: bool,
}

impl Arrival {
    /// The trace that it came with; to be asked once.
    #[inline]
    pub(crate) fn trace(self) -> Option<TraceContext> {
        if self.is_traced { TRACE.take() } else { None }
    }
}

/// What is known of a message that is being put into a mailbox.
#[derive(Clone, Copy, Default)]
struct Departure {
    entry: Entry,
    /// Whether it has anything with it, in [`OWED`] and [`ADDED`].
    has_more: bool,
    /// Whether it is to outlive the actor.
    is_kept: bool,
}

thread_local! {
    /// The message that is being put into a mailbox on this thread, just now. ractor's `box_message` has
    /// no parameter for it; nothing runs between `set` and `take`.
    static OUTBOUND: Cell<Departure> =
        const { Cell::new(Departure { entry: Entry::Raw, has_more: false, is_kept: false }) };
    /// What that message owes.
    static OWED: Cell<Option<Charge>> = const { Cell::new(None) };
    /// What few messages have.
    static ADDED: Cell<Option<Box<Extra>>> = const { Cell::new(None) };
    /// Where the letter is left of a message that is to outlive the actor.
    static LETTER: Cell<Option<Arc<dyn Any + Send + Sync>>> = const { Cell::new(None) };
    /// The message that ractor just took out of a mailbox on this thread.
    static ARRIVED: Cell<Arrival> =
        const { Cell::new(Arrival { entry: Entry::Raw, is_over: false, is_traced: false }) };
    /// The trace that it came with.
    static TRACE: Cell<Option<TraceContext>> = const { Cell::new(None) };
    /// Whether the message has a trace that is being delivered from a link on this thread, just now.
    static IS_LINK_TRACED: Cell<bool> = const { Cell::new(false) };
    /// That trace.
    static LINK_TRACE: Cell<Option<TraceContext>> = const { Cell::new(None) };
    /// The trace of what was published on another node and is being handed out on this thread, just now.
    static PUBLISHED: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// Runs `send` so that the message which it puts into a mailbox is known to have come in so, and
/// holds its charge until it is taken.
#[inline]
pub(crate) fn entering<R>(passage: Passage, send: impl FnOnce() -> R) -> R {
    departing(passage, false, send)
}

/// Runs `send` so that the message which it puts into a mailbox is known to have come in so, with nothing
/// else.
#[inline]
pub(crate) fn entering_plainly<R>(entry: Entry, send: impl FnOnce() -> R) -> R {
    OUTBOUND.set(Departure { entry, has_more: false, is_kept: false });
    let result = send();
    // Nothing was taken where ractor refused the message before it boxed it.
    OUTBOUND.set(Departure::default());
    result
}

#[inline]
fn departing<R>(passage: Passage, is_kept: bool, send: impl FnOnce() -> R) -> R {
    let Passage { entry, charge, extra } = passage;
    // A look at what has a destructor costs more than all the rest, and most messages owe nothing.
    let has_more = charge.is_some() || extra.is_some();
    if has_more {
        OWED.set(charge);
        ADDED.set(extra);
    }
    OUTBOUND.set(Departure { entry, has_more, is_kept });
    let result = send();
    OUTBOUND.set(Departure::default());
    if has_more {
        drop((OWED.take(), ADDED.take()));
    }
    result
}

/// Runs `deliver` so that the message which it [delivers](crate::wire::Deliver::deliver) goes on with a
/// trace.
pub fn traced<R>(trace: TraceContext, deliver: impl FnOnce() -> R) -> R {
    LINK_TRACE.set(Some(trace));
    IS_LINK_TRACED.set(true);
    let result = deliver();
    IS_LINK_TRACED.set(false);
    // Where nothing was delivered.
    drop(LINK_TRACE.take());
    result
}

/// Runs `hand_out` so that the messages which are sent meanwhile go on with a trace: what was published on
/// another node, on its way to its subscribers.
pub fn published<R>(trace: TraceContext, hand_out: impl FnOnce() -> R) -> R {
    /// What it was before, when this is dropped.
    struct Outer(Option<TraceContext>);
    impl Drop for Outer {
        fn drop(&mut self) {
            PUBLISHED.set(self.0.take());
        }
    }
    let _outer = Outer(PUBLISHED.replace(Some(trace)));
    hand_out()
}

/// The trace that what is sent on this thread just now goes on with.
pub fn current_trace(traces: &dyn Traces) -> Option<TraceContext> {
    PUBLISHED.with_borrow(Clone::clone).or_else(|| traces.current())
}

/// The trace of the message that is being delivered from a link.
#[inline]
pub(crate) fn link_trace() -> Option<TraceContext> {
    if IS_LINK_TRACED.take() { LINK_TRACE.take() } else { None }
}

/// Runs `send` likewise; the message which it puts into a mailbox is a letter, which is returned.
pub(crate) fn keeping<M: Send + 'static, E>(
    passage: Passage,
    send: impl FnOnce() -> Result<(), E>,
) -> Result<Arc<Letter<M>>, E> {
    let result = departing(passage, true, send);
    let letter = LETTER.take();
    result?;
    let letter = letter.expect("what was put into a mailbox was packed");
    Ok(letter.downcast().expect("it was packed for the mailbox of such messages"))
}

/// What is known of the message that the running handler was just given.
#[inline]
pub(crate) fn arrived() -> Arrival {
    ARRIVED.take()
}

/// `ractor::Message::box_message` of every derived message.
#[doc(hidden)]
pub fn pack<M: Send + 'static>(
    message: M,
    to: &ractor::ActorId,
) -> Result<BoxedMessage, BoxedDowncastErr> {
    let departure = OUTBOUND.take();
    // Here, so that the compiler knows below that the message is boxed, and writes it once.
    if !to.is_local() {
        return Err(BoxedDowncastErr);
    }
    if departure.has_more || departure.is_kept {
        return pack_more(message, departure, to);
    }
    let contents = Contents { message, entry: departure.entry, charge: None, extra: None };
    ractor::Message::box_message(Parcel::Plain(contents), to)
}

#[inline(never)]
fn pack_more<M: Send + 'static>(
    message: M,
    Departure { entry, has_more, is_kept }: Departure,
    to: &ractor::ActorId,
) -> Result<BoxedMessage, BoxedDowncastErr> {
    let (charge, extra) = if has_more { (OWED.take(), ADDED.take()) } else { (None, None) };
    let contents = Contents { message, entry, charge, extra };
    let parcel = if is_kept {
        let letter = Letter::new(contents);
        LETTER.set(Some(letter.clone()));
        Parcel::Kept(letter)
    } else {
        Parcel::Plain(contents)
    };
    ractor::Message::box_message(parcel, to)
}

/// `ractor::Message::from_boxed` of every derived message.
#[doc(hidden)]
pub fn unpack<M: Send + 'static>(boxed: BoxedMessage) -> Result<M, BoxedDowncastErr> {
    match <Parcel<M> as ractor::Message>::from_boxed(boxed)? {
        Parcel::Plain(Contents { message, entry, charge, extra }) => {
            ARRIVED.set(arrive(entry, charge, extra));
            Ok(message)
        }
        Parcel::Kept(letter) => Ok(unpack_kept(&letter)),
    }
}

#[inline(never)]
fn unpack_kept<M>(letter: &Letter<M>) -> M {
    let contents =
        letter.take().expect("what one incarnation reads is not sent to the next before");
    let (message, arrival) = open(contents);
    ARRIVED.set(arrival);
    message
}

/// Takes a message out, and gives its charge back.
#[inline]
pub(crate) fn open<M>(contents: Contents<M>) -> (M, Arrival) {
    let Contents { message, entry, charge, extra } = contents;
    let arrival = arrive(entry, charge, extra);
    (message, arrival)
}

/// Likewise, but for the message, which stays where it is: `open` hands it on by value, and between a
/// mailbox and the actor each move of it shows.
#[inline(always)]
fn arrive(entry: Entry, charge: Option<Charge>, extra: Option<Box<Extra>>) -> Arrival {
    drop(charge);
    match extra {
        None => Arrival { entry, is_over: false, is_traced: false },
        Some(extra) => arrive_with(entry, *extra),
    }
}

#[inline(never)]
fn arrive_with(entry: Entry, Extra { askers, trace }: Extra) -> Arrival {
    let is_over = askers.is_some_and(|askers| askers.are_gone());
    let is_traced = trace.is_some();
    TRACE.set(trace);
    Arrival { entry, is_over, is_traced }
}
