//! The lane that carries the messages of actors.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::Instant;
use umbel_actors::codec::{self, EncodeError, Limits};
use umbel_actors::wire::{
    self, ActorPath, Answers, Deliver, Encode, Imported, Pending, RouteError, Unanswered, Wire,
    WireError,
};
use umbel_actors::{TraceContext, Traces};

use super::asked::Asked;
use super::asks::{ASKS_MAX, OpenAsks, OwnAsks, PeersAsks};
use super::bulk::{Bulk, Letter};
use super::delivery;
use super::driver::{Driver, LaneEnd};
use super::frame::{self, ASKS_PER_MESSAGE_MAX, Header, LENGTH_BYTES};
use super::holds::{Holds, Target};
use super::home::Home;
use super::inbound::{Inbound, WINDOW_BYTES};
use super::outbox::{LaneClosed, Outbox};
use crate::transport::ByteStream;

/// One data lane: what its senders, its readers and its task share.
///
/// Callers append whole frames to the [`Outbox`]; **one task** does all the rest, by its [`Driver`].
/// (Two tasks, reader and writer, had a worse tail; a channel of byte vectors instead of the buffer
/// cost a quarter of the rate of small messages.)
pub(crate) struct DataLane {
    me: Weak<Self>,
    pub(super) home: Arc<dyn Home>,
    /// The peer's name, for errors.
    pub(super) peer: Arc<str>,
    pub(super) outbox: Outbox,
    pub(super) holds: Holds,
    pub(super) own_asks: OwnAsks,
    pub(super) peers_asks: PeersAsks,
    pub(super) inbound: Arc<Inbound>,
    pub(super) frame_bytes_max: usize,
    pub(super) limits: Limits,
    /// What is too large for this one.
    pub(crate) bulk: Bulk,
    /// This one and the bulk lane, while they are driven: questions are answered over either.
    driven: AtomicUsize,
    pub(super) traces: Option<Arc<dyn Traces>>,
    lets_peer_end_first: AtomicBool,
}

/// The bounds of a link's lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneBounds {
    pub(crate) frame_bytes_max: usize,
    /// What takes more bytes goes over the bulk lane.
    pub(crate) bulk_bytes_min: usize,
    /// What takes more bytes is not sent.
    pub(crate) message_bytes_max: usize,
    /// The bytes of answers, refusals and credit that may wait for a peer that does not read. Beyond
    /// it, answers are refused as overloaded; beyond twice as much the lane is closed.
    pub(crate) backlog_bytes_max: usize,
}

impl LaneBounds {
    pub(crate) const BACKLOG_BYTES_MAX: usize = 16 << 20;
}

#[derive(Default)]
struct Scratch {
    payload: Vec<u8>,
    asked: Asked,
    fields: Vec<u8>,
}

thread_local! {
    /// Where this thread encodes, so that the user's `Serialize` runs outside the outbox's lock and
    /// no message costs an allocation. Taken while in use: a `Serialize` that sends gets another.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    /// The questions in what this thread encodes just now.
    static ASKED: RefCell<Asked> =
        const { RefCell::new(Asked { ids: Vec::new(), until: Vec::new() }) };
}

/// Keeps a thread's scratch from holding on to the largest message that it ever saw.
const SCRATCH_KEPT_BYTES: usize = 64 * 1024;

