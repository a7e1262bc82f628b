//! The lane that carries what is too large for the others.

mod delivery;
mod driver;
mod grants;
mod incoming;
mod outgoing;
mod part;
mod thread;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore, TryAcquireError};
use umbel_actors::codec::EncodeError;
use umbel_actors::wire::{RouteError, Unanswered, Waits};
use umbel_actors::{DeadLetter, DeadLetterReason};

use self::driver::Driver;
use self::grants::Grants;
use self::outgoing::{GivenUp, Outgoing, Parcel};
use self::part::{Account, Part};
use super::data::{DataLane, LaneBounds};
use super::driver::LaneEnd;
use super::frame;
use super::holds::{Ordered, Target};
use super::outbox::MESSAGE_COSTS_BYTES;
use crate::transport::ByteStream;

pub(crate) use self::incoming::Disorder;
pub(crate) use self::thread::BulkThread;

/// What a peer may have waiting here of large messages, and as much again of large answers. One
/// message that is larger takes all of it, and so comes alone. A part of the protocol: both ends
/// count with it.
const WINDOW_BYTES: u64 = 16 << 20;

/// Each large message counts for so much at least, so that 64 of them are under way at most.
const CHARGE_LEAST: u64 = WINDOW_BYTES / 64;

/// What a large message of so many bytes is charged.
fn charge_of(length: usize) -> u32 {
    let bytes = (length as u64).saturating_add(MESSAGE_COSTS_BYTES);
    bytes.clamp(CHARGE_LEAST, WINDOW_BYTES) as u32
}

/// What may wait to be said about the peer's large messages, to a peer that does not read.
const REPLIES_BYTES_MAX: usize = 256 * 1024;

/// The lane that carries what is too large for the others: messages, answers and publications beyond
/// a size, in chunks.
///
/// It is a connection of its own, opened when either end has something for it, and driven by a thread
/// of its own at low priority where the transport allows (see [`BulkThread`]). So a large message
/// delays nobody else's.
///
/// *Order.* It does not outrun what its sender has sent before to the same receiver over the data
/// lane, for it says how much of that must be delivered first; and what the same sender sends after it
/// to the same receiver waits until it is delivered. Nobody else waits.
///
/// *Memory.* At the sender: the window, or one message where that is larger; of answers as much, and
/// once more the largest that wait for credit; and for each caller that waits, its message in
/// encoded form. At the receiver: the window, or one message, and of answers as much; while one is
/// decoded, its bytes and its value.
pub(crate) struct Bulk {
    lane: Weak<DataLane>,
    /// What is larger goes here, once the lane is open.
    least: usize,
    /// What is no frame of the data lane goes here in any case, and waits until the lane is open.
    frame_max: usize,
    /// What is larger goes nowhere.
    bytes_max: usize,
    /// The largest that the peer takes, once it has said so.
    peer_bytes_max: AtomicUsize,
    state: Mutex<State>,
    /// The peer's credit for messages. Whoever waits for it is served in order, so that the largest
    /// has its turn.
    credit: Semaphore,
    messages: Arc<Grants>,
    answers: Arc<Grants>,
    /// Large messages with questions that are not written yet: most who give up a question have none.
    asking: AtomicUsize,
    is_wanted: AtomicBool,
    wanted: Notify,
    is_open: AtomicBool,
    lets_peer_end_first: AtomicBool,
}

#[derive(Default)]
struct State {
    outgoing: Outgoing,
    /// What the peer has granted for messages since the lane opened.
    granted: u64,
    /// As much of that as this end has made use of.
    taken_up: u64,
    /// Of the lane's task, while it has nothing to write.
    waker: Option<Waker>,
    closed: bool,
    /// The peer leaves unread what it must know.
    overfull: bool,
}

