//! A bulk lane against a peer that is written by hand, which has the data lane's other end as well.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use umbel_actors::codec::{self, Limits};
use umbel_actors::wire::{Encode, Wire};

use super::super::data::LaneBounds;
use super::super::data::tests::{A_WHILE, Asked, KEEPER, NOBODY, SCHEMA, Yard};
use super::super::frame::{self, Frame, FrameError};
use super::part::{CHUNK_BYTES, PART_BYTES_MAX};
use super::*;

const MESSAGE_BYTES_MAX: usize = 4 << 20;

pub(super) struct Bench {
    pub(super) lane: Arc<DataLane>,
    pub(super) yard: Arc<Yard>,
    end: JoinHandle<LaneEnd>,
    _data_end: JoinHandle<LaneEnd>,
    peer: DuplexStream,
    data: DuplexStream,
}

impl Bench {
    pub(super) fn new() -> Self {
        let yard = Arc::new(Yard::default());
        let bounds = LaneBounds {
            frame_bytes_max: frame::FRAME_BYTES_MAX,
            bulk_bytes_min: 1000,
            message_bytes_max: MESSAGE_BYTES_MAX,
            backlog_bytes_max: LaneBounds::BACKLOG_BYTES_MAX,
        };
        let lane = DataLane::new(yard.clone(), "b".into(), &bounds);
        let ((ours, peer), (our_data, data)) =
            (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
        let end = tokio::spawn(Bulk::run(lane.clone(), Box::new(ours), None));
        let _data_end = tokio::spawn(lane.clone().run(Box::new(our_data)));
        Self { lane, yard, end, _data_end, peer, data }
    }

    /// Sends, and lets the lane do all that it has to do about it.
    pub(super) async fn send(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            let mut bytes = Vec::new();
            part.write(&mut bytes);
            self.peer.write_all(&bytes).await.expect("the lane reads");
        }
        settle().await;
    }

    pub(super) async fn grant(&mut self, granted: u64) {
        let account = |account| Part::Credit { account, granted };
        self.send(&[account(Account::Messages), account(Account::Answers)]).await;
        let mut credit = Vec::new();
        frame::credit(&mut credit, 1 << 20);
        self.data.write_all(&credit).await.unwrap();
        settle().await;
    }

    /// The body of the next frame that is about a message; `None` where none comes soon.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let body = frame_of(&mut self.peer).await?;
            let part = Part::read(&body).unwrap();
            if !matches!(part, Part::Credit { .. } | Part::Limit { .. }) {
                return Some(body);
            }
        }
    }

    pub(super) async fn refusal(&mut self) -> (u64, Unanswered) {
        let body = self.next().await.expect("it is refused");
        let Ok(Part::Refused { id, why }) = Part::read(&body) else { panic!("{body:?}") };
        (id, codec::decode(why, Limits::default()).unwrap())
    }

    /// How many bytes of messages the lane has granted.
    pub(super) fn granted(&self) -> u64 {
        self.lane.bulk.messages.granted()
    }

    fn tell(&self, bytes: usize) -> Result<(), RouteError> {
        tell(&self.lane, KEEPER, bytes)
    }

    fn ask(&self, bytes: usize) -> Result<Arc<Asked>, RouteError> {
        let asked = Arc::new(Asked::default());
        let wire: Arc<dyn Wire> = self.lane.clone();
        let mut encode: Encode<'_> = &mut |buffer, _| {
            wire.expect_answer(asked.clone()).expect("there is room");
            buffer.resize(bytes, 7);
            Ok(())
        };
        self.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode)?;
        Ok(asked)
    }
}

fn tell(lane: &Arc<DataLane>, actor: u64, bytes: usize) -> Result<(), RouteError> {
    let mut encode: Encode<'_> = &mut |buffer, _| {
        buffer.resize(bytes, 7);
        Ok(())
    };
    let wire: Arc<dyn Wire> = lane.clone();
    lane.try_send(&wire, actor, SCHEMA, &mut encode)
}

/// The lane does what there is to do; no time passes that would make anything stall.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn frame_of(stream: &mut DuplexStream) -> Option<Vec<u8>> {
    let reading = async {
        let length = stream.read_u32_le().await.expect("the lane is open");
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.expect("the lane is open");
        body
    };
    timeout(Duration::from_millis(10), reading).await.ok()
}

