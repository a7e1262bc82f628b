//! The task that drives a data lane's stream.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};
use umbel_actors::codec;
use umbel_actors::wire::{self, Charge, Deliver, Unanswered, Wire};
use umbel_actors::{DeadLetter, DeadLetterReason, TraceContext};

use super::asks::BadAsk;
use super::bulk::Disorder;
use super::data::{DataLane, encoded};
use super::frame::{self, Asks, Frame, FrameError, LENGTH_BYTES};
use super::holds::{PAUSED_MAX, TooManyPaused};
use super::home::Publication;
use super::inbound::{Accounts, WINDOW_BYTES};
use super::outbox::MESSAGE_COSTS_BYTES;
use super::outlet::Outlet;
use crate::transport::ByteStream;

/// What only a lane's task touches: it drives the stream both ways in a single poll, decodes many
/// frames a read and delivers straight into mailboxes.
pub(super) struct Driver {
    lane: Arc<DataLane>,
    wire: Arc<dyn Wire>,
    stream: Box<dyn ByteStream>,
    /// Initialised throughout, as tokio-rustls would otherwise zero it at each read.
    input: Vec<u8>,
    filled: usize,
    outlet: Outlet,
    yielded: bool,
    /// The peer has written all.
    peer_done: bool,
    /// The last receiver: messages come in runs.
    last: Option<(u64, Arc<dyn Deliver>)>,
    accounts: Accounts,
    /// Of the bytes of messages that came, what the run's next charge has to cover.
    owed: u32,
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
    /// The peer sent parts of large messages that do not fit together.
    #[error("the peer sent {0}")]
    Disorder(#[source] Disorder),
    /// The peer sent more than it was granted.
    #[error("the peer sent more than its credit")]
    CreditExceeded,
    /// The peer paused more actors than can hold what it lets us send.
    #[error("the peer paused more than {PAUSED_MAX} actors")]
    TooManyPaused,
    /// The peer does not read what it asked for.
    #[error("the peer does not read its answers")]
    Overfull,
}

/// The read buffer between bursts. tokio-rustls hands out at most a TLS record (16 KiB) a read.
const READ_BYTES: usize = 64 * 1024;

/// Messages that come in a run for one actor share a charge, up to so many bytes: the last of them
/// carries it. In a mailbox they are taken in order, so nothing is released too early; and each
/// charge costs both the lane's task and the actor the cache line that the account lies in.
const CHARGED_BYTES: u32 = (WINDOW_BYTES / 64) as u32;

/// How often a lane's task reads or writes before it lets others run.
const TURNS_MAX: usize = 64;

thread_local! {
    /// Whether this thread delivers a message just now.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread delivers a message just now: replies that are dropped then belong to a message
/// that failed, and its failure is the answer.
#[inline]
pub(super) fn is_delivering() -> bool {
    DELIVERING.get()
}

impl Driver {
    pub(super) fn new(lane: Arc<DataLane>, stream: Box<dyn ByteStream>) -> Self {
        Self {
            wire: lane.clone(),
            accounts: Accounts::new(lane.inbound.clone()),
            lane,
            stream,
            input: vec![0; READ_BYTES],
            filled: 0,
            outlet: Outlet::new(0),
            yielded: false,
            peer_done: false,
            last: None,
            owed: 0,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
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
        if self.peer_done {
            return Ok(false);
        }
        let mut space = ReadBuf::new(&mut self.input[self.filled..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(why)) => Err(LaneEnd::Broken(why)),
            Poll::Ready(Ok(())) => {
                let bytes = space.filled().len();
                if bytes == 0 {
                    return self.nothing_more_comes();
                }
                self.filled += bytes;
                self.take_frames()?;
                Ok(true)
            }
        }
    }

    fn nothing_more_comes(&mut self) -> Result<bool, LaneEnd> {
        if !self.lane.outbox.is_closed() {
            return Err(LaneEnd::ClosedByPeer);
        }
        if self.outlet.is_finished() {
            return Err(LaneEnd::Closed);
        }
        self.peer_done = true;
        Ok(false)
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
        self.lane.inbound.has_received(self.accounts.received());
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
            Frame::Message { actor, schema, asks, trace, payload } => {
                self.receive(bytes)?;
                let outdated = !self.open_asks(asks)?;
                self.owed += bytes as u32 + MESSAGE_COSTS_BYTES as u32;
                let goes_on = matches!(
                    following,
                    Some((Frame::Message { actor: next, .. }, _)) if next == actor
                );
                let charge = (!goes_on || self.owed >= CHARGED_BYTES)
                    .then(|| self.accounts.charge(actor, std::mem::take(&mut self.owed)));
                let delivered = if asks.are_late() {
                    Err(Unanswered::Expired)
                } else if outdated {
                    Err(Unanswered::Dropped)
                } else {
                    let trace = trace_of(&self.lane, trace);
                    traced(trace, || self.deliver(actor, schema, payload, charge))
                };
                if let Err(why) = delivered {
                    self.undelivered(actor, asks, why);
                }
            }
            Frame::Answer { correlation, asks, payload } => {
                // A question that is given up already is not to be answered: the answer is undecodable.
                self.open_asks(asks)?;
                take_answer(lane, correlation, asks, payload);
            }
            Frame::Refusal { correlation, why } => {
                if let Some(pending) = lane.own_asks.close(correlation) {
                    pending.fail(refusal(why, lane));
                }
            }
            Frame::Credit { granted } => lane.outbox.grant(granted),
            Frame::Cancel { correlation } => lane.peers_asks.cancel(correlation),
            Frame::Publication { topic, schema, trace, payload } => {
                self.receive(bytes)?;
                self.owed += bytes as u32 + MESSAGE_COSTS_BYTES as u32;
                let owed = std::mem::take(&mut self.owed);
                let charge = Charge::new(self.lane.inbound.clone(), owed);
                // It goes into no mailbox, and takes of the window all the same.
                self.accounts.make_room();
                let lane = &self.lane;
                let limits = lane.limits;
                let publication = Publication { topic, schema, payload, limits };
                published(trace_of(lane, trace), || lane.home.publication(&publication, charge));
            }
            Frame::Undelivered { actor, why } => {
                let why = DeadLetterReason::Refused(refusal(why, lane));
                let to = format!("{}/{actor}", lane.peer);
                lane.home.dead_letter(DeadLetter::new(to, "?", 1, why));
            }
            Frame::Pause { actor } => {
                lane.holds.pause(actor).map_err(|_: TooManyPaused| LaneEnd::TooManyPaused)?;
            }
            Frame::Resume { actor } => lane.holds.resume(actor),
            Frame::BulkWanted => {
                lane.bulk.note_wanted();
            }
        }
        Ok(())
    }

    /// Takes a message's bytes from the peer's credit. A peer may overdraw by a frame for each of
    /// its threads, which may all have seen the last byte of room at once.
    fn receive(&mut self, bytes: usize) -> Result<(), LaneEnd> {
        let overdraft = 64 * self.lane.frame_bytes_max as u64;
        let granted = self.lane.inbound.granted();
        if self.accounts.received() > granted.saturating_add(overdraft) {
            return Err(LaneEnd::CreditExceeded);
        }
        self.accounts.receive(bytes as u64 + MESSAGE_COSTS_BYTES);
        Ok(())
    }

    /// False where the slot of one of them is in use for a later question already: the peer had given
    /// that one up before the message was written, and whoever asks the later one was quicker.
    fn open_asks(&self, asks: Asks<'_>) -> Result<bool, LaneEnd> {
        let mut all = true;
        for ask in asks {
            match self.lane.peers_asks.open(ask.correlation, ask.until()) {
                Ok(()) => {}
                Err(BadAsk::Stale) => all = false,
                Err(BadAsk::Slot | BadAsk::InUse) => {
                    return Err(LaneEnd::BadCorrelation(ask.correlation));
                }
            }
        }
        Ok(all)
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
        let delivered = hand_over(&self.lane, receiver, schema, payload, charge);
        if delivered.is_err() {
            self.last = None;
        }
        delivered
    }

    fn undelivered(&self, actor: u64, asks: Asks<'_>, why: Unanswered) {
        let lane = &self.lane;
        if asks.is_empty() {
            let bytes = encoded(&why);
            lane.exempt(|buffer| {
                frame::undelivered(buffer, actor, &bytes);
            });
        }
        for ask in asks {
            lane.send_refusal(ask.correlation, &why);
        }
        bury(lane, actor, why);
    }

    /// Whether something was written.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        if self.outlet.is_finished() {
            return Ok(false);
        }
        let lane = &self.lane;
        if lane.outbox.has_overflowed() {
            return Err(LaneEnd::Overfull);
        }
        if self.outlet.is_empty() {
            // With several questions under way, those who answer or ask next are likely about to
            // run: one yield lets their frames go out together. With one, it would only add delay.
            if lane.asks_in_flight() > 1 && !self.yielded && !lane.outbox.is_empty() {
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Ok(false);
            }
            self.yielded = false;
            if !lane.outbox.take(self.outlet.buffer(), cx.waker()) && lane.outbox.is_closed() {
                return self.finish(cx);
            }
        }
        let wrote = self.outlet.write(&mut self.stream, cx)?;
        if !self.outlet.is_empty() {
            lane.outbox.is_blocked(cx.waker());
            if lane.outbox.has_overflowed() {
                return Err(LaneEnd::Overfull);
            }
        }
        Ok(wrote)
    }

