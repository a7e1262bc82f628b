//! The lane that carries the messages of actors.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use umbel_actors::codec::{self, EncodeError, Limits};
use umbel_actors::wire::{
    self, ActorPath, Answers, Charge, Credit, Deliver, Encode, Imported, Pending, RouteError,
    Unanswered, Wire, WireError,
};
use umbel_actors::{DeadLetter, DeadLetterReason};

use super::asks::{ASKS_MAX, BadAsk, OwnAsks, PeersAsks};
use super::frame::{self, ASKS_PER_MESSAGE_MAX, Asks, Frame, FrameError, LENGTH_BYTES};
use super::outbox::{MESSAGE_COSTS_BYTES, Outbox};
use crate::transport::ByteStream;

/// The bytes of messages that a peer may have waiting in our mailboxes, over one lane. Four times
/// what a 10 Gbit/s link carries in a round trip of 0.2 ms; with small messages some 3,700 of them,
/// as each costs [`MESSAGE_COSTS_BYTES`] beside its own.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// The bytes of answers, refusals and credit that may wait for a peer that does not read. Beyond
/// it, answers are refused as overloaded; beyond twice as much the lane is closed.
const BACKLOG_BYTES_MAX: usize = 16 << 20;

/// The read buffer between bursts. tokio-rustls hands out at most a TLS record (16 KiB) a read.
const READ_BYTES: usize = 64 * 1024;

/// Messages that come in a run for one actor share a charge, up to so many bytes: the last of them
/// carries it. In a mailbox they are taken in order, so nothing is released too early; and each
/// charge costs both the lane's task and the actor the cache line that the account lies in.
const CHARGED_BYTES: u32 = (WINDOW_BYTES / 64) as u32;

/// How often a lane's task reads or writes before it lets others run.
const TURNS_MAX: usize = 64;

/// What a lane needs of its node.
pub(crate) trait Home: Send + Sync + 'static {
    /// Makes an actor of this node reachable.
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath;

    /// What a path means on this node.
    fn import(&self, path: &ActorPath) -> Result<Imported, WireError>;

    /// An actor of this node that is reachable.
    fn actor(&self, id: u64) -> Option<Arc<dyn Deliver>>;

    /// Something was published on another node.
    fn publication(&self, publication: &Publication<'_>);

    /// A message came to nothing.
    fn dead_letter(&self, letter: DeadLetter);
}

/// What was published on another node.
pub(crate) struct Publication<'a> {
    pub(crate) topic: &'a str,
    pub(crate) schema: u32,
    pub(crate) payload: &'a [u8],
    pub(crate) limits: Limits,
}

/// Why a lane ended.
#[derive(Debug, Error)]
pub(crate) enum LaneEnd {
    /// We closed it.
    #[error("closed by this node")]
    Closed,
    /// The peer closed it.
    #[error("closed by the peer")]
    ClosedByPeer,
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] std::io::Error),
    /// The peer sent what no peer of ours sends.
    #[error("the peer sent {0}")]
    Malformed(#[source] FrameError),
    /// The peer used a correlation id that it may not use.
    #[error("the peer used the correlation id {0:#x}, which is out of bounds or in use")]
    BadCorrelation(u64),
    /// The peer sent more than it was granted.
    #[error("the peer sent more than its credit")]
    CreditExceeded,
    /// The peer does not read what it asked for.
    #[error("the peer does not read its answers")]
    Overfull,
}

/// One data lane: what its senders, its readers and its task share.
///
/// Callers append whole frames to the [`Outbox`]; **one task** drives the stream both ways in a
/// single poll, decodes many frames a read and delivers straight into mailboxes. (Two tasks, reader
/// and writer, had a worse tail; a channel of byte vectors instead of the buffer cost a quarter of
/// the rate of small messages.)
pub(crate) struct DataLane {
    me: Weak<Self>,
    home: Arc<dyn Home>,
    /// The peer's name, for errors.
    peer: Arc<str>,
    outbox: Outbox,
    own_asks: OwnAsks,
    peers_asks: PeersAsks,
    inbound: Arc<Inbound>,
    frame_bytes_max: usize,
    limits: Limits,
}

/// The account of what the peer may send.
///
/// Not a part of the lane: every message in a mailbox counts as an owner of it, and the actors that
/// let go of it would else take the lane's own cache lines away from the lane's task all the time.
struct Inbound {
    lane: Weak<DataLane>,
    window: u64,
    released: AtomicU64,
    granted: AtomicU64,
}

#[derive(Default)]
struct Scratch {
    payload: Vec<u8>,
    asks: Vec<u64>,
}

