//! A lane against a peer that is written by hand: it sends what it likes, and reads if it likes.

use std::any::Any;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use umbel_actors::wire::Charge;
use umbel_actors::{DeadLetter, Exit, Reply, Watch};

use super::*;
use crate::lane::frame::{Frame, FrameError};
use crate::lane::home::Publication;
use crate::lane::inbound::LENT_BYTES_MAX;
use crate::lane::outbox::MESSAGE_COSTS_BYTES;

pub(in crate::lane) const SCHEMA: u32 = 7;
/// The number of the one actor here.
pub(in crate::lane) const KEEPER: u64 = 1;
pub(in crate::lane) const NOBODY: u64 = 2;
/// Time is paused: it passes when all there is to do is done.
pub(in crate::lane) const A_WHILE: Duration = Duration::from_secs(3600);

/// A node with one actor.
#[derive(Default)]
pub(in crate::lane) struct Yard {
    pub(in crate::lane) keeper: Arc<Keeper>,
    pub(in crate::lane) letters: Mutex<Vec<DeadLetter>>,
    /// What was published elsewhere is held by a subscriber that is behind.
    pub(in crate::lane) published: Mutex<Vec<Charge>>,
}

impl Home for Yard {
    fn export(&self, actor: Arc<dyn Deliver>) -> ActorPath {
        ActorPath { node: "yard".into(), incarnation: 1, actor: actor.id() }
    }

    fn import(&self, _: &ActorPath) -> Result<Imported, WireError> {
        Ok(Imported::Gone)
    }

    fn actor(&self, id: u64) -> Option<Arc<dyn Deliver>> {
        (id == KEEPER).then(|| self.keeper.clone() as _)
    }

    fn publication(&self, _: &Publication<'_>, charge: Charge) {
        self.published.lock().push(charge);
    }

    fn dead_letter(&self, letter: DeadLetter) {
        self.letters.lock().push(letter);
    }
}

/// What a message to the keeper is: some bytes, and questions.
#[derive(Deserialize)]
struct Note(Vec<u8>, Vec<Reply<Vec<u8>>>);

/// Keeps what it is sent, and with it the charges, as a mailbox does.
#[derive(Default)]
pub(in crate::lane) struct Keeper(pub(in crate::lane) Mutex<Vec<Kept>>);

pub(in crate::lane) struct Kept {
    note: Note,
    pub(in crate::lane) charge: Option<Charge>,
}

impl Keeper {
    pub(in crate::lane) fn bytes(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// The bytes of each message that it was sent, in their order.
    pub(in crate::lane) fn lengths(&self) -> Vec<usize> {
        self.0.lock().iter().map(|kept| kept.note.0.len()).collect()
    }

    /// The questions that it was sent, in their order.
    pub(in crate::lane) fn replies(&self) -> Vec<Reply<Vec<u8>>> {
        self.0.lock().iter_mut().flat_map(|kept| kept.note.1.drain(..)).collect()
    }
}

impl Deliver for Keeper {
    fn id(&self) -> u64 {
        KEEPER
    }

    fn schema(&self) -> (&'static str, u32) {
        ("Note", SCHEMA)
    }

    fn deliver(
        &self,
        run: &[&[u8]],
        schema: u32,
        limits: Limits,
        charge: Charge,
    ) -> Vec<Unanswered> {
        if schema != SCHEMA {
            return vec![Unanswered::Undecodable("another schema".into()); run.len()];
        }
        let (notes, undelivered): (Vec<_>, Vec<_>) =
            run.iter().map(|bytes| codec::decode(bytes, limits)).partition(Result::is_ok);
        let notes = notes.into_iter().flatten();
        let mut run: Vec<_> = notes.map(|note| Kept { note, charge: None }).collect();
        if let Some(last) = run.last_mut() {
            last.charge = Some(charge);
        }
        self.0.lock().extend(run);
        let why = undelivered.into_iter().filter_map(Result::err);
        why.map(|why| Unanswered::Undecodable(why.to_string())).collect()
    }