    /// The lane is closed and all is written.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        let peer_first = self.lane.lets_peer_end_first();
        self.outlet.finish(&mut self.stream, cx, peer_first, self.peer_done)?;
        Ok(false)
    }
}

/// The trace that a message goes on with.
pub(super) fn trace_of(lane: &DataLane, trace: Option<&[u8]>) -> Option<TraceContext> {
    // One that is not right is as none, as W3C has it.
    trace.filter(|_| lane.traces.is_some()).and_then(|trace| TraceContext::read(trace).ok())
}

/// Hands out what was published, as a part of the trace, if there is one.
pub(super) fn published<R>(trace: Option<TraceContext>, hand_out: impl FnOnce() -> R) -> R {
    match trace {
        None => hand_out(),
        Some(trace) => wire::published(trace, hand_out),
    }
}

/// Does it as a part of the trace, if there is one.
pub(super) fn traced<R>(trace: Option<TraceContext>, work: impl FnOnce() -> R) -> R {
    match trace {
        None => work(),
        Some(trace) => wire::traced(trace, work),
    }
}

/// A message for an actor came to nothing: says so here. Of one that came too late only its number is
/// of interest.
pub(super) fn bury(lane: &DataLane, actor: u64, why: Unanswered) {
    if why == Unanswered::Expired {
        metrics::counter!("umbel_questions_skipped_total", "peer" => lane.peer.clone())
            .increment(1);
        return;
    }
    let why = DeadLetterReason::Undeliverable(why);
    lane.home.dead_letter(DeadLetter::new(format!("actor {actor}"), "?", 1, why));
}

