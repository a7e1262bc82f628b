//! What becomes of a large message that is all there.

use std::sync::Arc;

use tokio::time::Instant;
use umbel_actors::wire::{self, Charge, Unanswered, Wire};

use super::super::asks::BadAsk;
use super::super::data::DataLane;
use super::super::delivery;
use super::super::frame::{Ask, Asks, Frame};
use super::super::home::Publication;

/// Whether anyone here wants what has this head; else why not. Asked before a byte of it has come,
/// and again with each chunk of an answer.
pub(super) fn is_wanted(lane: &DataLane, head: &[u8]) -> Result<(), Unanswered> {
    match Frame::read(head) {
        Ok(Frame::Message { actor, .. }) if lane.home.actor(actor).is_none() => {
            Err(Unanswered::NoSuchActor)
        }
        Ok(Frame::Message { asks, .. }) if asks.are_late() => Err(Unanswered::Expired),
        Ok(Frame::Answer { correlation, .. }) if !lane.own_asks.is_open(correlation) => {
            Err(Unanswered::Dropped)
        }
        _ => Ok(()),
    }
}

/// Hands a large message to whom it is for. It is gone through here by the code of the data lane, as
/// if it had come in one frame; but what its askers still waited is counted from when it began.
pub(super) fn deliver(
    lane: &DataLane,
    wire: &Arc<dyn Wire>,
    head: &[u8],
    payload: &[u8],
    begun: Instant,
    charge: Charge,
) -> Result<(), Unanswered> {
    let frame = Frame::read(head).ok().and_then(|frame| frame.with_payload(payload));
    let until = |ask: &Ask| ask.until_from(begun);
    let frame = frame.expect("the head was read when the message began");
    wire::scope(wire, || match frame {
        Frame::Message { actor, schema, asks, trace, payload } => {
            let receiver = lane.home.actor(actor).ok_or(Unanswered::NoSuchActor)?;
            let (mut waits, now) = (asks, Instant::now());
            if !asks.is_empty() && waits.all(|ask| until(&ask).is_some_and(|until| until <= now)) {
                return Err(Unanswered::Expired);
            }
            open_asks(lane, asks, until)?;
            let deliver = || delivery::hand_over(lane, &receiver, schema, &[payload], charge);
            let undelivered = delivery::traced(delivery::trace_of(lane, trace), deliver).pop();
            undelivered.map_or(Ok(()), Err).inspect_err(|_| {
                // Its sender is told by a part of this lane, and fails them.
                asks.for_each(|ask| {
                    lane.peers_asks.close(ask.correlation);
                });
            })
        }
        Frame::Answer { correlation, asks, payload, .. } => {
            open_asks(lane, asks, until)?;
            delivery::take_answer(lane, correlation, asks, payload);
            drop(charge);
            Ok(())
        }
        Frame::Publication { topic, schema, trace, payload } => {
            let publication = Publication { topic, schema, payload, limits: lane.limits };
            let hand_out = || lane.home.publication(&publication, charge);
            delivery::published(delivery::trace_of(lane, trace), hand_out);
            Ok(())
        }
        _ => unreachable!("no other frame has a payload"),
    })
}

/// Opens the questions. Where the peer uses the slot of one for another one already, it has given
/// this one up.
fn open_asks(
    lane: &DataLane,
    asks: Asks<'_>,
    until: impl Fn(&Ask) -> Option<Instant>,
) -> Result<(), Unanswered> {
    for (place, ask) in asks.enumerate() {
        let opened = lane.peers_asks.open(ask.correlation, until(&ask));
        if let Err(BadAsk::Slot | BadAsk::InUse | BadAsk::Stale) = opened {
            for opened in asks.take(place) {
                lane.peers_asks.close(opened.correlation);
            }
            return Err(Unanswered::Dropped);
        }
    }
    Ok(())
}

/// What has come of a large message, or all of it, is of no use: says so here, where it was for an
/// actor.
pub(super) fn bury(lane: &DataLane, head: &[u8], why: &Unanswered) {
    match Frame::read(head) {
        Ok(Frame::Message { actor, .. }) => delivery::bury(lane, actor, why.clone()),
        Ok(Frame::Answer { correlation, .. }) => {
            if let Some(pending) = lane.own_asks.close(correlation) {
                pending.fail(Unanswered::Unencodable(why.to_string()));
            }
        }
        _ => {}
    }
}