/// The head of a message, and a payload of about so many bytes.
pub(super) fn message(actor: u64, bytes: usize, asks: &[u64]) -> (Vec<u8>, Vec<u8>) {
    let mut head = Vec::new();
    frame::message(&mut head, actor, SCHEMA, asks, &[]);
    let mut payload = Vec::new();
    codec::encode(&(vec![0_u8; bytes], asks), &mut payload, 1 << 24).unwrap();
    (head.split_off(frame::LENGTH_BYTES), payload)
}

pub(super) fn begin(id: u64, length: usize, head: &[u8]) -> Part<'_> {
    Part::Begin { id, length: length as u64, after: 0, head }
}

pub(super) fn chunk(id: u64, offset: usize, bytes: &[u8]) -> Part<'_> {
    Part::Chunk { id, offset: offset as u64, bytes }
}

#[tokio::test(start_paused = true)]
async fn parts_that_do_not_fit_together_end_the_lane_and_say_why() {
    let (head, payload) = message(KEEPER, 5000, &[]);
    let length = payload.len();
    let mut credit = Vec::new();
    frame::credit(&mut credit, 1);
    let begun = begin(1, length, &head);
    let late = chunk(1, 2000, &payload[2000..3000]);
    let early = chunk(1, 500, &payload[500..1500]);
    let first = chunk(1, 0, &payload[..1000]);
    let long = [&payload[1000..], &[0]].concat();
    let latest = begin(7, length, &head);
    let full = [&head[..], b"x"].concat();
    let cases: Vec<(Vec<Part<'_>>, Disorder)> = vec![
        (vec![first], Disorder::NotBegun(1)),
        (vec![Part::Abort { id: 1 }], Disorder::NotBegun(1)),
        // Out of order, and overlapping.
        (vec![begun, late], Disorder::Offset { offset: 2000, arrived: 0 }),
        (vec![begun, first, early], Disorder::Offset { offset: 500, arrived: 1000 }),
        (vec![begun, first, chunk(1, 1000, &long)], Disorder::TooLong { length }),
        (vec![begun, chunk(1, 0, &[])], Disorder::Empty),
        (vec![begun, begun], Disorder::Number { id: 1, latest: 1 }),
        (vec![latest, begun], Disorder::Number { id: 1, latest: 7 }),
        (vec![begin(1, length, &credit[frame::LENGTH_BYTES..])], Disorder::Head),
        (vec![begin(1, length, b"\x63")], Disorder::Head),
        // A head that has a payload of its own.
        (vec![begin(1, length, &full)], Disorder::Head),
        (vec![Part::Limit { bytes: 1 }, Part::Limit { bytes: 1 }], Disorder::Limit),
    ];
    for (parts, why) in cases {
        let mut bench = Bench::new();
        bench.send(&parts).await;
        let end = timeout(A_WHILE, bench.end).await.unwrap().unwrap();
        assert!(matches!(&end, LaneEnd::Disorder(found) if *found == why), "{end:?} not {why:?}");
        assert_eq!(bench.yard.keeper.bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_none_ends_the_lane() {
    let too_large = FrameError::TooLarge { bytes: PART_BYTES_MAX + 1, bytes_max: PART_BYTES_MAX };
    let cases = [
        (((PART_BYTES_MAX + 1) as u32).to_le_bytes().to_vec(), too_large),
        (vec![1, 0, 0, 0, 99], FrameError::UnknownKind(99)),
        (vec![0; 4], FrameError::Truncated),
        (vec![2, 0, 0, 0, 2, 0xff], FrameError::Truncated),
        (vec![2, 0, 0, 0, 6, 2], FrameError::UnknownFlags(2)),
    ];
    for (bytes, why) in cases {
        let mut bench = Bench::new();
        bench.peer.write_all(&bytes).await.unwrap();
        let end = timeout(A_WHILE, bench.end).await.unwrap().unwrap();
        assert!(matches!(&end, LaneEnd::Malformed(found) if *found == why), "{end:?} not {why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_at_once_than_there_is_credit_for_ends_the_lane() {
    let (head, _) = message(KEEPER, 0, &[]);
    let mut bench = Bench::new();
    // 64 are allowed, however small.
    for id in 1..=64 {
        bench.send(&[begin(id, 10, &head)]).await;
    }
    assert!(!bench.end.is_finished());
    bench.send(&[begin(65, 10, &head)]).await;
    let end = bench.end.await.unwrap();
    assert!(matches!(end, LaneEnd::Disorder(Disorder::Credit)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_is_refused_at_once_and_what_still_comes_of_it_passed_over() {
    let mut bench = Bench::new();
    let (head, payload) = message(NOBODY, 5000, &[3]);
    bench.send(&[begin(1, payload.len(), &head)]).await;
    assert_eq!(bench.refusal().await, (1, Unanswered::NoSuchActor));
    assert_eq!(bench.granted(), WINDOW_BYTES + CHARGE_LEAST, "its credit is back");
    bench.send(&[chunk(1, 0, &payload), Part::Abort { id: 1 }]).await;
    let (head, _) = message(KEEPER, 0, &[]);
    bench.send(&[begin(2, MESSAGE_BYTES_MAX + 1, &head), chunk(2, 0, &payload)]).await;
    let (id, why) = bench.refusal().await;
    assert!(id == 2 && matches!(&why, Unanswered::Undecodable(_)), "{why:?}");
    // As much as can be said.
    bench.send(&[begin(3, usize::MAX, &head)]).await;
    assert_eq!(bench.refusal().await.0, 3);
    // Answers to what nobody asks, and replies about what nobody sent.
    let mut answer = Vec::new();
    frame::answer(&mut answer, 5, &[], &[]);
    bench.send(&[begin(4, 10_000, &answer[frame::LENGTH_BYTES..])]).await;
    assert_eq!(bench.refusal().await, (4, Unanswered::Dropped));
    bench.send(&[Part::Delivered { id: 9 }, Part::Refused { id: 9, why: b"no reason" }]).await;
    // Three of them were messages.
    assert_eq!(bench.yard.letters.lock().len(), 3);
    let (head, payload) = message(KEEPER, 5000, &[3]);
    bench.send(&[begin(5, payload.len(), &head), chunk(5, 0, &payload)]).await;
    assert_eq!(bench.yard.keeper.bytes(), 5000, "the lane is as good as before");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_refused_and_its_questions_are_free_again() {
    let mut bench = Bench::new();
    let (head, payload) = message(KEEPER, 5000, &[3]);
    let cut = payload.len() - 1;
    bench.send(&[begin(1, cut, &head), chunk(1, 0, &payload[..cut])]).await;
    let (id, why) = bench.refusal().await;
    assert!(id == 1 && matches!(&why, Unanswered::Undecodable(_)), "{why:?}");
    assert_eq!((bench.lane.asks_in_flight(), bench.granted()), (0, WINDOW_BYTES + CHARGE_LEAST));
    bench.send(&[begin(2, payload.len(), &head), chunk(2, 0, &payload)]).await;
    assert_eq!((bench.lane.asks_in_flight(), bench.yard.keeper.bytes()), (1, 5000));
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_never_ends_is_given_up() {
    let mut bench = Bench::new();
    let (head, payload) = message(KEEPER, 5000, &[3]);
    bench.send(&[begin(1, payload.len(), &head), chunk(1, 0, &payload[..1000])]).await;
    // One that goes on meanwhile, slowly, is not.
    bench.send(&[begin(2, payload.len(), &head)]).await;
    let mut offset = 0;
    for bytes in payload.chunks(1000) {
        tokio::time::sleep(Duration::from_secs(8)).await;
        bench.send(&[chunk(2, offset, bytes)]).await;
        offset += bytes.len();
    }
    let (id, why) = bench.refusal().await;
    let Unanswered::Undecodable(why) = why else { panic!("{why:?}") };
    assert!(id == 1 && why.contains("1000 of its"), "{why}");
    assert_eq!(bench.yard.letters.lock().len(), 1);
    assert_eq!(bench.yard.keeper.bytes(), 5000);
    // It comes too late.
    bench.send(&[chunk(1, 1000, &payload[1000..])]).await;
    assert_eq!(bench.yard.keeper.bytes(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_large_message_does_not_outrun_what_was_sent_before_it() {
    let mut bench = Bench::new();
    let (head, payload) = message(KEEPER, 5000, &[]);
    let mut small = Vec::new();
    frame::message(&mut small, KEEPER, SCHEMA, &[], &message(KEEPER, 1, &[]).1);
    let after = 3 * (small.len() as u64 + MESSAGE_COSTS_BYTES);
    let begin = Part::Begin { id: 1, length: payload.len() as u64, after, head: &head };
    bench.send(&[begin, chunk(1, 0, &payload)]).await;
    for arrived in 0..3 {
        assert_eq!(bench.yard.keeper.bytes(), arrived);
        bench.data.write_all(&small).await.unwrap();
        settle().await;
    }
    assert_eq!(bench.yard.keeper.bytes(), 5003);
    // One that waits for what never comes is given up.
    let never = Part::Begin { id: 2, length: payload.len() as u64, after: u64::MAX, head: &head };
    bench.send(&[never, chunk(2, 0, &payload)]).await;
    assert!(matches!(bench.next().await, Some(body) if body[0] == 4), "the first is delivered");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(bench.refusal().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn credit_comes_back_when_the_actor_takes_the_message_and_not_before() {
    let mut bench = Bench::new();
    let (head, payload) = message(KEEPER, 1 << 20, &[]);
    let mut parts = vec![begin(1, payload.len(), &head)];
    let chunks = payload.chunks(CHUNK_BYTES).enumerate();
    parts.extend(chunks.map(|(place, bytes)| chunk(1, place * CHUNK_BYTES, bytes)));
    bench.send(&parts).await;
    assert_eq!((bench.yard.keeper.bytes(), bench.granted()), (1 << 20, WINDOW_BYTES));
    bench.yard.keeper.0.lock().clear();
    assert_eq!(bench.granted(), WINDOW_BYTES + u64::from(charge_of(payload.len())));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_peer_asked_later_is_not_taken_for_one_that_comes_late() {
    let mut bench = Bench::new();
    // The peer gave up question 9, and its slot asks something else over the data lane already.
    let mut later = Vec::new();
    let again = 1 << 32 | 9;
    frame::message(&mut later, KEEPER, SCHEMA, &[again], &message(KEEPER, 0, &[again]).1);
    bench.data.write_all(&later).await.unwrap();
    settle().await;
    let (head, payload) = message(KEEPER, 5000, &[9]);
    bench.send(&[begin(1, payload.len(), &head), chunk(1, 0, &payload)]).await;
    assert_eq!(bench.refusal().await, (1, Unanswered::Dropped));
    let reply = bench.yard.keeper.replies().pop().unwrap();
    assert!(!reply.is_cancelled());
    assert!(!bench.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gives_up_its_question_stops_and_has_its_credit_back() {
    let mut bench = Bench::new();
    bench.grant(u64::from(charge_of(4 << 20))).await;
    let asked = bench.ask(3 << 20).unwrap();
    // The stream holds a mebibyte: a part of it is written.
    settle().await;
    assert!(matches!(bench.tell(1 << 20), Err(RouteError::Full)), "it is of the same sender");
    asked.give_up();
    assert_eq!(bench.lane.asks_in_flight(), 0);
    let mut chunks = 0;
    let last = loop {
        let body = bench.next().await.unwrap();
        match Part::read(&body).unwrap() {
            Part::Begin { .. } => {}
            Part::Chunk { .. } => chunks += 1,
            _ => break body,
        }
    };
    assert_eq!(Part::read(&last), Ok(Part::Abort { id: 1 }));
    assert!(chunks < 3 * 16, "{chunks}");
    // One that the peer has not heard of yet costs nothing at all.
    bench.grant(u64::from(charge_of(4 << 20)) + u64::from(charge_of(3 << 20))).await;
    let before = bench.lane.bulk.credit.available_permits();
    bench.ask(1 << 20).unwrap().give_up();
    assert_eq!(bench.lane.bulk.credit.available_permits(), before);
    assert!(bench.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_after_all_is_written_is_heard_when_the_message_is_delivered() {
    let mut bench = Bench::new();
    bench.grant(WINDOW_BYTES).await;
    let asked = bench.ask(10_000).unwrap();
    settle().await;
    asked.give_up();
    let mut cancels = 0;
    bench.send(&[Part::Delivered { id: 1 }]).await;
    while let Some(body) = frame_of(&mut bench.data).await {
        cancels += usize::from(matches!(Frame::read(&body), Ok(Frame::Cancel { .. })));
    }
    assert_eq!(cancels, 2, "once before the peer knew of it, and once when it does");
}

#[tokio::test(start_paused = true)]
async fn credit_that_comes_back_before_its_message_is_refused_is_not_lost() {
    let mut bench = Bench::new();
    bench.grant(WINDOW_BYTES).await;
    let whole = bench.lane.bulk.credit.available_permits();
    bench.tell(3 << 20).unwrap();
    settle().await;
    let granted = WINDOW_BYTES + u64::from(charge_of(3 << 20));
    let credit = Part::Credit { account: Account::Messages, granted };
    let mut why = Vec::new();
    codec::encode(&Unanswered::NoSuchActor, &mut why, 1000).unwrap();
    bench.send(&[credit, Part::Refused { id: 1, why: &why }]).await;
    assert_eq!(bench.lane.bulk.credit.available_permits(), whole);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_promises_everything_and_reads_nothing_does_not_fill_our_memory() {
    let mut bench = Bench::new();
    let mut granted = 0;
    let mut sent = 0;
    for turn in 0..100_u64 {
        granted += WINDOW_BYTES;
        bench.grant(granted).await;
        // Another task each time, as one's own order would hold it up.
        let lane = bench.lane.clone();
        let told = tokio::spawn(async move { tell(&lane, turn, 1 << 20).is_ok() });
        sent += usize::from(told.await.unwrap());
    }
    let held = bench.lane.bulk.state.lock().outgoing.bytes();
    assert!(held <= WINDOW_BYTES as usize, "{held}");
    assert!((10..=20).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_large_answers_has_the_others_refused() {
    let mut bench = Bench::new();
    for ask in 0..12 {
        let mut question = Vec::new();
        frame::message(&mut question, KEEPER, SCHEMA, &[ask], &message(KEEPER, 0, &[ask]).1);
        bench.data.write_all(&question).await.unwrap();
    }
    settle().await;
    for reply in bench.yard.keeper.replies() {
        reply.send(vec![1; 1 << 20]);
        assert!(bench.lane.bulk.state.lock().outgoing.bytes() <= MESSAGE_BYTES_MAX + (2 << 20));
    }
    settle().await;
    let mut refused = 0;
    while let Some(body) = frame_of(&mut bench.data).await {
        refused += usize::from(matches!(Frame::read(&body), Ok(Frame::Refusal { .. })));
    }
    assert!((5..12).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_any_more_is_refused_on_its_way() {
    let mut bench = Bench::new();
    bench.grant(WINDOW_BYTES).await;
    let asked = bench.ask(10).unwrap();
    let mut answer = Vec::new();
    let body = loop {
        let body = frame_of(&mut bench.data).await.unwrap();
        if matches!(Frame::read(&body), Ok(Frame::Message { .. })) {
            break body;
        }
    };
    let Ok(Frame::Message { mut asks, .. }) = Frame::read(&body) else { unreachable!() };
    frame::answer(&mut answer, asks.next().unwrap().correlation, &[], &[]);
    let head = &answer[frame::LENGTH_BYTES..];
    bench.send(&[begin(1, 5000, head), chunk(1, 0, &[1; 1000])]).await;
    asked.give_up();
    bench.send(&[chunk(1, 1000, &[1; 1000])]).await;
    assert_eq!(bench.refusal().await, (1, Unanswered::Dropped));
    assert!(asked.outcome.lock().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_ends_leaves_nothing_unanswered() {
    let mut bench = Bench::new();
    bench.grant(u64::from(charge_of(2 << 20))).await;
    let asked = bench.ask(2 << 20).unwrap();
    let lane = bench.lane.clone();
    let waiting = tokio::spawn(async move {
        let sent = tell(&lane, KEEPER, 1 << 20);
        let Err(RouteError::Waits(waits)) = sent else { panic!("{sent:?}") };
        waits.await
    });
    settle().await;
    bench.end.abort();
    let _ = bench.end.await;
    assert_eq!(asked.outcome.lock().clone(), Some(Err(Unanswered::LinkLost("b".into()))));
    assert!(matches!(waiting.await.unwrap(), Err(RouteError::Unreachable(_))));
    assert!(!bench.lane.holds.bar(|| Target::Actor(KEEPER)), "nobody waits for it any more");
    drop(bench.peer);
}