thread_local! {
    /// Where this thread encodes, so that the user's `Serialize` runs outside the outbox's lock and
    /// no message costs an allocation. Taken while in use: a `Serialize` that sends gets another.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    /// The questions in what this thread encodes just now.
    static ASKED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// Whether this thread delivers a message just now: replies that are dropped then belong to a
    /// message that failed, and its failure is the answer.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a thread's scratch from holding on to the largest message that it ever saw.
const SCRATCH_KEPT_BYTES: usize = 64 * 1024;

impl DataLane {
    pub(crate) fn new(home: Arc<dyn Home>, peer: Arc<str>, frame_bytes_max: usize) -> Arc<Self> {
        Self::with_backlog(home, peer, frame_bytes_max, BACKLOG_BYTES_MAX)
    }

    fn with_backlog(
        home: Arc<dyn Home>,
        peer: Arc<str>,
        frame_bytes_max: usize,
        backlog_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            home,
            peer,
            outbox: Outbox::new(backlog_bytes_max),
            own_asks: OwnAsks::default(),
            peers_asks: PeersAsks::default(),
            inbound: Arc::new(Inbound {
                lane: me.clone(),
                window: WINDOW_BYTES,
                released: AtomicU64::new(0),
                granted: AtomicU64::new(WINDOW_BYTES),
            }),
            frame_bytes_max,
            limits: Limits::default(),
        })
    }

    /// The largest payload that fits a frame beside the largest header.
    fn payload_max(&self) -> usize {
        self.frame_bytes_max.saturating_sub(64)
    }

    /// Encodes outside every lock; the questions found are open when this succeeds.
    fn encode<R>(
        &self,
        wire: &Arc<dyn Wire>,
        encode: Encode<'_>,
        then: impl FnOnce(&[u64], &[u8]) -> R,
    ) -> Result<R, EncodeError> {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let outer = ASKED.replace(std::mem::take(&mut scratch.asks));
        scratch.payload.clear();
        let encoded = wire::scope(wire, || encode(&mut scratch.payload, self.payload_max()));
        scratch.asks = ASKED.replace(outer);
        let result = match encoded {
            Ok(()) => Ok(then(&scratch.asks, &scratch.payload)),
            Err(why) => {
                self.roll_back(&scratch.asks);
                Err(why)
            }
        };
        scratch.asks.clear();
        if scratch.payload.capacity() > SCRATCH_KEPT_BYTES {
            scratch.payload = Vec::new();
        }
        SCRATCH.set(Some(scratch));
        result
    }

    fn roll_back(&self, asks: &[u64]) {
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
        if !self.outbox.has_room() {
            return Err(if self.outbox.is_closed() {
                self.unreachable()
            } else {
                RouteError::Full
            });
        }
        let too_many = Cell::new(false);
        let mut encode = |buffer: &mut Vec<u8>, max: usize| {
            let encoded = encode(buffer, max);
            too_many.set(encoded.is_err() && self.own_asks.len() >= ASKS_MAX);
            encoded
        };
        let sent = self.encode(wire, &mut encode, |asks, payload| {
            self.outbox
                .send(|buffer| {
                    frame::message(buffer, to, schema, asks, payload);
                })
                .inspect_err(|_| self.roll_back(asks))
        });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.unreachable()),
            Err(_) if too_many.get() => Err(RouteError::TooManyAsks { max: ASKS_MAX }),
            Err(why) => Err(why.into()),
        }
    }

    /// Appends something published here, if the receiver's credit allows.
    pub(crate) fn try_publish(
        &self,
        topic: &str,
        schema: u32,
        payload: &[u8],
    ) -> Result<(), RouteError> {
        if !self.outbox.has_room() {
            return Err(if self.outbox.is_closed() {
                self.unreachable()
            } else {
                RouteError::Full
            });
        }
        self.outbox
            .send(|buffer| {
                frame::publication(buffer, topic, schema, payload);
            })
            .map_err(|_| self.unreachable())
    }

    pub(crate) async fn wait_for_room(&self) {
        self.outbox.wait_for_room().await;
    }

    fn unreachable(&self) -> RouteError {
        RouteError::Unreachable(self.peer.to_string())
    }

    /// Writes what waits, then ends the lane's task.
    pub(crate) fn close(&self) {
        self.outbox.close();
    }

    /// The questions that wait, ours and the peer's.
    pub(crate) fn asks_in_flight(&self) -> usize {
        self.own_asks.len() + self.peers_asks.len()
    }

    fn exempt(&self, write: impl FnOnce(&mut Vec<u8>)) {
        // A closed lane has failed all questions on the other side too.
        let _ = self.outbox.send_exempt(write);
    }

    fn send_refusal(&self, correlation: u64, why: &Unanswered) {
        if !self.peers_asks.close(correlation) {
            return;
        }
        let why = encoded(why);
        self.exempt(|buffer| {
            frame::refusal(buffer, correlation, &why);
        });
    }

    /// Drives the stream until the lane ends. Whatever ends it (dropping this future too), the
    /// questions that wait are failed.
    pub(crate) async fn run(self: Arc<Self>, stream: Box<dyn ByteStream>) -> LaneEnd {
        struct Guard(Arc<DataLane>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.outbox.close();
                self.0.own_asks.fail_all(&Unanswered::LinkLost(self.0.peer.to_string()));
            }
        }
        let _guard = Guard(self.clone());
        self.exempt(|buffer| {
            frame::credit(buffer, self.inbound.window);
        });
        let mut task = Task {
            wire: self.clone(),
            lane: self,
            stream,
            input: vec![0; READ_BYTES],
            filled: 0,
            output: Vec::new(),
            written: 0,
            flushed: true,
            yielded: false,
            last: None,
            received: 0,
            owed: 0,
        };
        std::future::poll_fn(|cx| task.poll(cx)).await
    }
}