    fn watch(&self) -> Watch {
        Watch::new(oneshot::channel().1, Exit::Killed)
    }

    fn gets_on(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn depth(&self) -> u64 {
        self.0.lock().len() as u64
    }

    fn kill(&self) -> bool {
        false
    }

    fn on_gone(&self, _: Box<dyn FnOnce() + Send>) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A question of ours.
#[derive(Default)]
pub(in crate::lane) struct Asked {
    pub(in crate::lane) outcome: Mutex<Option<Result<Vec<u8>, Unanswered>>>,
    cancel: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    until: Option<Instant>,
}

impl Asked {
    /// Its asker waits until then.
    pub(in crate::lane) fn until(until: Instant) -> Self {
        Self { until: Some(until), ..Self::default() }
    }

    pub(in crate::lane) fn give_up(&self) {
        let cancel = self.cancel.lock().take();
        cancel.expect("it was sent")();
    }
}

impl Pending for Asked {
    fn answer(&self, bytes: &[u8], _: Limits) {
        *self.outcome.lock() = Some(Ok(bytes.to_vec()));
    }

    fn fail(&self, why: Unanswered) {
        *self.outcome.lock() = Some(Err(why));
    }

    fn on_cancel(&self, cancel: Box<dyn FnOnce() + Send>) {
        *self.cancel.lock() = Some(cancel);
    }

    fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// The lane, and the hand-written peer at its other end.
pub(in crate::lane) struct Bench {
    pub(in crate::lane) lane: Arc<DataLane>,
    pub(in crate::lane) yard: Arc<Yard>,
    pub(in crate::lane) end: JoinHandle<LaneEnd>,
    pub(in crate::lane) reading: ReadHalf<DuplexStream>,
    pub(in crate::lane) writing: WriteHalf<DuplexStream>,
}

pub(in crate::lane) const BACKLOG_BYTES_MAX: usize = LaneBounds::BACKLOG_BYTES_MAX;

/// With these everything goes over the one lane.
fn bounds(frame_bytes_max: usize, backlog_bytes_max: usize) -> LaneBounds {
    let bulk_bytes_min = usize::MAX;
    LaneBounds { frame_bytes_max, bulk_bytes_min, message_bytes_max: 64 << 20, backlog_bytes_max }
}

/// A lane whose stream holds `pipe_bytes` each way, and whose own bounds are as given.
pub(in crate::lane) fn open(
    pipe_bytes: usize,
    frame_bytes_max: usize,
    backlog_bytes_max: usize,
) -> Bench {
    let yard = Arc::new(Yard::default());
    let lane = DataLane::new(yard.clone(), "b".into(), &bounds(frame_bytes_max, backlog_bytes_max));
    let (ours, theirs) = tokio::io::duplex(pipe_bytes);
    let end = tokio::spawn(lane.clone().run(Box::new(ours)));
    let (reading, writing) = tokio::io::split(theirs);
    Bench { lane, yard, end, reading, writing }
}

pub(in crate::lane) fn usual() -> Bench {
    open(1 << 20, frame::FRAME_BYTES_MAX, BACKLOG_BYTES_MAX)
}

impl Bench {
    /// Sends, and lets the lane do all that it has to do about it.
    pub(in crate::lane) async fn send(&mut self, bytes: &[u8]) {
        self.writing.write_all(bytes).await.expect("the lane reads");
        tokio::time::sleep(A_WHILE).await;
    }

    /// The body of the next frame; `None` where none comes.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        let reading = async {
            let length = self.reading.read_u32_le().await.expect("the lane is open");
            let mut body = vec![0; length as usize];
            self.reading.read_exact(&mut body).await.expect("the lane is open");
            body
        };
        timeout(A_WHILE, reading).await.ok()
    }

    /// The next frame that is not credit.
    pub(in crate::lane) async fn reply(&mut self) -> Option<Vec<u8>> {
        loop {
            let body = self.frame().await?;
            if !matches!(Frame::read(&body), Ok(Frame::Credit { .. })) {
                return Some(body);
            }
        }
    }

    /// Whether the lane says that all is written.
    async fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(A_WHILE, self.reading.read_to_end(&mut rest)).await.is_ok()
    }