impl DataLane {
    pub(crate) fn new(home: Arc<dyn Home>, peer: Arc<str>, bounds: &LaneBounds) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            traces: home.traces(),
            home,
            peer,
            outbox: Outbox::new(bounds.backlog_bytes_max),
            holds: Holds::default(),
            own_asks: OwnAsks::default(),
            peers_asks: PeersAsks::default(),
            inbound: Arc::new(Inbound::new(me.clone())),
            frame_bytes_max: bounds.frame_bytes_max,
            limits: Limits::default(),
            bulk: Bulk::new(me.clone(), bounds),
            driven: AtomicUsize::new(0),
            lets_peer_end_first: AtomicBool::new(false),
        })
    }

    /// Encodes outside every lock; the questions found are open when this succeeds.
    fn encode<R>(
        &self,
        wire: &Arc<dyn Wire>,
        encode: Encode<'_>,
        trace: Option<&TraceContext>,
        then: impl FnOnce(Header<'_>, &mut Vec<u8>) -> R,
    ) -> Result<R, EncodeError> {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let outer = ASKED.replace(std::mem::take(&mut scratch.asked));
        scratch.payload.clear();
        let encoded = wire::scope(wire, || encode(&mut scratch.payload, self.bulk.bytes_max()));
        scratch.asked = ASKED.replace(outer);
        let Scratch { payload, asked, fields } = &mut *scratch;
        fields.clear();
        asked.put_fields(fields);
        self.put_trace(fields, trace, |fields| {
            Header { asks: &asked.ids, fields }.bytes_max() + payload.len()
        });
        let header = Header { asks: &asked.ids, fields };
        let result = match encoded {
            Ok(()) => Ok(then(header, payload)),
            Err(why) => {
                self.roll_back(&asked.ids);
                Err(why)
            }
        };
        asked.clear();
        if payload.capacity() > SCRATCH_KEPT_BYTES {
            *payload = Vec::new();
        }
        SCRATCH.set(Some(scratch));
        result
    }

    /// What is written goes on with a trace. What fits into a frame without it goes without.
    fn put_trace(
        &self,
        fields: &mut Vec<u8>,
        trace: Option<&TraceContext>,
        bytes_max: impl Fn(&[u8]) -> usize,
    ) {
        let Some(trace) = trace else { return };
        let untraced = fields.len();
        frame::put_trace(fields, trace);
        let fits = |fields: &[u8]| bytes_max(fields) <= self.frame_bytes_max;
        if !fits(fields) && fits(&fields[..untraced]) {
            fields.truncate(untraced);
        }
    }

    fn current_trace(&self) -> Option<TraceContext> {
        self.traces.as_ref().and_then(|traces| wire::current_trace(&**traces))
    }

    pub(super) fn roll_back(&self, asks: &[u64]) {
        for ask in asks {
            // The right to answer went from the reply to this question, and cannot go back.
            if let Some(pending) = self.own_asks.close(*ask) {
                pending.fail(Unanswered::Dropped);
            }
        }
    }

    /// Encodes one message and appends it, if the receiver's credit allows. `wire` is this lane: a
    /// caller has it at hand, and making it anew would cost two contended counts a message.
    pub(crate) fn try_send(
        &self,
        wire: &Arc<dyn Wire>,
        to: u64,
        schema: u32,
        encode: Encode<'_>,
    ) -> Result<(), RouteError> {
        self.look_for_room(|| Target::Actor(to))?;
        let too_many = Cell::new(false);
        let mut encode = |buffer: &mut Vec<u8>, max: usize| {
            let encoded = encode(buffer, max);
            too_many.set(encoded.is_err() && self.own_asks.len() >= ASKS_MAX);
            encoded
        };
        let given_up = self.own_asks.given_up();
        let trace = self.current_trace();
        let sent = self.encode(wire, &mut encode, trace.as_ref(), |header, payload| {
            if self.bulk.is_for(payload.len(), header.bytes_max() + payload.len()) {
                let mut head = Vec::new();
                frame::message(&mut head, to, schema, header, &[]);
                // Those of its questions that were given up before are cancelled when it is there.
                return self.send_large(head, Target::Actor(to), header.asks, payload);
            }
            let sent = self.outbox.send(|buffer| {
                frame::message(buffer, to, schema, header, payload);
            });
            sent.map_err(|LaneClosed| {
                self.roll_back(header.asks);
                self.unreachable()
            })?;
            if self.own_asks.given_up() != given_up {
                self.cancel_again(header.asks);
            }
            Ok(())
        });
        match sent {
            Ok(sent) => sent,
            Err(_) if too_many.get() => Err(RouteError::TooManyAsks { max: ASKS_MAX }),
            Err(why) => Err(why.into()),
        }
    }

    /// `head` is a frame without its payload.
    fn send_large(
        &self,
        mut head: Vec<u8>,
        target: Target,
        asks: &[u64],
        payload: &mut Vec<u8>,
    ) -> Result<(), RouteError> {
        let Some(lane) = self.me.upgrade() else { return Err(self.unreachable()) };
        head.drain(..LENGTH_BYTES);
        let mut payload = std::mem::take(payload);
        payload.shrink_to_fit();
        let (payload, asks) = (Arc::new(payload), asks.to_vec());
        Bulk::send(lane, Letter { head, payload, asks, target })
    }

    /// Cancels those questions of a message that were given up before it was sent: the peer heard of
    /// that when it did not know them yet.
    #[cold]
    fn cancel_again(&self, asks: &[u64]) {
        for ask in asks {
            if !self.own_asks.is_open(*ask) {
                self.exempt(|buffer| {
                    frame::cancel(buffer, *ask);
                });
            }
        }
    }

    /// Appends something published here, if the receiver's credit allows.
    pub(crate) fn try_publish(
        &self,
        topic: &str,
        schema: u32,
        payload: &Arc<Vec<u8>>,
    ) -> Result<(), RouteError> {
        self.look_for_room(|| Target::Topic(topic.into()))?;
        let mut fields = Vec::new();
        let whole =
            |fields: &[u8]| Header { asks: &[], fields }.bytes_max() + topic.len() + payload.len();
        self.put_trace(&mut fields, self.current_trace().as_ref(), whole);
        let whole = whole(&fields);
        if self.bulk.is_for(payload.len(), whole) {
            let Some(lane) = self.me.upgrade() else { return Err(self.unreachable()) };
            let mut head = Vec::new();
            frame::publication(&mut head, topic, schema, &fields, &[]);
            head.drain(..LENGTH_BYTES);
            let (payload, target) = (payload.clone(), Target::Topic(topic.into()));
            return Bulk::send(lane, Letter { head, payload, asks: Vec::new(), target });
        }
        self.outbox
            .send(|buffer| {
                frame::publication(buffer, topic, schema, &fields, payload);
            })
            .map_err(|_| self.unreachable())
    }

    #[inline]
    fn look_for_room(&self, target: impl FnOnce() -> Target) -> Result<(), RouteError> {
        if self.outbox.has_room() && !self.holds.bar(target) {
            return Ok(());
        }
        Err(if self.outbox.is_closed() { self.unreachable() } else { RouteError::Full })
    }

    /// Ends when it is worth trying again to send to `target`.
    pub(crate) async fn wait_for_room(&self, target: &Target) {
        loop {
            self.holds.wait(target, || self.outbox.is_closed()).await;
            self.outbox.wait_for_room().await;
            if self.outbox.is_closed() || !self.holds.bar(|| target.clone()) {
                return;
            }
        }
    }

    pub(super) fn unreachable(&self) -> RouteError {
        RouteError::Unreachable(self.peer.to_string())
    }

    /// Takes no more, and writes what waits. The lane ends when the peer has written all, too; it is
    /// for the caller to see that this does not take for ever.
    pub(crate) fn close(&self) {
        self.lets_peer_end_first.store(false, Ordering::Release);
        self.outbox.close();
        self.holds.wake_all();
    }

    /// As [`Self::close`], but lets the peer be the first to say that it has written all, until
    /// `close` is called. So the peer never finds the end of the lane before it knows why.
    pub(crate) fn close_after_peer(&self) {
        self.lets_peer_end_first.store(true, Ordering::Release);
        self.outbox.close();
        self.holds.wake_all();
    }

    pub(super) fn lets_peer_end_first(&self) -> bool {
        self.lets_peer_end_first.load(Ordering::Acquire)
    }

    /// The questions that wait, ours and the peer's.
    pub(crate) fn asks_in_flight(&self) -> usize {
        self.own_asks.len() + self.peers_asks.len()
    }

    /// As if the peer had granted so many bytes in total.
    pub(crate) fn grant(&self, bytes: u64) {
        self.outbox.grant(bytes);
    }

    pub(crate) fn open_asks(&self) -> OpenAsks {
        OpenAsks { ours: self.own_asks.len(), theirs: self.peers_asks.len() }
    }

    /// The bytes that wait to be written.
    pub(crate) fn bytes(&self) -> usize {
        self.outbox.bytes()
    }

    pub(super) fn exempt(&self, write: impl FnOnce(&mut Vec<u8>)) {
        // A closed lane has failed all questions on the other side too.
        let _ = self.outbox.send_exempt(write);
    }

    pub(super) fn send_refusal(&self, correlation: u64, why: &Unanswered) {
        if !self.peers_asks.close(correlation) {
            return;
        }
        let why = encoded(why);
        self.exempt(|buffer| {
            frame::refusal(buffer, correlation, &why);
        });
    }

    /// One of the lanes that questions are answered over is driven until what this returns is
    /// dropped. The last one to end fails the questions that wait, and tells those who answer the
    /// peer's.
    pub(super) fn is_driven(self: &Arc<Self>) -> Driven {
        self.driven.fetch_add(1, Ordering::AcqRel);
        Driven(self.clone())
    }

    /// Drives the stream until the lane ends. Whatever ends it (dropping this future too, polled or
    /// not), the questions that wait are failed, unless the bulk lane still brings answers.
    pub(crate) fn run(
        self: Arc<Self>,
        stream: Box<dyn ByteStream>,
    ) -> impl Future<Output = LaneEnd> + Send + 'static {
        struct Guard(Arc<DataLane>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.outbox.close();
                self.0.holds.wake_all();
            }
        }
        let guard = (Guard(self.clone()), self.is_driven());
        self.exempt(|buffer| {
            frame::credit(buffer, WINDOW_BYTES);
        });
        let mut driver = Driver::new(self, stream);
        async move {
            let _guard = guard;
            std::future::poll_fn(|cx| driver.poll(cx)).await
        }
    }
}

