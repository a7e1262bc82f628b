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
//! | 4 credit | total granted since the lane opened (8): bytes of messages and publications as whole frames, and 1,280 more for each |
//! | 5 cancel | `var` correlation |
//! | 6 publication | flags, `var` length and topic, fingerprint (4), fields if flagged, payload |
//! | 7 undelivered | `var` actor, why |
//! | 8 pause | `var` actor: send it nothing until it is resumed |
//! | 9 resume | `var` actor |
//! | 10 bulk wanted | nothing: the side that dialled is to open the bulk lane |
//!
//! Flags: 1, correlation ids follow (their number in one byte, then each as `var`); 2, header fields
//! follow (`var` length of all; each a tag byte, `var` length, bytes). A field whose tag has its
//! highest bit set must be understood; others are skipped. Unknown flags are refused, so an old node
//! refuses what it would misread. Of a field that comes twice the first counts.
//!
//! | field | bytes |
//! |---|---|
//! | 1 deadlines | for each correlation id, in order, a `var`: 0 where nothing is known, else the microseconds that its asker still waited when the frame was written, and one more |
//! | 2 trace | the trace that the message or publication goes on with: trace id (16), span id (8), flags (1), all big endian, and `tracestate`; one that is not right is left out |

mod header;

use thiserror::Error;

pub(crate) use self::header::{Ask, Asks, Header, put_deadlines, put_trace};
use self::header::{asks, fields, flags};

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
const PAUSE: u8 = 8;
const RESUME: u8 = 9;
const BULK_WANTED: u8 = 10;

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
        /// The bytes of a trace context.
        trace: Option<&'a [u8]>,
        payload: &'a [u8],
    },
    Undelivered {
        actor: u64,
        why: &'a [u8],
    },
    Pause {
        actor: u64,
    },
    Resume {
        actor: u64,
    },
    BulkWanted,
}

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
                let trace = fields(flags, rest, &mut Asks::default())?;
                Self::Publication { topic, schema, trace, payload: rest }
            }
            UNDELIVERED => Self::Undelivered { actor: var(rest)?, why: rest },
            PAUSE => Self::Pause { actor: var(rest)? },
            RESUME => Self::Resume { actor: var(rest)? },
            BULK_WANTED => Self::BulkWanted,
            kind => return Err(FrameError::UnknownKind(kind)),
        })
    }

    /// The same with this payload, where a frame has one: a large message comes in two parts.
    pub(crate) fn with_payload(mut self, bytes: &'a [u8]) -> Option<Self> {
        match &mut self {
            Self::Message { payload, .. }
            | Self::Answer { payload, .. }
            | Self::Publication { payload, .. } => *payload = bytes,
            _ => return None,
        }
        Some(self)
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
pub(super) fn frame(into: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> usize {
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

/// `fields` are written one after the other.
pub(crate) fn publication(
    into: &mut Vec<u8>,
    topic: &str,
    schema: u32,
    fields: &[u8],
    payload: &[u8],
) -> usize {
    let header = Header { asks: &[], fields };
    frame(into, PUBLICATION, |into| {
        into.push(header.flags());
        put_var(into, topic.len() as u64);
        into.extend_from_slice(topic.as_bytes());
        into.extend_from_slice(&schema.to_le_bytes());
        header.put(into);
        into.extend_from_slice(payload);
    })
}

pub(crate) fn undelivered(into: &mut Vec<u8>, actor: u64, why: &[u8]) -> usize {
    frame(into, UNDELIVERED, |into| {
        put_var(into, actor);
        into.extend_from_slice(why);
    })
}

pub(crate) fn pause(into: &mut Vec<u8>, actor: u64) -> usize {
    frame(into, PAUSE, |into| put_var(into, actor))
}

pub(crate) fn resume(into: &mut Vec<u8>, actor: u64) -> usize {
    frame(into, RESUME, |into| put_var(into, actor))
}

pub(crate) fn bulk_wanted(into: &mut Vec<u8>) -> usize {
    frame(into, BULK_WANTED, |_| {})
}

pub(super) fn byte(rest: &mut &[u8]) -> Result<u8, FrameError> {
    let (first, tail) = rest.split_first().ok_or(FrameError::Truncated)?;
    *rest = tail;
    Ok(*first)
}

pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], FrameError> {
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

pub(super) fn var(rest: &mut &[u8]) -> Result<u64, FrameError> {
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

pub(super) fn put_var(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests;
