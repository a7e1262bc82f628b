//! What becomes of a message that has come over a link.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use umbel_actors::codec;
use umbel_actors::wire::{self, Charge, Deliver, Unanswered};
use umbel_actors::{DeadLetter, DeadLetterReason, TraceContext};

use super::data::DataLane;
use super::frame::Asks;

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

/// Puts messages into a mailbox. Says of each that does not get there why.
pub(super) fn hand_over(
    lane: &DataLane,
    receiver: &Arc<dyn Deliver>,
    schema: u32,
    payloads: &[&[u8]],
    charge: Charge,
) -> Vec<Unanswered> {
    /// However it ends.
    struct Delivered;
    impl Drop for Delivered {
        fn drop(&mut self) {
            DELIVERING.set(false);
        }
    }
    DELIVERING.set(true);
    let _delivered = Delivered;
    receiver.deliver(payloads, schema, lane.limits, charge)
}

/// Gives an answer to whoever asked.
pub(super) fn take_answer(lane: &DataLane, correlation: u64, asks: Asks<'_>, payload: &[u8]) {
    match lane.own_asks.close(correlation) {
        Some(pending) => {
            let answer = AssertUnwindSafe(|| pending.answer(payload, lane.limits));
            if catch_unwind(answer).is_err() {
                pending.fail(Unanswered::panicked());
            }
        }
        None => asks.for_each(|ask| lane.send_refusal(ask.correlation, &Unanswered::Dropped)),
    }
}

pub(super) fn refusal(bytes: &[u8], lane: &DataLane) -> Unanswered {
    codec::decode(bytes, lane.limits)
        .unwrap_or_else(|why| Unanswered::Undecodable(format!("the refusal itself: {why}")))
}
