//! What travels on a data lane.
//!
//! Every frame is a length (four bytes, little endian, of what follows), a kind (one byte), and a
//! body. Numbers marked `var` are LEB128: seven bits a byte, the lowest first.
//!
//! | kind | body |
//! |---|---|
//! | 1 message | flags, `var` actor, fingerprint (4), the correlation ids if flagged, fields if flagged, payload |
//! | 2 answer | flags, `var` correlation, the correlation ids if flagged, fields if flagged, payload |
//! | 3 refusal | `var` correlation, why |
//! | 4 credit | total granted since the lane opened (8): bytes of messages and publications as whole frames, and 256 more for each |
//! | 5 cancel | `var` correlation |
//! | 6 publication | flags, `var` length and topic, fingerprint (4), fields if flagged, payload |
//! | 7 undelivered | `var` actor, why |
//!
//! Flags: 1, correlation ids follow (their number in one byte, then each as `var`); 2, header fields
//! follow (`var` length of all; each a tag byte, `var` length, bytes). A field whose tag has its
//! highest bit set must be understood; others are skipped. Unknown flags are refused, so an old node
//! refuses what it would misread. Of a field that comes twice the first counts.
//!
//! | field | bytes |
//! |---|---|
//! | 1 deadlines | for each correlation id, in order, a `var`: 0 where nothing is known, else the microseconds that its asker still waited when the frame was written, and one more |
//! | 2 trace | the trace that the message goes on with: trace id (16), span id (8), flags (1), all big endian, and `tracestate`; one that is not right is left out |

use std::time::Duration;

use thiserror::Error;
use umbel_actors::TraceContext;

/// The largest frame that a lane takes unless it is told otherwise, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;

/// The bytes of the length that comes before each frame.
pub(crate) const LENGTH_BYTES: usize = 4;

/// The most questions that one message may ask.
pub(crate) const ASKS_PER_MESSAGE_MAX: usize = 255;

const MESSAGE: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;
const CREDIT: u8 = 4;
const CANCEL: u8 = 5;
const PUBLICATION: u8 = 6;
const UNDELIVERED: u8 = 7;

const ASKS: u8 = 1;
const FIELDS: u8 = 2;

const DEADLINES: u8 = 1;
const TRACE: u8 = 2;

/// A frame as it lies in the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message {
        actor: u64,
        schema: u32,
        asks: Asks<'a>,
        /// The bytes of a trace context.
        trace: Option<&'a [u8]>,
        payload: &'a [u8],
    },
    Answer {
        correlation: u64,
        asks: Asks<'a>,
        payload: &'a [u8],
    },
    Refusal {
        correlation: u64,
        why: &'a [u8],
    },
    Credit {
        granted: u64,
    },
    Cancel {
        correlation: u64,
    },
    Publication {
        topic: &'a str,
        schema: u32,
        payload: &'a [u8],
    },
    Undelivered {
        actor: u64,
        why: &'a [u8],
    },
}

/// The questions of a message: checked, and decoded as they are iterated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks<'a> {
    correlations: &'a [u8],
    /// Of as many questions, or of none.
    deadlines: &'a [u8],
}

/// One question of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) correlation: u64,
    /// How long its asker still waited when the frame was written, where that is known.
    pub(crate) remaining: Option<Duration>,
}

impl Asks<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.correlations.is_empty()
    }

    /// Whether it asks, and all who do had waited too long when the frame was written.
    pub(crate) fn are_late(self) -> bool {
        let mut asks = self;
        !self.is_empty() && asks.all(|ask| ask.remaining == Some(Duration::ZERO))
    }
}

impl Iterator for Asks<'_> {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        if self.is_empty() {
            return None;
        }
        let correlation = var(&mut self.correlations).ok()?;
        let remaining = var(&mut self.deadlines).ok().and_then(|field| field.checked_sub(1));
        Some(Ask { correlation, remaining: remaining.map(Duration::from_micros) })
    }
}

/// The header of a message or an answer that is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header<'a> {
    /// The correlation ids of its questions.
    pub(crate) asks: &'a [u64],
    /// Its fields, as they are written one after the other.
    pub(crate) fields: &'a [u8],
}

impl<'a> From<&'a [u64]> for Header<'a> {
    fn from(asks: &'a [u64]) -> Self {
        Self { asks, fields: &[] }
    }
}

impl<'a, const N: usize> From<&'a [u64; N]> for Header<'a> {
    fn from(asks: &'a [u64; N]) -> Self {
        asks.as_slice().into()
    }
}

impl Header<'_> {
    /// The most bytes that a frame with this header has beside its payload.
    pub(crate) fn bytes_max(&self) -> usize {
        FRAME_COSTS_BYTES + VAR_BYTES * (self.asks.len() + 1) + self.fields.len()
    }

    fn flags(&self) -> u8 {
        let asks = if self.asks.is_empty() { 0 } else { ASKS };
        asks | if self.fields.is_empty() { 0 } else { FIELDS }
    }

    fn put(&self, into: &mut Vec<u8>) {
        debug_assert!(self.asks.len() <= ASKS_PER_MESSAGE_MAX);
        if !self.asks.is_empty() {
            into.push(self.asks.len() as u8);
            for ask in self.asks {
                put_var(into, *ask);
            }
        }
        if !self.fields.is_empty() {
            put_var(into, self.fields.len() as u64);
            into.extend_from_slice(self.fields);
        }
    }
}

