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
//! | 8 pause | `var` actor: send it nothing until it is resumed |
//! | 9 resume | `var` actor |
//! | 10 bulk wanted | nothing: the side that dialled is to open the bulk lane |
//!
//! Flags: 1, correlation ids follow (their number in one byte, then each as `var`); 2, header fields
//! follow (`var` length of all; each a tag byte, `var` length, bytes). A field whose tag has its
//! highest bit set must be understood; others are skipped. Unknown flags are refused, so an old node
//! refuses what it would misread.

use thiserror::Error;

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

const ASKS: u8 = 1;
const FIELDS: u8 = 2;

/// A frame as it lies in the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Message { actor: u64, schema: u32, asks: Asks<'a>, payload: &'a [u8] },
    Answer { correlation: u64, asks: Asks<'a>, payload: &'a [u8] },
    Refusal { correlation: u64, why: &'a [u8] },
    Credit { granted: u64 },
    Cancel { correlation: u64 },
    Publication { topic: &'a str, schema: u32, payload: &'a [u8] },
    Undelivered { actor: u64, why: &'a [u8] },
    Pause { actor: u64 },
    Resume { actor: u64 },
    BulkWanted,
}

/// The correlation ids of a message: checked, and decoded as they are iterated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks<'a>(&'a [u8]);

impl Iterator for Asks<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.0.is_empty() { None } else { var(&mut self.0).ok() }
    }
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
                let asks = asks(flags, rest)?;
                fields(flags, rest)?;
                Self::Message { actor, schema, asks, payload: rest }
            }
            ANSWER => {
                let flags = flags(rest)?;
                let correlation = var(rest)?;
                let asks = asks(flags, rest)?;
                fields(flags, rest)?;
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
                fields(flags, rest)?;
                Self::Publication { topic, schema, payload: rest }
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

pub(crate) fn message(
    into: &mut Vec<u8>,
    actor: u64,
    schema: u32,
    asks: &[u64],
    payload: &[u8],
) -> usize {
    frame(into, MESSAGE, |into| {
        into.push(if asks.is_empty() { 0 } else { ASKS });
        put_var(into, actor);
        into.extend_from_slice(&schema.to_le_bytes());
        put_asks(into, asks);
        into.extend_from_slice(payload);
    })
}

pub(crate) fn answer(into: &mut Vec<u8>, correlation: u64, asks: &[u64], payload: &[u8]) -> usize {
    frame(into, ANSWER, |into| {
        into.push(if asks.is_empty() { 0 } else { ASKS });
        put_var(into, correlation);
        put_asks(into, asks);
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
    Ok(Asks(&start[..start.len() - rest.len()]))
}

fn put_asks(into: &mut Vec<u8>, asks: &[u64]) {
    debug_assert!(asks.len() <= ASKS_PER_MESSAGE_MAX);
    if !asks.is_empty() {
        into.push(asks.len() as u8);
        for ask in asks {
            put_var(into, *ask);
        }
    }
}

fn fields(flags: u8, rest: &mut &[u8]) -> Result<(), FrameError> {
    if flags & FIELDS == 0 {
        return Ok(());
    }
    let length = var(rest)?;
    let mut fields = take(rest, length)?;
    while !fields.is_empty() {
        let tag = byte(&mut fields)?;
        let length = var(&mut fields)?;
        take(&mut fields, length)?;
        if tag & 0x80 != 0 {
            return Err(FrameError::UnknownField(tag));
        }
    }
    Ok(())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(bytes: &[u8]) -> &[u8] {
        let length = first_length(bytes, usize::MAX).unwrap().unwrap();
        assert_eq!(bytes.len(), LENGTH_BYTES + length);
        &bytes[LENGTH_BYTES..]
    }

    proptest! {
        #[test]
        fn a_message_reads_as_it_was_written(
            actor: u64,
            schema: u32,
            asks in prop::collection::vec(any::<u64>(), 0..5),
            payload: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            message(&mut bytes, actor, schema, &asks, &payload);
            let Frame::Message { actor: a, schema: s, asks: k, payload: p } =
                Frame::read(body(&bytes)).unwrap() else { panic!() };
            prop_assert_eq!((a, s, k.collect::<Vec<_>>(), p), (actor, schema, asks, &payload[..]));
        }

        #[test]
        fn arbitrary_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
            if let Ok(Frame::Message { asks, .. }) = Frame::read(&bytes) {
                prop_assert!(asks.count() <= ASKS_PER_MESSAGE_MAX);
            }
        }
    }

    #[test]
    fn the_other_frames_read_as_they_were_written() {
        let mut bytes = Vec::new();
        answer(&mut bytes, 300, &[1, 2], b"yes");
        let Ok(Frame::Answer { correlation: 300, asks, payload: b"yes" }) =
            Frame::read(body(&bytes))
        else {
            panic!()
        };
        assert_eq!(asks.collect::<Vec<_>>(), [1, 2]);
        bytes.clear();
        refusal(&mut bytes, 1, b"no");
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Refusal { correlation: 1, why: b"no" }));
        bytes.clear();
        credit(&mut bytes, u64::MAX);
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Credit { granted: u64::MAX }));
        bytes.clear();
        cancel(&mut bytes, 7);
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Cancel { correlation: 7 }));
        bytes.clear();
        publication(&mut bytes, "news", 5, b"hear");
        let heard = Frame::Publication { topic: "news", schema: 5, payload: b"hear" };
        assert_eq!(Frame::read(body(&bytes)), Ok(heard));
        bytes.clear();
        undelivered(&mut bytes, 9, b"gone");
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Undelivered { actor: 9, why: b"gone" }));
        bytes.clear();
        pause(&mut bytes, 9);
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Pause { actor: 9 }));
        bytes.clear();
        resume(&mut bytes, 9);
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::Resume { actor: 9 }));
        bytes.clear();
        bulk_wanted(&mut bytes);
        assert_eq!(Frame::read(body(&bytes)), Ok(Frame::BulkWanted));
    }

    #[test]
    fn the_bytes_of_a_message_are_what_they_were_when_the_protocol_was_frozen() {
        let mut bytes = Vec::new();
        message(&mut bytes, 300, 0x0403_0201, &[5], b"x");
        assert_eq!(bytes, [11, 0, 0, 0, 1, 1, 0xac, 2, 1, 2, 3, 4, 1, 5, b'x']);
    }

    #[test]
    fn a_field_that_must_be_understood_is_refused_and_another_is_skipped() {
        let with = |tag: u8| [MESSAGE, FIELDS, 1, 0, 0, 0, 0, 3, tag, 1, 9, b'p'];
        assert_eq!(Frame::read(&with(0x81)), Err(FrameError::UnknownField(0x81)));
        assert!(matches!(Frame::read(&with(1)), Ok(Frame::Message { payload: b"p", .. })));
    }

    #[test]
    fn what_an_old_node_does_not_know_it_refuses() {
        assert_eq!(Frame::read(&[99]), Err(FrameError::UnknownKind(99)));
        assert_eq!(Frame::read(&[MESSAGE, 4, 1, 0, 0, 0, 0]), Err(FrameError::UnknownFlags(4)));
        assert_eq!(Frame::read(&[]), Err(FrameError::Truncated));
        assert_eq!(Frame::read(&[CANCEL, 0xff]), Err(FrameError::Truncated));
        let endless = [&[CANCEL][..], &[0xff; 10]].concat();
        assert_eq!(Frame::read(&endless), Err(FrameError::Number));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_reserved() {
        let lie = u32::MAX.to_le_bytes();
        assert!(matches!(first_length(&lie, 1024), Err(FrameError::TooLarge { .. })));
        assert_eq!(first_length(&lie[..3], 1024), Ok(None));
    }
}