    pub(in crate::lane) async fn end(self) -> LaneEnd {
        timeout(A_WHILE, self.end).await.expect("the lane ends").expect("the lane does not panic")
    }

    /// Asks the peer something.
    fn ask(&self) -> Result<Arc<Asked>, RouteError> {
        let asked = Arc::new(Asked::default());
        let wire: Arc<dyn Wire> = self.lane.clone();
        let mut encode: Encode<'_> = &mut |buffer, _| {
            let id = wire.expect_answer(asked.clone()).expect("there is room");
            buffer.extend_from_slice(&id.to_le_bytes());
            Ok(())
        };
        self.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode)?;
        Ok(asked)
    }

    /// Tells the peer so many bytes.
    fn tell(&self, bytes: usize) -> Result<(), RouteError> {
        let wire: Arc<dyn Wire> = self.lane.clone();
        let mut encode: Encode<'_> = &mut |buffer, _| {
            buffer.resize(buffer.len() + bytes, 0);
            Ok(())
        };
        self.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode)
    }
}

/// A message with so many bytes to `actor`, asking these.
pub(in crate::lane) fn message(actor: u64, bytes: usize, asks: &[u64]) -> Vec<u8> {
    let mut payload = Vec::new();
    codec::encode(&(vec![0_u8; bytes], asks), &mut payload, 1 << 24).unwrap();
    let mut frame = Vec::new();
    frame::message(&mut frame, actor, SCHEMA, asks, &payload);
    frame
}