fn encoded(why: &Unanswered) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The texts within are bounded by the codec's errors; a failure here would be our own bug.
    codec::encode(why, &mut bytes, 4096)
        .or_else(|_| codec::encode(&Unanswered::Dropped, &mut bytes, 4096))
        .expect("a refusal without text can be encoded");
    bytes
}

impl Credit for Inbound {
    fn release(&self, bytes: u32) {
        let released =
            self.released.fetch_add(u64::from(bytes), Ordering::AcqRel) + u64::from(bytes);
        let grant = released + self.window;
        let granted = self.granted.load(Ordering::Acquire);
        // One grant for each quarter window: it costs a frame.
        if grant >= granted + self.window / 4
            && self
                .granted
                .compare_exchange(granted, grant, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            && let Some(lane) = self.lane.upgrade()
        {
            lane.exempt(|buffer| {
                frame::credit(buffer, grant);
            });
        }
    }
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
            if asked.len() == ASKS_PER_MESSAGE_MAX {
                return Err(WireError::TooManyAsks { max: ASKS_PER_MESSAGE_MAX });
            }
            let correlation = self.own_asks.open(pending.clone()).ok_or(too_many)?;
            asked.push(correlation);
            let lane = self.me.clone();
            pending.on_cancel(Box::new(move || {
                if let Some(lane) = lane.upgrade()
                    && lane.own_asks.close(correlation).is_some()
                {
                    lane.exempt(|buffer| {
                        frame::cancel(buffer, correlation);
                    });
                }
            }));
            Ok(correlation)
        })
    }

    fn answers(&self, correlation: u64) -> Result<Arc<dyn Answers>, WireError> {
        match self.me.upgrade() {
            Some(lane) if self.peers_asks.knows(correlation) => Ok(lane),
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
        let sent = self.encode(&wire, encode, |asks, payload| {
            if self.peers_asks.close(correlation) {
                self.exempt(|buffer| {
                    frame::answer(buffer, correlation, asks, payload);
                });
            } else {
                self.roll_back(asks);
            }
        });
        if let Err(why) = sent {
            self.send_refusal(correlation, &Unanswered::Unencodable(why.to_string()));
        }
    }

    fn refuse(&self, correlation: u64, why: Unanswered) {
        if !DELIVERING.get() {
            self.send_refusal(correlation, &why);
        }
    }

    fn is_cancelled(&self, correlation: u64) -> bool {
        self.outbox.is_closed() || self.peers_asks.is_cancelled(correlation)
    }
}