impl Bulk {
    pub(super) fn new(lane: Weak<DataLane>, bounds: &LaneBounds) -> Self {
        Self {
            least: bounds.bulk_bytes_min,
            frame_max: bounds.frame_bytes_max,
            bytes_max: bounds.message_bytes_max,
            peer_bytes_max: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
            credit: Semaphore::new(0),
            messages: Arc::new(Grants::new(lane.clone(), Account::Messages)),
            answers: Arc::new(Grants::new(lane.clone(), Account::Answers)),
            lane,
            asking: AtomicUsize::new(0),
            is_wanted: AtomicBool::new(false),
            wanted: Notify::new(),
            is_open: AtomicBool::new(false),
            lets_peer_end_first: AtomicBool::new(false),
        }
    }

    /// Whether a payload of so many bytes is to go over this lane; in a frame of the data lane it would
    /// come to `whole`. Until the lane is open, what fits into such a frame goes there: so it is under
    /// way sooner, and before a goodbye.
    #[inline]
    pub(super) fn is_for(&self, payload: usize, whole: usize) -> bool {
        let fits = whole <= self.frame_max;
        (payload > self.least || !fits) && {
            self.want();
            !fits || self.is_open()
        }
    }

    /// The largest payload that either end takes.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max.min(self.peer_bytes_max.load(Ordering::Acquire))
    }

    /// Puts a large message on its way, if there is credit for it; else it can wait for that.
    pub(super) fn send(lane: Arc<DataLane>, letter: Letter) -> Result<(), RouteError> {
        let bulk = &lane.bulk;
        let charge = charge_of(letter.payload.len());
        let credit = bulk.credit.try_acquire_many(charge).map(|permit| permit.forget());
        match credit {
            Ok(()) => Parked::new(lane, letter).admit(charge),
            Err(TryAcquireError::Closed) => {
                lane.roll_back(&letter.asks);
                Err(lane.unreachable())
            }
            Err(TryAcquireError::NoPermits) => {
                let parked = Parked::new(lane, letter);
                Err(RouteError::Waits(Waits::new(parked.wait(charge))))
            }
        }
    }

    /// Whether as much of answers waits already as may.
    pub(super) fn is_overfull(&self) -> bool {
        self.state.lock().outgoing.bytes() > self.bytes_max
    }

    /// Puts a large answer on its way.
    pub(super) fn answer(&self, head: Vec<u8>, payload: Vec<u8>, asks: Vec<u64>) {
        let asking = usize::from(!asks.is_empty());
        let payload = Arc::new(payload);
        let parcel = Parcel { head, payload, asks, ordered: None, after: 0 };
        self.change(|state| {
            // On a closed lane nobody waits for an answer any more.
            if !state.closed {
                self.asking.fetch_add(asking, Ordering::AcqRel);
                state.outgoing.answer(parcel);
            }
        });
    }

    /// Says something about the peer's own large messages.
    fn reply(&self, part: &Part<'_>) {
        self.change(|state| {
            state.outgoing.reply(part);
            state.overfull |= state.outgoing.replies_bytes() > REPLIES_BYTES_MAX;
        });
    }

    /// Nobody waits for the answer to this question of ours any more.
    pub(super) fn cancel(&self, ask: u64) {
        if self.asking.load(Ordering::Acquire) == 0 {
            return;
        }
        let Some(lane) = self.lane.upgrade() else { return };
        let is_open = |ask| lane.own_asks.is_open(ask);
        let given_up = self.change(|state| state.outgoing.cancel(ask, is_open));
        if let Some(GivenUp { parcel, unknown }) = given_up {
            if unknown {
                self.credit.add_permits(charge_of(parcel.payload.len()) as usize);
            }
            self.forget(&lane, &parcel);
        }
    }

    /// The peer has granted so many bytes in all.
    fn grant(&self, account: Account, granted: u64) {
        self.change(|state| match account {
            Account::Answers => state.outgoing.grant_answers(granted),
            Account::Messages => {
                state.granted = state.granted.max(granted);
                self.take_up(state);
            }
        });
    }

    /// Makes use of what is granted for messages, as far as the window goes: of what a peer promises
    /// beyond that nothing counts, or one that reads nothing could fill our memory. What an honest one
    /// gives back for a message before it says what became of it counts as soon as it says so.
    fn take_up(&self, state: &mut State) {
        let promised = self.credit.available_permits() + state.outgoing.messages_bytes();
        let more =
            (state.granted - state.taken_up).min(WINDOW_BYTES.saturating_sub(promised as u64));
        state.taken_up += more;
        if !state.closed {
            self.credit.add_permits(more as usize);
        }
    }

    /// The peer says what became of a large message of ours.
    fn finished(&self, id: u64, refused: Option<Unanswered>) {
        let finished = self.change(|state| {
            let parcel = state.outgoing.finish(id);
            self.take_up(state);
            parcel
        });
        let (Some(parcel), Some(lane)) = (finished, self.lane.upgrade()) else { return };
        match refused {
            Some(why) => lose(&lane, &parcel, &why),
            // Who gave up a question before the peer had it has told a peer that did not know it.
            None => {
                parcel.asks.iter().filter(|ask| !lane.own_asks.is_open(**ask)).for_each(|ask| {
                    lane.exempt(|buffer| {
                        frame::cancel(buffer, *ask);
                    });
                })
            }
        }
        self.forget(&lane, &parcel);
    }

    /// The large message is under way no more: those wait no more who waited for it.
    fn forget(&self, lane: &DataLane, parcel: &Parcel) {
        self.asking.fetch_sub(usize::from(!parcel.asks.is_empty()), Ordering::AcqRel);
        if let Some(ordered) = &parcel.ordered {
            lane.holds.release(ordered);
        }
    }

    /// Either end has something for this lane, which is to be opened.
    pub(super) fn want(&self) {
        if !self.is_wanted.load(Ordering::Acquire)
            && self.note_wanted()
            && let Some(lane) = self.lane.upgrade()
        {
            lane.exempt(|buffer| {
                frame::bulk_wanted(buffer);
            });
        }
    }

    /// The peer has something for this lane. True where that is new.
    pub(super) fn note_wanted(&self) -> bool {
        let new = !self.is_wanted.swap(true, Ordering::AcqRel);
        self.wanted.notify_one();
        new
    }

    /// Ends when either end has something for this lane.
    pub(crate) async fn until_wanted(&self) {
        while !self.is_wanted.load(Ordering::Acquire) {
            self.wanted.notified().await;
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// As [`DataLane::close`].
    pub(crate) fn close(&self) {
        self.lets_peer_end_first.store(false, Ordering::Release);
        self.take_no_more();
    }

    /// As [`DataLane::close_after_peer`].
    pub(crate) fn close_after_peer(&self) {
        self.lets_peer_end_first.store(true, Ordering::Release);
        self.take_no_more();
    }

    fn take_no_more(&self) {
        self.change(|state| state.closed = true);
        self.credit.close();
        if !self.is_open() {
            self.end();
        }
    }

    /// Nothing will be heard of what is under way.
    fn end(&self) {
        let lost = self.change(|state| {
            state.closed = true;
            state.outgoing.drain()
        });
        self.credit.close();
        let Some(lane) = self.lane.upgrade() else { return };
        for parcel in lost {
            lose(&lane, &parcel, &Unanswered::LinkLost(lane.peer.to_string()));
            self.forget(&lane, &parcel);
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// The side that dialled waits for the other's first word, its limit. Until that has come the
    /// other end may not have taken the connection up (it may be saying goodbye just now), and the
    /// link is as good without it.
    pub(crate) async fn first_word(stream: &mut Box<dyn ByteStream>) -> std::io::Result<u64> {
        let mut bytes = Vec::new();
        Part::Limit { bytes: 0 }.write(&mut bytes);
        stream.read_exact(&mut bytes).await?;
        match Part::read(&bytes[frame::LENGTH_BYTES..]) {
            Ok(Part::Limit { bytes }) => Ok(bytes),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    /// The peer takes nothing that is larger.
    fn limit(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.peer_bytes_max.store(bytes, Ordering::Release);
    }

    /// Drives the stream until the lane ends; dropping this future ends it, too. Nothing that is
    /// under way then stays unanswered. `limit` is the peer's, where it has said so already.
    pub(crate) fn run(
        lane: Arc<DataLane>,
        stream: Box<dyn ByteStream>,
        limit: Option<u64>,
    ) -> impl Future<Output = LaneEnd> + Send + 'static {
        struct Guard(Arc<DataLane>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.bulk.end();
            }
        }
        let bulk = &lane.bulk;
        if let Some(limit) = limit {
            bulk.limit(limit);
        }
        bulk.is_open.store(true, Ordering::Release);
        bulk.is_wanted.store(true, Ordering::Release);
        bulk.reply(&Part::Limit { bytes: bulk.bytes_max as u64 });
        bulk.reply(&bulk.messages.part());
        bulk.reply(&bulk.answers.part());
        let guard = (Guard(lane.clone()), lane.is_driven());
        async move {
            let mut driver = Driver::new(lane, stream, limit.is_some());
            let _guard = guard;
            std::future::poll_fn(|cx| driver.poll(cx)).await
        }
    }
}

/// A large message as its sender encoded it.
pub(super) struct Letter {
    pub(super) head: Vec<u8>,
    pub(super) payload: Arc<Vec<u8>>,
    pub(super) asks: Vec<u64>,
    pub(super) target: Target,
}

/// A large message that waits for credit; dropped, it asks nothing any more.
struct Parked {
    lane: Arc<DataLane>,
    letter: Option<Letter>,
}

impl Parked {
    fn new(lane: Arc<DataLane>, letter: Letter) -> Self {
        Self { lane, letter: Some(letter) }
    }

    async fn wait(self, charge: u32) -> Result<(), RouteError> {
        match self.lane.bulk.credit.acquire_many(charge).await {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(self.lane.unreachable()),
        }
        self.admit(charge)
    }

    /// There is credit.
    fn admit(mut self, charge: u32) -> Result<(), RouteError> {
        let bulk = &self.lane.bulk;
        let Letter { payload, .. } = self.letter.as_ref().expect("it is admitted once");
        if payload.len() > bulk.bytes_max() {
            bulk.credit.add_permits(charge as usize);
            return Err(EncodeError::TooLarge { bytes_max: bulk.bytes_max() }.into());
        }
        let mut state = bulk.state.lock();
        if state.closed {
            return Err(self.lane.unreachable());
        }
        let letter = self.letter.take().expect("it is admitted once");
        let Letter { head, payload, asks, target } = letter;
        let (ordered, after) = (Ordered::now(target), self.lane.outbox.charged());
        self.lane.holds.order(ordered.clone());
        bulk.asking.fetch_add(usize::from(!asks.is_empty()), Ordering::AcqRel);
        state.outgoing.send(Parcel { head, payload, asks, ordered: Some(ordered), after });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(letter) = &self.letter {
            self.lane.roll_back(&letter.asks);
        }
    }
}

/// Tells those who asked, or else whoever looks at dead letters, why a large message came to nothing.
fn lose(lane: &DataLane, parcel: &Parcel, why: &Unanswered) {
    for ask in &parcel.asks {
        if let Some(pending) = lane.own_asks.close(*ask) {
            pending.fail(why.clone());
        }
    }
    let Some(ordered) = parcel.ordered.as_ref().filter(|_| parcel.asks.is_empty()) else { return };
    let to = match ordered.target() {
        Target::Actor(actor) => format!("{}/{actor}", lane.peer),
        Target::Topic(topic) => format!("topic {topic} at {}", lane.peer),
    };
    lane.home.dead_letter(DeadLetter::new(to, "?", 1, DeadLetterReason::Refused(why.clone())));
}

#[cfg(test)]
#[path = "bulk/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "bulk/head_tests.rs"]
mod head_tests;