/// Anything, as one frame.
pub(in crate::lane) fn raw(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

fn credit(granted: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::credit(&mut frame, granted);
    frame
}

fn refusal_of(body: &[u8]) -> (u64, Unanswered) {
    match Frame::read(body) {
        Ok(Frame::Refusal { correlation, why }) => {
            (correlation, codec::decode(why, Limits::default()).unwrap())
        }
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_hostile_frame_ends_the_lane_and_says_why() {
    let out_of_bounds = ASKS_MAX as u64;
    let mut asking_answer = Vec::new();
    frame::answer(&mut asking_answer, 3, &[out_of_bounds], b"");
    let malformed = |why| format!("{:?}", LaneEnd::Malformed(why));
    let cases: Vec<(Vec<u8>, String)> = vec![
        (
            u32::MAX.to_le_bytes().to_vec(),
            malformed(FrameError::TooLarge {
                bytes: u32::MAX as usize,
                bytes_max: frame::FRAME_BYTES_MAX,
            }),
        ),
        (raw(&[]), malformed(FrameError::Truncated)),
        (raw(&[0]), malformed(FrameError::UnknownKind(0))),
        (raw(&[99, 1, 2, 3]), malformed(FrameError::UnknownKind(99))),
        (raw(&[1, 4, 1, 0, 0, 0, 0]), malformed(FrameError::UnknownFlags(4))),
        // A message that ends within its fingerprint, and one that asks more than it holds.
        (raw(&[1, 0, 1, 0, 0]), malformed(FrameError::Truncated)),
        (raw(&[1, 1, 1, 0, 0, 0, 0, 255, 1, 2]), malformed(FrameError::Truncated)),
        (raw(&[4, 1, 2, 3]), malformed(FrameError::Truncated)),
        (raw(&[&[5][..], &[0xff; 10]].concat()), malformed(FrameError::Number)),
        (raw(&[1, 2, 1, 0, 0, 0, 0, 2, 0x80, 0]), malformed(FrameError::UnknownField(0x80))),
        (raw(&[6, 0, 2, 0xff, 0xff, 0, 0, 0, 0]), malformed(FrameError::Topic)),
        // A topic whose length lies.
        (raw(&[6, 0, 0xff, 0xff, 0x7f, b'a', 0, 0, 0, 0]), malformed(FrameError::Truncated)),
        (
            message(KEEPER, 0, &[out_of_bounds]),
            format!("{:?}", LaneEnd::BadCorrelation(out_of_bounds)),
        ),
        (asking_answer, format!("{:?}", LaneEnd::BadCorrelation(out_of_bounds))),
        (message(KEEPER, 0, &[5, 5]), format!("{:?}", LaneEnd::BadCorrelation(5))),
    ];
    for (bytes, why) in cases {
        let mut bench = usual();
        bench.send(&bytes).await;
        let lane = bench.lane.clone();
        assert_eq!(format!("{:?}", bench.end().await), why, "{bytes:?}");
        assert!(lane.outbox.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_correlation_id_that_still_waits_cannot_be_used_again() {
    let mut bench = usual();
    bench.send(&message(KEEPER, 0, &[5])).await;
    bench.send(&message(KEEPER, 0, &[5])).await;
    assert!(matches!(bench.end().await, LaneEnd::BadCorrelation(5)));
}

#[tokio::test(start_paused = true)]
async fn a_length_that_lies_within_the_limit_reserves_that_much_and_no_more() {
    let mut bench = usual();
    bench.send(&(frame::FRAME_BYTES_MAX as u32).to_le_bytes()).await;
    bench.send(&[1; 1000]).await;
    drop(bench.writing);
    drop(bench.reading);
    let end = timeout(A_WHILE, bench.end).await.unwrap().unwrap();
    assert!(matches!(end, LaneEnd::ClosedByPeer), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_decoded_is_refused_and_the_lane_goes_on() {
    let good = message(KEEPER, 4, &[1]);
    let trailing = raw(&[&good[4..], &[0]].concat());
    let truncated = raw(&good[4..good.len() - 1]);
    for bad in [trailing, truncated] {
        let mut bench = usual();
        bench.send(&bad).await;
        let (correlation, why) = refusal_of(&bench.reply().await.unwrap());
        assert!(matches!(why, Unanswered::Undecodable(_)), "{why:?}");
        assert_eq!((correlation, bench.lane.asks_in_flight()), (1, 0));
        assert_eq!(bench.yard.letters.lock().len(), 1);
        // The slot is free again, and so is the credit.
        bench.send(&good).await;
        assert_eq!((bench.yard.keeper.bytes(), bench.lane.asks_in_flight()), (4, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_to_nobody_comes_back_as_such() {
    let mut bench = usual();
    bench.send(&message(NOBODY, 4, &[])).await;
    let body = bench.reply().await.unwrap();
    let Ok(Frame::Undelivered { actor: NOBODY, why }) = Frame::read(&body) else { panic!() };
    assert_eq!(codec::decode(why, Limits::default()), Ok(Unanswered::NoSuchActor));
    bench.send(&message(NOBODY, 4, &[1, 2])).await;
    for ask in [1, 2] {
        let refused = refusal_of(&bench.reply().await.unwrap());
        assert_eq!(refused, (ask, Unanswered::NoSuchActor));
    }
    assert_eq!(bench.lane.asks_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn replies_to_nobody_change_nothing() {
    let mut bench = usual();
    let mut bytes = Vec::new();
    for id in [0, 5, 1 << 32 | 5, ASKS_MAX as u64, u64::MAX] {
        frame::answer(&mut bytes, id, &[], b"answer");
        frame::refusal(&mut bytes, id, b"no reason at all");
        frame::cancel(&mut bytes, id);
    }
    // Whoever asks in an answer to nobody is told that nobody has it.
    frame::answer(&mut bytes, 0, &[4], b"answer");
    bench.send(&bytes).await;
    assert_eq!(refusal_of(&bench.reply().await.unwrap()), (4, Unanswered::Dropped));
    assert_eq!(bench.lane.asks_in_flight(), 0);
    bench.send(&message(KEEPER, 4, &[])).await;
    assert_eq!(bench.yard.keeper.bytes(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_beyond_its_credit_loses_the_lane() {
    const FRAME: usize = 4096;
    let mut bench = open(1 << 20, FRAME, BACKLOG_BYTES_MAX);
    let message = message(KEEPER, FRAME - 100, &[]);
    while bench.writing.write_all(&message).await.is_ok() {}
    let kept = bench.yard.keeper.bytes();
    assert!(kept >= WINDOW_BYTES as usize / 2, "{kept}");
    assert!(kept <= (WINDOW_BYTES + LENT_BYTES_MAX) as usize + 65 * FRAME, "{kept}");
    assert!(matches!(bench.end().await, LaneEnd::CreditExceeded));
}

#[tokio::test(start_paused = true)]
async fn without_credit_a_sender_waits_and_its_buffer_does_not_grow() {
    let mut bench = usual();
    assert!(matches!(bench.tell(100), Err(RouteError::Full)), "nothing was granted yet");
    bench.send(&credit(10_000)).await;
    bench.lane.wait_for_room(&Target::Actor(KEEPER)).await;
    let mut sent = 0;
    while bench.tell(100).is_ok() {
        sent += 1;
        assert!(sent < 200, "the credit has no bound");
    }
    assert!(matches!(bench.tell(100), Err(RouteError::Full)));
    // One wake-up may be left of the grant that nobody waited for.
    let _ = timeout(A_WHILE, bench.lane.wait_for_room(&Target::Actor(KEEPER))).await;
    assert!(
        timeout(A_WHILE, bench.lane.wait_for_room(&Target::Actor(KEEPER))).await.is_err(),
        "there is no room"
    );
    // Grants are totals: an old one again gives nothing.
    bench.send(&credit(10_000)).await;
    assert!(matches!(bench.tell(100), Err(RouteError::Full)));
    bench.send(&credit(u64::MAX)).await;
    timeout(A_WHILE, bench.lane.wait_for_room(&Target::Actor(KEEPER))).await.unwrap();
    assert!(bench.tell(100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn credit_comes_back_when_messages_are_taken_and_not_before() {
    let mut bench = usual();
    let opening = bench.frame().await.unwrap();
    assert_eq!(Frame::read(&opening), Ok(Frame::Credit { granted: WINDOW_BYTES }));
    let one = message(KEEPER, 100, &[]);
    // Half of the window: nobody is paused.
    let many = one.repeat(WINDOW_BYTES as usize / 2 / (one.len() + MESSAGE_COSTS_BYTES as usize));
    bench.send(&many).await;
    assert_eq!(bench.frame().await, None, "credit came for what lies in a mailbox");
    // Some of them share a charge: none is lost, and none counts twice.
    bench.yard.keeper.0.lock().clear();
    let body = bench.frame().await.unwrap();
    let Ok(Frame::Credit { granted }) = Frame::read(&body) else { panic!("{body:?}") };
    let inbound = bench.lane.inbound.clone();
    let released = inbound.released();
    assert!(granted > WINDOW_BYTES && granted <= WINDOW_BYTES + released);
    assert!(released >= many.len() as u64);
    bench.send(&many).await;
    bench.yard.keeper.0.lock().clear();
    assert_eq!(inbound.released(), 2 * released);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_bounds_its_answers() {
    const BACKLOG: usize = 1 << 20;
    const ANSWER: usize = 100_000;
    let mut bench = open(4096, frame::FRAME_BYTES_MAX, BACKLOG);
    for ask in 0..40 {
        bench.send(&message(KEEPER, 0, &[ask])).await;
    }
    for reply in bench.yard.keeper.replies() {
        reply.send(vec![1; ANSWER]);
        assert!(bench.lane.outbox.bytes() <= BACKLOG + 2 * ANSWER);
    }
    assert_eq!(bench.lane.asks_in_flight(), 0);
    let (mut answered, mut refused) = (0, 0);
    while let Some(body) = bench.reply().await {
        if matches!(Frame::read(&body), Ok(Frame::Answer { .. })) {
            answered += 1;
        } else {
            assert_eq!(refusal_of(&body).1, Unanswered::Overloaded);
            refused += 1;
        }
    }
    assert_eq!(answered + refused, 40);
    assert!(answered >= BACKLOG / ANSWER && refused > 20, "{answered} {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_for_more_than_it_reads_loses_the_lane() {
    const BACKLOG: usize = 10_000;
    let mut bench = open(4096, frame::FRAME_BYTES_MAX, BACKLOG);
    // Each of them is told to be undeliverable, and its credit comes back at once.
    let to_nobody = message(NOBODY, 1, &[]);
    while bench.writing.write_all(&to_nobody).await.is_ok() {
        assert!(bench.lane.outbox.bytes() <= 2 * BACKLOG + 4096);
    }
    assert!(matches!(bench.end().await, LaneEnd::Overfull));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_overflows_while_nothing_can_be_written_ends_all_the_same() {
    const BACKLOG: usize = 10_000;
    let mut bench = open(64, frame::FRAME_BYTES_MAX, BACKLOG);
    bench.send(&message(KEEPER, 0, &[1, 2])).await;
    let replies = bench.yard.keeper.replies();
    // The first is more than the stream holds; the second is within the bound when it is sent, and
    // far beyond it when it is encoded.
    for (reply, bytes) in replies.into_iter().zip([1000, 3 * BACKLOG]) {
        reply.send(vec![0; bytes]);
        tokio::time::sleep(A_WHILE).await;
    }
    assert!(matches!(bench.end().await, LaneEnd::Overfull));
}

#[tokio::test(start_paused = true)]
async fn a_lost_lane_fails_all_that_was_asked_at_once() {
    for by_the_peer in [true, false] {
        let mut bench = usual();
        bench.send(&credit(u64::MAX)).await;
        let asked: Vec<_> = (0..10).map(|_| bench.ask().unwrap()).collect();
        assert_eq!(bench.lane.asks_in_flight(), 10);
        let lane = bench.lane.clone();
        if by_the_peer {
            drop((bench.reading, bench.writing));
            assert!(matches!(bench.end.await.unwrap(), LaneEnd::ClosedByPeer));
        } else {
            bench.end.abort();
            assert!(bench.end.await.unwrap_err().is_cancelled());
        }
        for asked in asked {
            let failed = asked.outcome.lock().clone();
            assert_eq!(failed, Some(Err(Unanswered::LinkLost("b".into()))));
        }
        assert_eq!(lane.asks_in_flight(), 0);
        lane.wait_for_room(&Target::Actor(KEEPER)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_lane_writes_what_waits_and_takes_no_more() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    bench.tell(10).unwrap();
    bench.lane.close();
    assert!(matches!(bench.tell(10), Err(RouteError::Unreachable(_))));
    let told = bench.reply().await.unwrap();
    assert!(matches!(Frame::read(&told), Ok(Frame::Message { actor: KEEPER, .. })));
    assert!(bench.has_ended().await);
    bench.writing.shutdown().await.unwrap();
    assert!(matches!(bench.end().await, LaneEnd::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_closed_lane_still_takes_what_the_peer_has_sent() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    let asked = bench.ask().unwrap();
    let question = bench.reply().await.unwrap();
    let Ok(Frame::Message { asks, .. }) = Frame::read(&question) else { panic!("no question") };
    let mut answer = Vec::new();
    frame::answer(&mut answer, asks.clone().next().unwrap().correlation, &[], b"late");
    bench.lane.close();
    assert!(bench.has_ended().await);
    bench.send(&answer).await;
    bench.send(&message(KEEPER, 10, &[])).await;
    assert_eq!(bench.yard.keeper.bytes(), 10);
    assert_eq!(asked.outcome.lock().clone(), Some(Ok(b"late".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_lets_the_peer_end_first_does_so_until_it_is_closed() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    bench.tell(10).unwrap();
    bench.lane.close_after_peer();
    assert!(matches!(bench.tell(10), Err(RouteError::Unreachable(_))));
    assert!(bench.reply().await.is_some());
    assert!(bench.reply().await.is_none(), "it ended");
    bench.lane.close();
    assert!(bench.has_ended().await);

    let mut bench = usual();
    bench.lane.close_after_peer();
    bench.writing.shutdown().await.unwrap();
    assert!(matches!(bench.end().await, LaneEnd::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_never_driven_fails_what_was_asked_over_it() {
    let bench = usual();
    let lane = DataLane::new(bench.yard.clone(), "b".into(), &bounds(1 << 20, BACKLOG_BYTES_MAX));
    let running = lane.clone().run(Box::new(tokio::io::duplex(64).0));
    lane.outbox.grant(u64::MAX);
    let bench = Bench { lane, ..bench };
    let asked = bench.ask().unwrap();
    drop(running);
    let failed = asked.outcome.lock().clone();
    assert_eq!(failed, Some(Err(Unanswered::LinkLost("b".into()))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_finds_its_question_once() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    let asked = bench.ask().unwrap();
    let body = bench.reply().await.unwrap();
    let Ok(Frame::Message { asks, .. }) = Frame::read(&body) else { panic!() };
    let id = asks.last().unwrap().correlation;
    let mut bytes = Vec::new();
    frame::answer(&mut bytes, id, &[], b"first");
    frame::answer(&mut bytes, id, &[], b"second");
    bench.send(&bytes).await;
    assert_eq!(*asked.outcome.lock(), Some(Ok(b"first".to_vec())));
    assert_eq!(bench.lane.asks_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_given_up_frees_its_slot_here_and_tells_the_peer() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    let asked = bench.ask().unwrap();
    let body = bench.reply().await.unwrap();
    let Ok(Frame::Message { asks, .. }) = Frame::read(&body) else { panic!() };
    let id = asks.last().unwrap().correlation;
    asked.give_up();
    assert_eq!(bench.lane.asks_in_flight(), 0);
    let body = bench.reply().await.unwrap();
    assert_eq!(Frame::read(&body), Ok(Frame::Cancel { correlation: id }));
    // Its answer comes late, while the slot is in use again.
    let next = bench.ask().unwrap();
    let mut late = Vec::new();
    frame::answer(&mut late, id, &[], b"late");
    bench.send(&late).await;
    assert_eq!((asked.outcome.lock().clone(), next.outcome.lock().clone()), (None, None));
    assert_eq!(bench.lane.asks_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_given_up_while_it_is_sent_is_cancelled_behind_it() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    let asked = Arc::new(Asked::default());
    let wire: Arc<dyn Wire> = bench.lane.clone();
    let mut encode: Encode<'_> = &mut |_, _| {
        wire.expect_answer(asked.clone()).expect("there is room");
        asked.give_up();
        Ok(())
    };
    bench.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode).unwrap();
    let mut last = None;
    while let Some(body) = bench.reply().await {
        last = Some(body);
    }
    assert!(matches!(Frame::read(&last.unwrap()), Ok(Frame::Cancel { .. })));
    assert_eq!(bench.lane.asks_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_peer_gave_up_is_known_as_such_and_its_slot_is_free() {
    let mut bench = usual();
    bench.send(&message(KEEPER, 0, &[9])).await;
    let first = bench.yard.keeper.replies().pop().unwrap();
    assert!(!first.is_cancelled());
    let mut cancel = Vec::new();
    frame::cancel(&mut cancel, 9);
    bench.send(&cancel).await;
    assert!(first.is_cancelled());
    // The peer uses the slot again while the first question is still at work.
    let again = 1 << 32 | 9;
    bench.send(&message(KEEPER, 0, &[again])).await;
    let second = bench.yard.keeper.replies().pop().unwrap();
    first.send(b"nobody waits".to_vec());
    assert_eq!(bench.reply().await, None);
    second.send(b"yes".to_vec());
    let body = bench.reply().await.unwrap();
    assert!(
        matches!(Frame::read(&body), Ok(Frame::Answer { correlation, .. }) if correlation == again)
    );
    assert_eq!(bench.lane.asks_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_comes_too_late_is_refused_unread() {
    let mut bench = usual();
    let mut fields = Vec::new();
    frame::put_deadlines(&mut fields, [Some(Duration::ZERO)].into_iter());
    let mut late = Vec::new();
    let header = Header { asks: &[3], fields: &fields };
    frame::message(&mut late, KEEPER, SCHEMA, header, b"not even a note");
    bench.send(&late).await;
    assert_eq!(refusal_of(&bench.reply().await.unwrap()), (3, Unanswered::Expired));
    assert_eq!(bench.lane.asks_in_flight(), 0);
    // Its asker is told; it is nobody's dead letter.
    assert!(bench.yard.letters.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_runs_from_when_the_question_was_read() {
    let mut bench = usual();
    let mut fields = Vec::new();
    frame::put_deadlines(&mut fields, [Some(2 * A_WHILE), None].into_iter());
    let mut payload = Vec::new();
    codec::encode(&(Vec::<u8>::new(), vec![3_u64, 4]), &mut payload, 100).unwrap();
    let mut frame = Vec::new();
    let header = Header { asks: &[3, 4], fields: &fields };
    frame::message(&mut frame, KEEPER, SCHEMA, header, &payload);
    bench.send(&frame).await;
    let replies = bench.yard.keeper.replies();
    let remaining: Vec<_> = replies.iter().map(Reply::remaining).collect();
    assert_eq!(remaining, [Some(A_WHILE), None]);
    tokio::time::sleep(2 * A_WHILE).await;
    assert_eq!(replies[0].remaining(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_its_header_takes_beyond_a_frame_does_not_go_over_this_lane() {
    let mut bench = usual();
    bench.send(&credit(u64::MAX)).await;
    let wire: Arc<dyn Wire> = bench.lane.clone();
    let asked: Vec<_> = (0..200).map(|_| Arc::new(Asked::default())).collect();
    let mut encode: Encode<'_> = &mut |buffer, _| {
        for asked in &asked {
            wire.expect_answer(asked.clone()).expect("there is room");
        }
        buffer.resize(frame::FRAME_BYTES_MAX - 64, 0);
        Ok(())
    };
    let sent = bench.lane.try_send(&wire, KEEPER, SCHEMA, &mut encode);
    let Err(RouteError::Waits(waits)) = sent else { panic!("{sent:?}") };
    let body = bench.reply().await.unwrap();
    assert_eq!(Frame::read(&body), Ok(Frame::BulkWanted));
    // Who does not wait for that lane has asked nothing.
    drop(waits);
    assert_eq!(bench.lane.asks_in_flight(), 0);
    bench.tell(10).unwrap();
    let body = bench.reply().await.unwrap();
    assert!(body.len() < 100, "a frame that the peer would end the link for was sent");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_comes_after_a_later_one_in_its_slot_is_refused_and_ends_nothing() {
    let mut bench = usual();
    let ask = |asks: &[u64]| {
        let mut payload = Vec::new();
        codec::encode(&(Vec::<u8>::new(), asks), &mut payload, 100).unwrap();
        let mut bytes = Vec::new();
        frame::message(&mut bytes, KEEPER, SCHEMA, asks, &payload);
        bytes
    };
    let (early, late) = (9, 1 << 32 | 9);
    bench.send(&ask(&[late])).await;
    // Another one in the same message is not left without an answer.
    bench.send(&ask(&[early, 4])).await;
    assert_eq!(refusal_of(&bench.reply().await.unwrap()), (4, Unanswered::Dropped));
    let reply = bench.yard.keeper.replies().pop().unwrap();
    assert!(!reply.is_cancelled());
    assert!(!bench.end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_largest_frame_passes_and_the_buffer_shrinks_again() {
    let mut bench = open(1 << 16, frame::FRAME_BYTES_MAX, BACKLOG_BYTES_MAX);
    let large = message(KEEPER, frame::FRAME_BYTES_MAX - 100, &[]);
    for _ in 0..3 {
        bench.send(&large).await;
        bench.yard.keeper.0.lock().clear();
        bench.send(&message(KEEPER, 1, &[])).await;
    }
    assert_eq!(bench.yard.keeper.bytes(), 1);
}