/// What only the lane's task touches.
struct Task {
    lane: Arc<DataLane>,
    wire: Arc<dyn Wire>,
    stream: Box<dyn ByteStream>,
    /// Initialised throughout, as tokio-rustls would otherwise zero it at each read.
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    written: usize,
    flushed: bool,
    yielded: bool,
    /// The last receiver: messages come in runs.
    last: Option<(u64, Arc<dyn Deliver>)>,
    /// The bytes of messages that came since the lane opened.
    received: u64,
    /// Of these, what the run's next charge has to cover.
    owed: u32,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
        for _ in 0..TURNS_MAX {
            let read = match self.read(cx) {
                Ok(read) => read,
                Err(end) => return Poll::Ready(end),
            };
            let wrote = match self.write(cx) {
                Ok(wrote) => wrote,
                Err(end) => return Poll::Ready(end),
            };
            if !read && !wrote {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether something was read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        let mut space = ReadBuf::new(&mut self.input[self.filled..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(why)) => Err(LaneEnd::Broken(why)),
            Poll::Ready(Ok(())) => {
                let bytes = space.filled().len();
                if bytes == 0 {
                    return Err(LaneEnd::ClosedByPeer);
                }
                self.filled += bytes;
                self.take_frames()?;
                Ok(true)
            }
        }
    }

    fn take_frames(&mut self) -> Result<(), LaneEnd> {
        let input = std::mem::take(&mut self.input);
        let wire = self.wire.clone();
        let mut taken = 0;
        let mut wanted = READ_BYTES;
        let result = wire::scope(&wire, || {
            let mut next = self.first_frame(&input[..self.filled], &mut wanted)?;
            while let Some((frame, whole)) = next {
                taken += whole;
                // A frame is handled when it is known what follows: see `CHARGED_BYTES`.
                let following = self.first_frame(&input[taken..self.filled], &mut wanted);
                self.handle(frame, whole, following.as_ref().ok().copied().flatten())?;
                next = following?;
            }
            Ok(())
        });
        self.input = input;
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        // Room for the frame that has begun, and no more than that between bursts.
        if self.input.len() < wanted || self.input.len() > 2 * wanted.max(self.filled) {
            self.input.resize(wanted.max(self.filled), 0);
            self.input.shrink_to_fit();
        }
        result
    }

    /// The first frame in `bytes`, if it is all there, and its length; else says how long the
    /// buffer has to be to hold it.
    fn first_frame<'a>(
        &self,
        bytes: &'a [u8],
        wanted: &mut usize,
    ) -> Result<Option<(Frame<'a>, usize)>, LaneEnd> {
        let length =
            frame::first_length(bytes, self.lane.frame_bytes_max).map_err(LaneEnd::Malformed)?;
        let Some(length) = length else { return Ok(None) };
        let whole = LENGTH_BYTES + length;
        let Some(frame) = bytes.get(LENGTH_BYTES..whole) else {
            *wanted = whole.max(READ_BYTES);
            return Ok(None);
        };
        Ok(Some((Frame::read(frame).map_err(LaneEnd::Malformed)?, whole)))
    }