/// What a frame without questions, fields and payload takes at most: kind, flags, actor or
/// correlation id, fingerprint, the number of questions.
const FRAME_COSTS_BYTES: usize = 1 + 1 + VAR_BYTES + 4 + 1;

/// The most bytes of a number.
const VAR_BYTES: usize = 10;

/// Why bytes are not a frame. The connection cannot go on: the two ends disagree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a frame of {bytes} bytes, where the limit is {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a frame that ends too early")]
    Truncated,
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame with the unknown flags {0:#04x}")]
    UnknownFlags(u8),
    #[error("a frame with the header field {0:#04x}, which must be understood and is not")]
    UnknownField(u8),
    #[error("a frame whose header field {0:#04x} holds nonsense")]
    Field(u8),
    #[error("a number that does not end")]
    Number,
    #[error("a topic whose name is not text")]
    Topic,
}

/// The length of the first frame in `bytes`, without its length field; `None` while that is not
/// complete.
pub(crate) fn first_length(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > bytes_max {
        return Err(FrameError::TooLarge { bytes: length, bytes_max });
    }
    Ok(Some(length))
}

impl<'a> Frame<'a> {
    /// Reads the frame that `body` is, without its length.
    pub(crate) fn read(mut body: &'a [u8]) -> Result<Self, FrameError> {
        let rest = &mut body;
        Ok(match byte(rest)? {
            MESSAGE => {
                let flags = flags(rest)?;
                let actor = var(rest)?;
                let schema = u32::from_le_bytes(array(rest)?);
                let mut asks = asks(flags, rest)?;
                let trace = fields(flags, rest, &mut asks)?;
                Self::Message { actor, schema, asks, trace, payload: rest }
            }
            ANSWER => {
                let flags = flags(rest)?;
                let correlation = var(rest)?;
                let mut asks = asks(flags, rest)?;
                fields(flags, rest, &mut asks)?;
                Self::Answer { correlation, asks, payload: rest }
            }
            REFUSAL => Self::Refusal { correlation: var(rest)?, why: rest },
            CREDIT => Self::Credit { granted: u64::from_le_bytes(array(rest)?) },
            CANCEL => Self::Cancel { correlation: var(rest)? },
            PUBLICATION => {
                let flags = flags(rest)?;
                let length = var(rest)?;
                let name = take(rest, length)?;
                let topic = std::str::from_utf8(name).map_err(|_| FrameError::Topic)?;
                let schema = u32::from_le_bytes(array(rest)?);
                fields(flags, rest, &mut Asks::default())?;
                Self::Publication { topic, schema, payload: rest }
            }
            UNDELIVERED => Self::Undelivered { actor: var(rest)?, why: rest },
            kind => return Err(FrameError::UnknownKind(kind)),
        })
    }
}

/// Reads frame after frame, and says what became of the last: the doors of `fuzzing` lead here.
pub(crate) fn read_frames(mut bytes: &[u8], bytes_max: usize) -> Result<usize, FrameError> {
    let mut read = 0;
    while let Some(length) = first_length(bytes, bytes_max)? {
        let Some(body) = bytes.get(LENGTH_BYTES..LENGTH_BYTES + length) else { break };
        if let Frame::Message { asks, .. } | Frame::Answer { asks, .. } = Frame::read(body)? {
            assert!(asks.count() <= ASKS_PER_MESSAGE_MAX, "one byte counts them");
        }
        bytes = &bytes[LENGTH_BYTES + length..];
        read += 1;
    }
    Ok(read)
}

/// Appends a whole frame: what `body` writes behind the kind, under its length.
fn frame(into: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = into.len();
    into.extend_from_slice(&[0; LENGTH_BYTES]);
    into.push(kind);
    body(into);
    let length = into.len() - start;
    let field =
        u32::try_from(length - LENGTH_BYTES).expect("frames are limited to far below 4 GiB");
    into[start..start + LENGTH_BYTES].copy_from_slice(&field.to_le_bytes());
    length
}

pub(crate) fn message<'a>(
    into: &mut Vec<u8>,
    actor: u64,
    schema: u32,
    header: impl Into<Header<'a>>,
    payload: &[u8],
) -> usize {
    let header = header.into();
    frame(into, MESSAGE, |into| {
        into.push(header.flags());
        put_var(into, actor);
        into.extend_from_slice(&schema.to_le_bytes());
        header.put(into);
        into.extend_from_slice(payload);
    })
}

pub(crate) fn answer<'a>(
    into: &mut Vec<u8>,
    correlation: u64,
    header: impl Into<Header<'a>>,
    payload: &[u8],
) -> usize {
    let header = header.into();
    frame(into, ANSWER, |into| {
        into.push(header.flags());
        put_var(into, correlation);
        header.put(into);
        into.extend_from_slice(payload);
    })
}

