//! The task that drives a data lane's stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};
use umbel_actors::wire::{self, Charge, Deliver, Unanswered, Wire};
use umbel_actors::{DeadLetter, DeadLetterReason};

use super::asks::BadAsk;
use super::bulk::Disorder;
use super::data::{DataLane, encoded};
use super::delivery::{bury, hand_over, published, refusal, take_answer, trace_of, traced};
use super::frame::{self, Asks, Frame, FrameError, LENGTH_BYTES};
use super::holds::{PAUSED_MAX, TooManyPaused};
use super::home::Publication;
use super::inbound::Accounts;
use super::outbox::MESSAGE_COSTS_BYTES;
use super::outlet::Outlet;
use super::run::Run;
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
pub(super) const READ_BYTES: usize = 64 * 1024;

/// A lane's task that has read so much lets others run: tokio keeps the actor that it woke for the same
/// thread, and offers other threads only what goes to the back of the line, as this task then does. Where it
/// read on, one thread did all that a node has to do while others slept (a fifth of the rate at 1 KiB).
pub(super) const READ_AT_ONCE_BYTES: usize = 256 * 1024;

/// How often a lane's task reads or writes before it lets others run.
const TURNS_MAX: usize = 64;

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
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
        let mut all_read = 0;
        for _ in 0..TURNS_MAX {
            let read = match self.read(cx) {
                Ok(read) => read,
                Err(end) => return Poll::Ready(end),
            };
            let wrote = match self.write(cx) {
                Ok(wrote) => wrote,
                Err(end) => return Poll::Ready(end),
            };
            if read == 0 && !wrote {
                return Poll::Pending;
            }
            all_read += read;
            if all_read >= READ_AT_ONCE_BYTES {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// How many bytes were read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, LaneEnd> {
        if self.peer_done {
            return Ok(0);
        }
        let mut space = ReadBuf::new(&mut self.input[self.filled..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
            Poll::Pending => Ok(0),
            Poll::Ready(Err(why)) => Err(LaneEnd::Broken(why)),
            Poll::Ready(Ok(())) => {
                let bytes = space.filled().len();
                if bytes == 0 {
                    self.nothing_more_comes()?;
                } else {
                    self.filled += bytes;
                    self.take_frames()?;
                }
                Ok(bytes)
            }
        }
    }

    fn nothing_more_comes(&mut self) -> Result<(), LaneEnd> {
        if !self.lane.outbox.is_closed() {
            return Err(LaneEnd::ClosedByPeer);
        }
        if self.outlet.is_finished() {
            return Err(LaneEnd::Closed);
        }
        self.peer_done = true;
        Ok(())
    }

    fn take_frames(&mut self) -> Result<(), LaneEnd> {
        let input = std::mem::take(&mut self.input);
        let wire = self.wire.clone();
        let mut taken = 0;
        let mut wanted = READ_BYTES;
        let result = wire::scope(&wire, || {
            let mut run = None;
            let all = loop {
                match self.first_frame(&input[taken..self.filled], &mut wanted) {
                    Ok(None) => break Ok(()),
                    Err(end) => break Err(end),
                    Ok(Some((frame, whole))) => {
                        taken += whole;
                        if let Err(end) = self.handle(frame, whole, &mut run) {
                            break Err(end);
                        }
                    }
                }
            };
            // Whatever comes then, these have come.
            self.deliver_run(run);
            all
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

    /// Handles a frame that lies behind `run` in the buffer. A message that goes on with it is delivered
    /// later; anything else ends it.
    fn handle<'a>(
        &mut self,
        frame: Frame<'a>,
        bytes: usize,
        run: &mut Option<Run<'a>>,
    ) -> Result<(), LaneEnd> {
        if let Frame::Message { actor, schema, asks, trace, payload } = frame
            && asks.is_empty()
            && (trace.is_none() || self.lane.traces.is_none())
        {
            let charged = self.receive(bytes)?;
            if !run.as_ref().is_some_and(|run| run.is_for(actor, schema)) {
                self.deliver_run(run.take());
            }
            let going_on = run.get_or_insert_with(|| Run::new(actor, schema));
            going_on.push(payload, charged);
            if going_on.is_full() {
                self.deliver_run(run.take());
            }
            return Ok(());
        }
        self.deliver_run(run.take());
        // Not a clone of the `Arc`: that would be two atomic operations a frame.
        let lane = &self.lane;
        match frame {
            Frame::Message { actor, schema, asks, trace, payload } => {
                let charged = self.receive(bytes)?;
                let outdated = !self.open_asks(asks)?;
                let charge = self.accounts.charge(actor, charged);
                let delivered = if asks.are_late() {
                    Err(Unanswered::Expired)
                } else if outdated {
                    Err(Unanswered::Dropped)
                } else {
                    let trace = trace_of(&self.lane, trace);
                    let deliver = || self.deliver(actor, schema, &[payload], charge);
                    traced(trace, deliver).pop().map_or(Ok(()), Err)
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
                let charged = self.receive(bytes)?;
                let charge = Charge::new(self.lane.inbound.clone(), charged);
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

    /// Takes a message's bytes, which it returns, from the peer's credit. A peer may overdraw by a frame for
    /// each of its threads, which may all have seen the last byte of room at once.
    fn receive(&mut self, bytes: usize) -> Result<u32, LaneEnd> {
        let overdraft = 64 * self.lane.frame_bytes_max as u64;
        let granted = self.lane.inbound.granted();
        if self.accounts.received() > granted.saturating_add(overdraft) {
            return Err(LaneEnd::CreditExceeded);
        }
        let charged = bytes as u64 + MESSAGE_COSTS_BYTES;
        self.accounts.receive(charged);
        Ok(charged as u32)
    }

    fn deliver_run(&mut self, run: Option<Run<'_>>) {
        let Some(Run { actor, schema, payloads, charged }) = run else { return };
        let charge = self.accounts.charge(actor, charged);
        for why in self.deliver(actor, schema, &payloads, charge) {
            self.undelivered(actor, Asks::default(), why);
        }
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

    /// Puts messages into the mailbox of an actor. Says of each that does not get there why.
    fn deliver(
        &mut self,
        actor: u64,
        schema: u32,
        payloads: &[&[u8]],
        charge: Charge,
    ) -> Vec<Unanswered> {
        let receiver = match &self.last {
            Some((id, receiver)) if *id == actor => receiver,
            _ => {
                let Some(receiver) = self.lane.home.actor(actor) else {
                    return vec![Unanswered::NoSuchActor; payloads.len()];
                };
                &self.last.insert((actor, receiver)).1
            }
        };
        let undelivered = hand_over(&self.lane, receiver, schema, payloads, charge);
        if !undelivered.is_empty() {
            self.last = None;
        }
        undelivered
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