    /// `following` is the frame behind this one, where it is there already.
    fn handle(
        &mut self,
        frame: Frame<'_>,
        bytes: usize,
        following: Option<(Frame<'_>, usize)>,
    ) -> Result<(), LaneEnd> {
        // Not a clone of the `Arc`: that would be two atomic operations a frame.
        let lane = &self.lane;
        match frame {
            Frame::Message { actor, schema, asks, payload } => {
                self.receive(bytes)?;
                self.open_asks(asks)?;
                self.owed += bytes as u32 + MESSAGE_COSTS_BYTES as u32;
                let goes_on = matches!(
                    following,
                    Some((Frame::Message { actor: next, .. }, _)) if next == actor
                );
                let charge = (!goes_on || self.owed >= CHARGED_BYTES).then(|| self.charge());
                let delivered = self.deliver(actor, schema, payload, charge);
                if let Err(why) = delivered {
                    self.undelivered(actor, asks, why);
                }
            }
            Frame::Answer { correlation, asks, payload } => {
                self.open_asks(asks)?;
                match lane.own_asks.close(correlation) {
                    Some(pending) => {
                        let answer = AssertUnwindSafe(|| pending.answer(payload, lane.limits));
                        if catch_unwind(answer).is_err() {
                            pending.fail(panicked());
                        }
                    }
                    None => asks.for_each(|ask| lane.send_refusal(ask, &Unanswered::Dropped)),
                }
            }
            Frame::Refusal { correlation, why } => {
                if let Some(pending) = lane.own_asks.close(correlation) {
                    pending.fail(refusal(why, lane));
                }
            }
            Frame::Credit { granted } => lane.outbox.grant(granted),
            Frame::Cancel { correlation } => lane.peers_asks.cancel(correlation),
            Frame::Publication { topic, schema, payload } => {
                self.receive(bytes)?;
                self.owed += bytes as u32 + MESSAGE_COSTS_BYTES as u32;
                // Subscribers have queues of their own: nothing of it stays here.
                drop(self.charge());
                let lane = &self.lane;
                let limits = lane.limits;
                lane.home.publication(&Publication { topic, schema, payload, limits });
            }
            Frame::Undelivered { actor, why } => {
                let why = DeadLetterReason::Refused(refusal(why, lane));
                let to = format!("{}/{actor}", lane.peer);
                lane.home.dead_letter(DeadLetter::new(to, "?", 1, why));
            }
        }
        Ok(())
    }

    /// Takes a message's bytes from the peer's credit. A peer may overdraw by a frame for each of
    /// its threads, which may all have seen the last byte of room at once.
    fn receive(&mut self, bytes: usize) -> Result<(), LaneEnd> {
        let overdraft = 64 * self.lane.frame_bytes_max as u64;
        let granted = self.lane.inbound.granted.load(Ordering::Acquire);
        if self.received > granted.saturating_add(overdraft) {
            return Err(LaneEnd::CreditExceeded);
        }
        self.received += bytes as u64 + MESSAGE_COSTS_BYTES;
        Ok(())
    }

    /// A charge of what is owed.
    fn charge(&mut self) -> Charge {
        Charge::new(self.lane.inbound.clone(), std::mem::take(&mut self.owed))
    }

    fn open_asks(&self, asks: Asks<'_>) -> Result<(), LaneEnd> {
        for ask in asks {
            self.lane.peers_asks.open(ask).map_err(|_: BadAsk| LaneEnd::BadCorrelation(ask))?;
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        actor: u64,
        schema: u32,
        payload: &[u8],
        charge: Option<Charge>,
    ) -> Result<(), Unanswered> {
        let receiver = match &self.last {
            Some((id, receiver)) if *id == actor => receiver,
            _ => {
                let receiver = self.lane.home.actor(actor).ok_or(Unanswered::NoSuchActor)?;
                &self.last.insert((actor, receiver)).1
            }
        };
        DELIVERING.set(true);
        // A `Deserialize` that panics is the user's, and what made it panic is the peer's: neither
        // may end the lane.
        let delivered = catch_unwind(AssertUnwindSafe(|| {
            receiver.deliver(payload, schema, self.lane.limits, charge)
        }))
        .unwrap_or_else(|_| Err(panicked()));
        DELIVERING.set(false);
        if delivered.is_err() {
            self.last = None;
        }
        delivered
    }

    fn undelivered(&self, actor: u64, asks: Asks<'_>, why: Unanswered) {
        let lane = &self.lane;
        if asks.clone().next().is_none() {
            let bytes = encoded(&why);
            lane.exempt(|buffer| {
                frame::undelivered(buffer, actor, &bytes);
            });
        }
        for ask in asks {
            lane.send_refusal(ask, &why);
        }
        let letter =
            DeadLetter::new(format!("actor {actor}"), "?", 1, DeadLetterReason::Undeliverable(why));
        lane.home.dead_letter(letter);
    }

    /// Whether something was written.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        let lane = &self.lane;
        if lane.outbox.has_overflowed() {
            return Err(LaneEnd::Overfull);
        }
        if self.output.is_empty() {
            // With several questions under way, those who answer or ask next are likely about to
            // run: one yield lets their frames go out together. With one, it would only add delay.
            if lane.asks_in_flight() > 1 && !self.yielded && !lane.outbox.is_empty() {
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Ok(false);
            }
            self.yielded = false;
            self.written = 0;
            if !lane.outbox.take(&mut self.output, cx.waker()) && lane.outbox.is_closed() {
                return self.finish(cx);
            }
        }
        let mut wrote = false;
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Pending => {
                    lane.outbox.is_blocked(cx.waker());
                    return if lane.outbox.has_overflowed() {
                        Err(LaneEnd::Overfull)
                    } else {
                        Ok(wrote)
                    };
                }
                Poll::Ready(Err(why)) => return Err(LaneEnd::Broken(why)),
                Poll::Ready(Ok(0)) => {
                    return Err(LaneEnd::Broken(std::io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.flushed = false;
                    wrote = true;
                }
            }
        }
        self.output.clear();
        self.flush(cx)?;
        Ok(wrote)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), LaneEnd> {
        if !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(why)) => return Err(LaneEnd::Broken(why)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        self.flush(cx)?;
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(_) => Err(LaneEnd::Closed),
        }
    }
}

fn panicked() -> Unanswered {
    Unanswered::Undecodable("decoding it panicked".to_owned())
}

fn refusal(bytes: &[u8], lane: &DataLane) -> Unanswered {
    codec::decode(bytes, lane.limits)
        .unwrap_or_else(|why| Unanswered::Undecodable(format!("the refusal itself: {why}")))
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