/// Puts a message into a mailbox.
pub(super) fn hand_over(
    lane: &DataLane,
    receiver: &Arc<dyn Deliver>,
    schema: u32,
    payload: &[u8],
    charge: Option<Charge>,
) -> Result<(), Unanswered> {
    DELIVERING.set(true);
    // A `Deserialize` that panics is the user's, and what made it panic is the peer's: neither may
    // end the lane.
    let delivered =
        catch_unwind(AssertUnwindSafe(|| receiver.deliver(payload, schema, lane.limits, charge)))
            .unwrap_or_else(|_| Err(panicked()));
    DELIVERING.set(false);
    delivered
}

/// Gives an answer to whoever asked.
pub(super) fn take_answer(lane: &DataLane, correlation: u64, asks: Asks<'_>, payload: &[u8]) {
    match lane.own_asks.close(correlation) {
        Some(pending) => {
            let answer = AssertUnwindSafe(|| pending.answer(payload, lane.limits));
            if catch_unwind(answer).is_err() {
                pending.fail(panicked());
            }
        }
        None => asks.for_each(|ask| lane.send_refusal(ask.correlation, &Unanswered::Dropped)),
    }
}

fn panicked() -> Unanswered {
    Unanswered::Undecodable("decoding it panicked".to_owned())
}

fn refusal(bytes: &[u8], lane: &DataLane) -> Unanswered {
    codec::decode(bytes, lane.limits)
        .unwrap_or_else(|why| Unanswered::Undecodable(format!("the refusal itself: {why}")))
}