/// See [`DataLane::is_driven`].
pub(super) struct Driven(Arc<DataLane>);

impl Drop for Driven {
    fn drop(&mut self) {
        if self.0.driven.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.own_asks.fail_all(&Unanswered::LinkLost(self.0.peer.to_string()));
            self.0.peers_asks.cancel_all();
        }
    }
}

pub(super) fn encoded(why: &Unanswered) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The texts within are bounded by the codec's errors; a failure here would be our own bug.
    codec::encode(why, &mut bytes, 4096)
        .or_else(|_| codec::encode(&Unanswered::Dropped, &mut bytes, 4096))
        .expect("a refusal without text can be encoded");
    bytes
}

impl Wire for DataLane {
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath {
        self.home.export(actor)
    }

    fn import(&self, path: &ActorPath) -> Result<Imported, WireError> {
        self.home.import(path)
    }

    fn expect_answer(&self, pending: Arc<dyn Pending>) -> Result<u64, WireError> {
        let too_many = WireError::TooManyAsks { max: ASKS_MAX };
        ASKED.with_borrow_mut(|asked| {
            if asked.ids.len() == ASKS_PER_MESSAGE_MAX {
                return Err(WireError::TooManyAsks { max: ASKS_PER_MESSAGE_MAX });
            }
            let correlation = self.own_asks.open(pending.clone()).ok_or(too_many)?;
            asked.ids.push(correlation);
            asked.until.push(pending.until());
            let lane = self.me.clone();
            pending.on_cancel(Box::new(move || {
                if let Some(lane) = lane.upgrade()
                    && lane.own_asks.give_up(correlation)
                {
                    lane.exempt(|buffer| {
                        frame::cancel(buffer, correlation);
                    });
                    lane.bulk.cancel(correlation);
                }
            }));
            Ok(correlation)
        })
    }

