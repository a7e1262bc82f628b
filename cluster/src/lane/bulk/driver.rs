//! The task that drives a bulk lane's stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use umbel_actors::codec;
use umbel_actors::wire::{Unanswered, Wire};

use super::super::data::{DataLane, encoded};
use super::super::driver::LaneEnd;
use super::super::frame::{self, LENGTH_BYTES};
use super::super::outlet::Outlet;
use super::delivery;
use super::incoming::{Arriving, Begin, Begun, Disorder, Incoming, STALL};
use super::part::{CHUNK_BYTES, PART_BYTES_MAX, Part};
use crate::transport::ByteStream;

/// What only the lane's task touches.
pub(super) struct Driver {
    lane: Arc<DataLane>,
    wire: Arc<dyn Wire>,
    stream: Box<dyn ByteStream>,
    /// Initialised throughout, as tokio-rustls would otherwise zero it at each read.
    input: Vec<u8>,
    filled: usize,
    outlet: Outlet,
    /// The peer has written all.
    peer_done: bool,
    incoming: Incoming,
    /// Whole, and waiting for what was sent before them over the data lane.
    ready: VecDeque<(u64, Arriving)>,
    /// When to look for what stalls.
    look: Option<Pin<Box<Sleep>>>,
    has_limit: bool,
}

/// How often the task reads or writes before it lets others run: a quarter of a megabyte, which is
/// some 0.2 ms where it shares its thread with them.
const TURNS_MAX: usize = 16;