/// Appends the field that says how long each asker still waits; nothing where it is known of none.
pub(crate) fn put_deadlines(
    into: &mut Vec<u8>,
    remaining: impl Iterator<Item = Option<Duration>> + Clone,
) {
    if remaining.clone().all(|remaining| remaining.is_none()) {
        return;
    }
    let field = |remaining: Option<Duration>| {
        remaining.map_or(0, |left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX - 1) + 1)
    };
    let bytes = remaining.clone().map(|remaining| var_bytes(field(remaining))).sum::<usize>();
    into.push(DEADLINES);
    put_var(into, bytes as u64);
    remaining.for_each(|remaining| put_var(into, field(remaining)));
}

/// Appends the field that says which trace the message goes on with.
pub(crate) fn put_trace(into: &mut Vec<u8>, trace: &TraceContext) {
    into.push(TRACE);
    put_var(into, (TRACE_COSTS_BYTES + trace.state().len()) as u64);
    trace.write(into);
}

/// What a trace takes without its state.
const TRACE_COSTS_BYTES: usize = 16 + 8 + 1;

pub(crate) fn refusal(into: &mut Vec<u8>, correlation: u64, why: &[u8]) -> usize {
    frame(into, REFUSAL, |into| {
        put_var(into, correlation);
        into.extend_from_slice(why);
    })
}

pub(crate) fn credit(into: &mut Vec<u8>, granted: u64) -> usize {
    frame(into, CREDIT, |into| into.extend_from_slice(&granted.to_le_bytes()))
}

pub(crate) fn cancel(into: &mut Vec<u8>, correlation: u64) -> usize {
    frame(into, CANCEL, |into| put_var(into, correlation))
}

pub(crate) fn publication(into: &mut Vec<u8>, topic: &str, schema: u32, payload: &[u8]) -> usize {
    frame(into, PUBLICATION, |into| {
        into.push(0);
        put_var(into, topic.len() as u64);
        into.extend_from_slice(topic.as_bytes());
        into.extend_from_slice(&schema.to_le_bytes());
        into.extend_from_slice(payload);
    })
}

pub(crate) fn undelivered(into: &mut Vec<u8>, actor: u64, why: &[u8]) -> usize {
    frame(into, UNDELIVERED, |into| {
        put_var(into, actor);
        into.extend_from_slice(why);
    })
}

fn byte(rest: &mut &[u8]) -> Result<u8, FrameError> {
    let (first, tail) = rest.split_first().ok_or(FrameError::Truncated)?;
    *rest = tail;
    Ok(*first)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FrameError> {
    let (first, tail) = rest.split_first_chunk::<N>().ok_or(FrameError::Truncated)?;
    *rest = tail;
    Ok(*first)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], FrameError> {
    let length = usize::try_from(length).map_err(|_| FrameError::Truncated)?;
    let (first, tail) = rest.split_at_checked(length).ok_or(FrameError::Truncated)?;
    *rest = tail;
    Ok(first)
}

fn flags(rest: &mut &[u8]) -> Result<u8, FrameError> {
    let flags = byte(rest)?;
    if flags & !(ASKS | FIELDS) != 0 { Err(FrameError::UnknownFlags(flags)) } else { Ok(flags) }
}

fn asks<'a>(flags: u8, rest: &mut &'a [u8]) -> Result<Asks<'a>, FrameError> {
    if flags & ASKS == 0 {
        return Ok(Asks::default());
    }
    let count = byte(rest)?;
    let start = *rest;
    for _ in 0..count {
        var(rest)?;
    }
    Ok(Asks { correlations: &start[..start.len() - rest.len()], deadlines: &[] })
}

/// Reads the fields behind the correlation ids; what is known of the questions goes to `asks`.
fn fields<'a>(
    flags: u8,
    rest: &mut &'a [u8],
    asks: &mut Asks<'a>,
) -> Result<Option<&'a [u8]>, FrameError> {
    let mut trace = None;
    if flags & FIELDS == 0 {
        return Ok(trace);
    }
    let length = var(rest)?;
    let mut fields = take(rest, length)?;
    while !fields.is_empty() {
        let tag = byte(&mut fields)?;
        let length = var(&mut fields)?;
        let bytes = take(&mut fields, length)?;
        match tag {
            DEADLINES if asks.deadlines.is_empty() => {
                let mut numbers = bytes;
                for _ in *asks {
                    var(&mut numbers).map_err(|_| FrameError::Field(tag))?;
                }
                if !numbers.is_empty() {
                    return Err(FrameError::Field(tag));
                }
                asks.deadlines = bytes;
            }
            TRACE if trace.is_none() => trace = Some(bytes),
            0x80.. => return Err(FrameError::UnknownField(tag)),
            _ => {}
        }
    }
    Ok(trace)
}

fn var(rest: &mut &[u8]) -> Result<u64, FrameError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        let bits = u64::from(next & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(FrameError::Number);
        }
        number |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(FrameError::Number)
}

/// How many bytes `put_var` puts.
fn var_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_var(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests;