    fn answers(&self, correlation: u64) -> Result<Arc<dyn Answers>, WireError> {
        match self.me.upgrade() {
            Some(lane) if self.peers_asks.find(correlation).is_some() => Ok(lane),
            _ => Err(WireError::UnknownCorrelation(correlation)),
        }
    }
}

impl Answers for DataLane {
    fn answer(&self, correlation: u64, encode: Encode<'_>) {
        let Some(lane) = self.me.upgrade() else { return };
        let wire: Arc<dyn Wire> = lane;
        if self.outbox.is_overfull() {
            return self.send_refusal(correlation, &Unanswered::Overloaded);
        }
        let sent = self.encode(&wire, encode, None, |header, payload| {
            let is_large = self.bulk.is_for(payload.len(), header.bytes_max() + payload.len());
            if is_large && self.bulk.is_overfull() {
                self.roll_back(header.asks);
                return self.send_refusal(correlation, &Unanswered::Overloaded);
            }
            if !self.peers_asks.close(correlation) {
                return self.roll_back(header.asks);
            }
            if is_large {
                let mut head = Vec::new();
                frame::answer(&mut head, correlation, header, &[]);
                head.drain(..LENGTH_BYTES);
                return self.bulk.answer(head, std::mem::take(payload), header.asks.to_vec());
            }
            self.exempt(|buffer| {
                frame::answer(buffer, correlation, header, payload);
            });
        });
        if let Err(why) = sent {
            self.send_refusal(correlation, &Unanswered::Unencodable(why.to_string()));
        }
    }

    fn refuse(&self, correlation: u64, why: Unanswered) {
        if !delivery::is_delivering() {
            self.send_refusal(correlation, &why);
        }
    }

    fn is_cancelled(&self, correlation: u64) -> bool {
        self.peers_asks.find(correlation).is_none() || self.outbox.is_closed()
    }

    fn until(&self, correlation: u64) -> Option<Instant> {
        self.peers_asks.find(correlation).flatten()
    }

    fn on_cancel(&self, correlation: u64, cancel: Box<dyn FnOnce() + Send>) {
        self.peers_asks.on_cancel(correlation, cancel);
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
pub(super) mod tests;