impl Driver {
    pub(super) fn new(lane: Arc<DataLane>, stream: Box<dyn ByteStream>, has_limit: bool) -> Self {
        let bulk = &lane.bulk;
        let incoming = Incoming::new(bulk.bytes_max, bulk.messages.clone(), bulk.answers.clone());
        Self {
            wire: lane.clone(),
            incoming,
            lane,
            stream,
            input: vec![0; LENGTH_BYTES + PART_BYTES_MAX],
            filled: 0,
            outlet: Outlet::new(CHUNK_BYTES + 64),
            peer_done: false,
            ready: VecDeque::new(),
            look: None,
            has_limit,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LaneEnd> {
        for _ in 0..TURNS_MAX {
            let turn = self.read(cx).and_then(|read| {
                self.deliver_ready(cx);
                Ok(read | self.write(cx)?)
            });
            match turn {
                Err(end) => return Poll::Ready(end),
                Ok(true) => {}
                Ok(false) if self.look_for_stalls(cx) => {}
                Ok(false) => return Poll::Pending,
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
                if bytes > 0 {
                    self.filled += bytes;
                    return self.take_parts().map(|()| true);
                }
                if !self.lane.bulk.state.lock().closed {
                    return Err(LaneEnd::ClosedByPeer);
                }
                if self.outlet.is_finished() {
                    return Err(LaneEnd::Closed);
                }
                self.peer_done = true;
                Ok(false)
            }
        }
    }

    fn take_parts(&mut self) -> Result<(), LaneEnd> {
        let input = std::mem::take(&mut self.input);
        let (mut taken, mut result) = (0, Ok(()));
        while result.is_ok() {
            let rest = &input[taken..self.filled];
            let length = match frame::first_length(rest, PART_BYTES_MAX) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(why) => {
                    result = Err(LaneEnd::Malformed(why));
                    break;
                }
            };
            let Some(body) = rest.get(LENGTH_BYTES..LENGTH_BYTES + length) else { break };
            taken += LENGTH_BYTES + length;
            result = Part::read(body)
                .map_err(LaneEnd::Malformed)
                .and_then(|part| self.take(part).map_err(LaneEnd::Disorder));
        }
        self.input = input;
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        result?;
        if self.lane.bulk.state.lock().overfull { Err(LaneEnd::Overfull) } else { Ok(()) }
    }

    fn take(&mut self, part: Part<'_>) -> Result<(), Disorder> {
        let bulk = &self.lane.bulk;
        match part {
            Part::Begin { id, length, after, head } => {
                let begin = Begin { id, length, after, head };
                let begun = self.incoming.begin(&begin, Instant::now())?;
                let wanted = match begun {
                    Begun::Welcome => delivery::is_wanted(&self.lane, head),
                    Begun::TooLarge => Err(too_large(length, bulk.bytes_max)),
                };
                if let Err(why) = wanted {
                    self.incoming.drop_one(id)?;
                    self.refuse(id, head, &why);
                }
            }
            Part::Chunk { id, offset, bytes } => {
                let now = Instant::now();
                if let Some(whole) = self.incoming.chunk(id, offset, bytes, now)? {
                    self.ready.push_back((id, whole));
                } else if let Some(head) = self.incoming.head(id)
                    && let Err(why) = delivery::is_wanted(&self.lane, head)
                    && let Some(dropped) = self.incoming.drop_one(id)?
                {
                    self.refuse(id, &dropped.head, &why);
                }
            }
            Part::Abort { id } => drop(self.incoming.drop_one(id)?),
            Part::Delivered { id } => bulk.finished(id, None),
            Part::Refused { id, why } => {
                let why = codec::decode(why, self.lane.limits).unwrap_or_else(|why| {
                    Unanswered::Undecodable(format!("the refusal itself: {why}"))
                });
                bulk.finished(id, Some(why));
            }
            Part::Credit { account, granted } => bulk.grant(account, granted),
            Part::Limit { bytes } => {
                if std::mem::replace(&mut self.has_limit, true) {
                    return Err(Disorder::Limit);
                }
                bulk.limit(bytes);
            }
        }
        Ok(())
    }

    /// Delivers what is whole, as soon as all is delivered that was sent before it.
    fn deliver_ready(&mut self, cx: &Context<'_>) {
        for _ in 0..self.ready.len() {
            let (id, whole) = self.ready.pop_front().expect("they were counted just now");
            if self.lane.inbound.awaits(whole.after, cx.waker()) {
                self.ready.push_back((id, whole));
                continue;
            }
            let Arriving { head, payload, begun, charge, .. } = whole;
            match delivery::deliver(&self.lane, &self.wire, &head, &payload, begun, charge) {
                Ok(()) => self.lane.bulk.reply(&Part::Delivered { id }),
                Err(why) => self.refuse(id, &head, &why),
            }
        }
    }

    fn refuse(&self, id: u64, head: &[u8], why: &Unanswered) {
        delivery::bury(&self.lane, head, why);
        self.lane.bulk.reply(&Part::Refused { id, why: &encoded(why) });
    }

    /// Gives up what stalls. True where there was something.
    fn look_for_stalls(&mut self, cx: &mut Context<'_>) -> bool {
        if self.incoming.is_empty() && self.ready.is_empty() {
            self.look = None;
            return false;
        }
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(STALL)));
        if look.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.look = None;
        let Some(since) = Instant::now().checked_sub(STALL) else { return true };
        let mut stalled = self.incoming.stalled(since);
        // What waits for messages that never come, because its sender lies, is no better.
        let (late, waiting) =
            std::mem::take(&mut self.ready).into_iter().partition(|(_, one)| one.heard <= since);
        self.ready = waiting;
        stalled.extend::<VecDeque<_>>(late);
        for (id, Arriving { head, payload, length, .. }) in stalled {
            let arrived = payload.len();
            let why = format!("{arrived} of its {length} bytes had come, and no more in {STALL:?}");
            self.refuse(id, &head, &Unanswered::Undecodable(why));
        }
        true
    }

    /// Whether something was written.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        if self.outlet.is_finished() {
            return Ok(false);
        }
        if self.outlet.is_empty() {
            let mut state = self.lane.bulk.state.lock();
            if !state.outgoing.write(self.outlet.buffer()) {
                match &mut state.waker {
                    Some(kept) => kept.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                let closed = state.closed && (self.peer_done || state.outgoing.is_idle());
                drop(state);
                return if closed {
                    self.finish(cx)
                } else {
                    self.outlet.flush(&mut self.stream, cx).map(|()| false)
                };
            }
        }
        self.outlet.write(&mut self.stream, cx)
    }

    /// The lane is closed, all is written, and it is known what became of it.
    fn finish(&mut self, cx: &mut Context<'_>) -> Result<bool, LaneEnd> {
        let peer_first = self.lane.bulk.lets_peer_end_first.load(Ordering::Acquire);
        self.outlet.finish(&mut self.stream, cx, peer_first, self.peer_done)?;
        Ok(false)
    }
}

fn too_large(length: u64, bytes_max: usize) -> Unanswered {
    Unanswered::Undecodable(format!("it has {length} bytes, where at most {bytes_max} are taken"))
}
