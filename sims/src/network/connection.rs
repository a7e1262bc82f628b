//! A connection: two ends, and what is held between them.

use std::collections::VecDeque;
use std::fmt;
use std::task::Waker;
use std::time::Duration;

use umbel_protocol::Identity;

use super::{Place, WINDOW_BYTES};
use crate::chance::Chance;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Dialler, Self::Acceptor];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialler => "d",
            Self::Acceptor => "a",
        })
    }
}

/// What goes from one end to the other.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// Somebody dials.
    Knock,
    /// An end shows who it is: the acceptor first.
    Welcome(Identity),
    /// Nobody listens.
    Refused,
    Bytes(Vec<u8>),
    /// So many bytes were read.
    Acknowledge(usize),
    /// The end of the stream.
    Done,
    /// The other end is gone without a shutdown.
    Gone,
    /// The connection is no more.
    Reset,
}

impl Payload {
    pub(super) fn bytes(&self) -> usize {
        if let Self::Bytes(bytes) = self { bytes.len() } else { 0 }
    }

    /// Whether a kernel answers it with a reset where nobody has the connection.
    pub(super) fn wants_answer(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Welcome(_) | Self::Done)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knock => f.write_str("knock"),
            Self::Welcome(_) => f.write_str("welcome"),
            Self::Refused => f.write_str("refused"),
            Self::Bytes(bytes) => write!(f, "{} bytes {:016x}", bytes.len(), digest(bytes)),
            Self::Acknowledge(count) => write!(f, "ack {count}"),
            Self::Done => f.write_str("done"),
            Self::Gone => f.write_str("gone"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

/// Tells one content from another: the multiplication of FxHash over words of eight bytes.
fn digest(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mix =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let mut hash = mix(0, bytes.len() as u64);
    for word in &mut words {
        hash = mix(hash, u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    words.remainder().iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// A connection, from the first knock until both ends have dropped it.
pub(super) struct Connection {
    pub(super) address: String,
    /// Whether all that is sent vanishes.
    pub(super) swallows: bool,
    /// The machine that the dialled address belongs to.
    to: Option<usize>,
    ends: [End; 2],
}

impl Connection {
    pub(super) fn new(
        from: Place,
        identity: Identity,
        address: String,
        to: Option<usize>,
        seed: u64,
    ) -> Self {
        let (dialler, acceptor) =
            (End::new(Chance::of(seed, &[0])), End::new(Chance::of(seed, &[1])));
        let dialler = End { place: Some(from), identity: Some(identity), ..dialler };
        Self { address, swallows: false, to, ends: [dialler, acceptor] }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    pub(super) fn machines(&self) -> [Option<usize>; 2] {
        [self.ends[0].place.map(|place| place.machine), self.to]
    }

    /// From which machine to which the packets go that reach this side; `None` where nobody has the
    /// address that was dialled.
    pub(super) fn way(&self, to: Side) -> Option<(usize, usize)> {
        let [Some(dialler), Some(acceptor)] = self.machines() else { return None };
        Some(if to == Side::Acceptor { (dialler, acceptor) } else { (acceptor, dialler) })
    }

    pub(super) fn is_held_by(&self, side: Side, place: Place) -> bool {
        let end = &self.ends[side as usize];
        end.place == Some(place) && !end.dropped
    }

    /// Whether nobody will look at it again.
    pub(super) fn is_over(&self) -> bool {
        let [dialler, acceptor] = &self.ends;
        // What is under way to an acceptor that has not been knocked at finds nobody.
        dialler.dropped && (acceptor.dropped || acceptor.place.is_none())
    }
}

/// One end of a connection.
pub(super) struct End {
    /// How long packets take to this end, and how it reads.
    chance: Chance,
    pub(super) place: Option<Place>,
    pub(super) identity: Option<Identity>,
    inbox: VecDeque<u8>,
    /// What comes after the last byte.
    ending: Option<Ending>,
    /// Who the acceptor is, or that nobody listens.
    answer: Option<Result<Identity, Refused>>,
    unacknowledged: usize,
    read: usize,
    shut_down: bool,
    dropped: bool,
    reading: Option<Waker>,
    writing: Option<Waker>,
    /// When the last of what is under way to this end arrives.
    last_arrival: Duration,
    held: VecDeque<Payload>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    Gone,
    Reset,
}

/// Nobody listens, or the connection broke before anybody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Nobody,
    Broken,
}

/// What became of a write.
pub(super) enum Written {
    Bytes(usize),
    Pending,
    Reset,
    Broken,
}

/// What became of a read.
pub(super) enum Read {
    Bytes(Vec<u8>),
    Pending,
    Done,
    Gone,
    Reset,
}

impl End {
    fn new(chance: Chance) -> Self {
        Self {
            chance,
            place: None,
            identity: None,
            inbox: VecDeque::new(),
            ending: None,
            answer: None,
            unacknowledged: 0,
            read: 0,
            shut_down: false,
            dropped: false,
            reading: None,
            writing: None,
            last_arrival: Duration::ZERO,
            held: VecDeque::new(),
        }
    }

    pub(super) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped
    }

    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn hold(&mut self, payload: Payload) {
        self.held.push_back(payload);
    }

    pub(super) fn take_held(&mut self) -> VecDeque<Payload> {
        std::mem::take(&mut self.held)
    }

    /// When what would arrive at `at` arrives, behind all that is under way already.
    pub(super) fn arrives(&mut self, at: Duration) -> Duration {
        self.last_arrival = at.max(self.last_arrival);
        self.last_arrival
    }

    /// What is under way arrives anew.
    pub(super) fn hasten(&mut self) {
        self.last_arrival = Duration::ZERO;
    }

    pub(super) fn take(&mut self, payload: Payload) -> Vec<Waker> {
        let over = self.ending == Some(Ending::Reset);
        match payload {
            _ if over => {}
            Payload::Bytes(bytes) => self.inbox.extend(bytes),
            Payload::Acknowledge(count) => {
                self.unacknowledged = self.unacknowledged.saturating_sub(count);
                return self.writing.take().into_iter().collect();
            }
            Payload::Welcome(identity) => self.answer = Some(Ok(identity)),
            Payload::Refused => self.answer = Some(Err(Refused::Nobody)),
            Payload::Done => self.ending = Some(Ending::Done),
            Payload::Gone => self.ending = Some(Ending::Gone),
            Payload::Reset => {
                self.ending = Some(Ending::Reset);
                self.inbox.clear();
            }
            Payload::Knock => {}
        }
        if self.ending.is_some_and(|ending| ending != Ending::Done) && self.answer.is_none() {
            self.answer = Some(Err(Refused::Broken));
        }
        [self.reading.take(), self.writing.take()].into_iter().flatten().collect()
    }

    pub(super) fn answer(&mut self, waker: &Waker) -> Option<Result<Identity, Refused>> {
        let answer = self.answer.clone();
        if answer.is_none() {
            self.reading = Some(waker.clone());
        }
        answer
    }

    pub(super) fn write(&mut self, bytes: &[u8], waker: &Waker) -> Written {
        if self.ending == Some(Ending::Reset) {
            return Written::Reset;
        }
        if self.shut_down || self.ending == Some(Ending::Gone) {
            return Written::Broken;
        }
        let count = bytes.len().min(WINDOW_BYTES - self.unacknowledged);
        if count == 0 && !bytes.is_empty() {
            self.writing = Some(waker.clone());
            return Written::Pending;
        }
        self.unacknowledged += count;
        Written::Bytes(count)
    }

    /// Up to `room` bytes, and how many the other end is to be told of.
    pub(super) fn read(&mut self, room: usize, waker: &Waker) -> (Read, usize) {
        if self.ending == Some(Ending::Reset) {
            return (Read::Reset, 0);
        }
        if self.inbox.is_empty() {
            let read = match self.ending {
                Some(Ending::Done) => Read::Done,
                Some(_) => Read::Gone,
                None => {
                    self.reading = Some(waker.clone());
                    Read::Pending
                }
            };
            return (read, 0);
        }
        let bytes: Vec<u8> = self.inbox.drain(..room.min(self.inbox.len())).collect();
        self.read += bytes.len();
        // As TCP does, not for each byte: for each half of the window.
        let acknowledge =
            if self.read >= WINDOW_BYTES / 2 { std::mem::take(&mut self.read) } else { 0 };
        (Read::Bytes(bytes), acknowledge)
    }

    /// Whether it was open.
    pub(super) fn shut_down(&mut self) -> bool {
        !std::mem::replace(&mut self.shut_down, true)
    }

    /// Whether it was shut down.
    pub(super) fn drop_end(&mut self) -> bool {
        self.dropped = true;
        self.reading = None;
        self.writing = None;
        self.inbox = VecDeque::new();
        self.shut_down
    }
}
