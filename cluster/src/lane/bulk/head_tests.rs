//! What the head of a large message says besides whom it is for.

use std::time::Duration;

use umbel_actors::wire::{Encode, Wire};

use super::super::data::tests::{A_WHILE, Asked, KEEPER, SCHEMA};
use super::super::frame::{self, Frame, Header};
use super::tests::{Bench, begin, chunk, message};
use super::*;

/// As [`message`], with a question whose asker waits so long when it is written.
fn question(ask: u64, remaining: Duration) -> (Vec<u8>, Vec<u8>) {
    let (mut fields, mut head) = (Vec::new(), Vec::new());
    frame::put_deadlines(&mut fields, [Some(remaining)].into_iter());
    let header = Header { asks: &[ask], fields: &fields };
    frame::message(&mut head, KEEPER, SCHEMA, header, &[]);
    (head.split_off(frame::LENGTH_BYTES), message(KEEPER, 5000, &[ask]).1)
}

#[tokio::test(start_paused = true)]
async fn a_large_question_that_is_too_late_is_refused_and_is_nobodys_dead_letter() {
    let mut bench = Bench::new();
    // Before a byte of it has come.
    let (head, payload) = question(3, Duration::ZERO);
    bench.send(&[begin(1, payload.len(), &head)]).await;
    assert_eq!(bench.refusal().await, (1, Unanswered::Expired));
    // On its way here: the time counts from when it began.
    let (head, payload) = question(3, Duration::from_secs(2));
    bench.send(&[begin(2, payload.len(), &head), chunk(2, 0, &payload[..1000])]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    bench.send(&[chunk(2, 1000, &payload[1000..])]).await;
    assert_eq!(bench.refusal().await, (2, Unanswered::Expired));
    assert_eq!((bench.yard.keeper.bytes(), bench.lane.asks_in_flight()), (0, 0));
    assert!(bench.yard.letters.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_large_question_counts_from_when_it_began() {
    let mut bench = Bench::new();
    let (head, payload) = question(3, Duration::from_secs(8));
    bench.send(&[begin(1, payload.len(), &head), chunk(1, 0, &payload[..1000])]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    bench.send(&[chunk(1, 1000, &payload[1000..])]).await;
    let reply = bench.yard.keeper.replies().pop().unwrap();
    let remaining = reply.remaining().unwrap();
    assert!((4..=5).contains(&remaining.as_secs()), "{remaining:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_question_says_how_long_its_asker_waits() {
    let mut bench = Bench::new();
    bench.grant(WINDOW_BYTES).await;
    let asked = Arc::new(Asked::until(tokio::time::Instant::now() + A_WHILE));
    let wire: Arc<dyn Wire> = bench.lane.clone();
    let mut encode: Encode<'_> = &mut |buffer, _| {
        wire.expect_answer(asked.clone()).expect("there is room");
        buffer.resize(5000, 7);
        Ok(())
    };
    bench.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode).unwrap();
    let body = bench.next().await.unwrap();
    let Ok(Part::Begin { head, .. }) = Part::read(&body) else { panic!("{body:?}") };
    let Ok(Frame::Message { mut asks, .. }) = Frame::read(head) else { panic!("{head:?}") };
    assert_eq!(asks.next().unwrap().remaining, Some(A_WHILE));
}

#[tokio::test(start_paused = true)]
async fn a_large_publication_gives_its_credit_back_when_its_subscribers_have_let_go_of_it() {
    let mut bench = Bench::new();
    let mut head = Vec::new();
    frame::publication(&mut head, "news", SCHEMA, &[], &[]);
    let head = head.split_off(frame::LENGTH_BYTES);
    let payload = vec![0; 5000];
    bench.send(&[begin(1, payload.len(), &head), chunk(1, 0, &payload)]).await;
    assert_eq!(bench.granted(), WINDOW_BYTES);
    assert_eq!(bench.yard.published.lock().drain(..).count(), 1);
    assert_eq!(bench.granted(), WINDOW_BYTES + CHARGE_LEAST);
}
