use std::future::poll_fn;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use umbel_actors::codec::{self, Limits};
use umbel_actors::wire::Unanswered;

use super::super::data::tests::{Bench, KEEPER, NOBODY, SCHEMA, message, raw, usual};
use super::super::driver::{LaneEnd, READ_AT_ONCE_BYTES, READ_BYTES};
use super::super::frame::{self, Frame, FrameError};
use super::*;

/// The places of the messages that carry a charge, among those that arrived.
fn charged(bench: &Bench) -> Vec<usize> {
    let kept = bench.yard.keeper.0.lock();
    let charged = kept.iter().enumerate().filter(|(_, kept)| kept.charge.is_some());
    charged.map(|(place, _)| place).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_message_of_a_run_carries_what_the_run_owes() {
    let mut bench = usual();
    let small = message(KEEPER, 1, &[]);
    bench.send(&[small.repeat(10), message(NOBODY, 1, &[]), small.repeat(3)].concat()).await;
    assert_eq!(charged(&bench), [9, 12]);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_it_owes_enough() {
    let mut bench = usual();
    let small = message(KEEPER, 1, &[]);
    bench.send(&small.repeat(120)).await;
    let each = small.len() as u64 + MESSAGE_COSTS_BYTES;
    let most = CHARGED_BYTES.div_ceil(each) as usize;
    assert_eq!(charged(&bench), [most - 1, 2 * most - 1, 119]);
}

#[tokio::test(start_paused = true)]
async fn what_asks_and_what_does_not_arrive_in_the_order_in_which_they_were_sent() {
    let mut bench = usual();
    let lengths = [1, 2, 3, 4, 5];
    let frames = lengths.map(|length| message(KEEPER, length, &[length as u64][..length % 2]));
    bench.send(&frames.concat()).await;
    assert_eq!(bench.yard.keeper.lengths(), lengths);
    assert_eq!(bench.lane.asks_in_flight(), 3);
}

#[tokio::test(start_paused = true)]
async fn another_schema_ends_a_run() {
    let mut bench = usual();
    let good = message(KEEPER, 1, &[]);
    let mut other = Vec::new();
    frame::message(&mut other, KEEPER, SCHEMA + 1, frame::Header::default(), &[0, 0]);
    bench.send(&[&good[..], &other, &good, &good].concat()).await;
    assert_eq!(bench.yard.keeper.lengths(), [1, 1, 1]);
    let body = bench.reply().await.unwrap();
    assert!(matches!(Frame::read(&body), Ok(Frame::Undelivered { actor: KEEPER, .. })));
    assert_eq!(bench.reply().await, None);
}

#[tokio::test(start_paused = true)]
async fn of_a_run_each_that_does_not_arrive_is_told_of() {
    let mut bench = usual();
    let good = message(KEEPER, 1, &[]);
    let bad = raw(&good[4..good.len() - 1]);
    let nobody = message(NOBODY, 1, &[]);
    let run = [&good, &bad, &good, &bad, &nobody, &nobody, &good].map(Vec::as_slice).concat();
    bench.send(&run).await;
    assert_eq!(bench.yard.keeper.bytes(), 3);
    for undelivered in [KEEPER, KEEPER, NOBODY, NOBODY] {
        let body = bench.reply().await.unwrap();
        let Ok(Frame::Undelivered { actor, why }) = Frame::read(&body) else { panic!("{body:?}") };
        assert_eq!(actor, undelivered);
        let why = codec::decode(why, Limits::default()).unwrap();
        match actor {
            KEEPER => assert!(matches!(why, Unanswered::Undecodable(_)), "{why:?}"),
            _ => assert_eq!(why, Unanswered::NoSuchActor),
        }
    }
    assert_eq!(bench.reply().await, None);
    assert_eq!(bench.yard.letters.lock().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_good_before_a_hostile_frame_is_still_delivered() {
    let mut bench = usual();
    let bytes = [message(KEEPER, 10, &[]), message(KEEPER, 20, &[]), raw(&[99])].concat();
    bench.send(&bytes).await;
    assert_eq!(bench.yard.keeper.bytes(), 30);
    assert!(matches!(bench.end().await, LaneEnd::Malformed(FrameError::UnknownKind(99))));
}

#[tokio::test]
async fn a_lane_that_has_much_to_read_lets_others_run() {
    let mut bench = usual();
    let (message, keeper) = (message(KEEPER, 10_000, &[]), bench.yard.keeper.clone());
    let all = 90 * 10_000;
    let mut seen = vec![0];
    // Takes turns with the lane's task.
    let turns = tokio::spawn(poll_fn(move |cx| {
        seen.push(keeper.bytes());
        assert!(seen.len() < 10_000, "it does not end");
        if seen.last() == Some(&all) {
            return Poll::Ready(std::mem::take(&mut seen));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    bench.writing.write_all(&message.repeat(90)).await.expect("there is room for all");
    let seen = turns.await.unwrap();
    let most = seen.windows(2).map(|turn| turn[1] - turn[0]).max();
    assert!(most <= Some(READ_AT_ONCE_BYTES + READ_BYTES), "{most:?}");
}
