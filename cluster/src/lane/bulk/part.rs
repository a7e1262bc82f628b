//! What travels on a bulk lane.
//!
//! Frames as on the data lane: a length (four bytes, little endian), a kind (one byte), a body.
//!
//! | kind | body |
//! |---|---|
//! | 1 begin | `var` id, `var` length of the payload, `var` after, head |
//! | 2 chunk | `var` id, `var` offset, bytes of the payload |
//! | 3 abort | `var` id: its sender has given it up |
//! | 4 delivered | `var` id |
//! | 5 refused | `var` id, why |
//! | 6 credit | account (one byte: 0 messages, 1 answers), total granted since the lane opened (8) |
//! | 7 limit | the largest payload that is taken (8); comes first, and once |
//!
//! The head is a frame of the data lane without its payload. Ids count up from 1, each way. `after` is
//! what the data lane must have delivered before: the bytes that the sender had charged there.

use super::super::frame::{FrameError, array, byte, frame, put_var, var};

/// The bytes of a payload that travel in one frame. Between two frames of one large message those of
/// others have their turn.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The largest head: 255 correlation ids of ten bytes, a topic's name and header fields.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The largest frame.
pub(super) const PART_BYTES_MAX: usize = CHUNK_BYTES + HEAD_BYTES_MAX;

const BEGIN: u8 = 1;
const CHUNK: u8 = 2;
const ABORT: u8 = 3;
const DELIVERED: u8 = 4;
const REFUSED: u8 = 5;
const CREDIT: u8 = 6;
const LIMIT: u8 = 7;

/// Whose credit a large message is charged to. Answers have their own: they are taken at once, and
/// must not wait until an actor that waits for them has taken its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Messages = 0,
    Answers = 1,
}

/// A frame as it lies in the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Begin { id: u64, length: u64, after: u64, head: &'a [u8] },
    Chunk { id: u64, offset: u64, bytes: &'a [u8] },
    Abort { id: u64 },
    Delivered { id: u64 },
    Refused { id: u64, why: &'a [u8] },
    Credit { account: Account, granted: u64 },
    Limit { bytes: u64 },
}

impl<'a> Part<'a> {
    /// Reads the frame that `body` is, without its length.
    pub(super) fn read(mut body: &'a [u8]) -> Result<Self, FrameError> {
        let rest = &mut body;
        Ok(match byte(rest)? {
            BEGIN => {
                let (id, length, after) = (var(rest)?, var(rest)?, var(rest)?);
                Self::Begin { id, length, after, head: rest }
            }
            CHUNK => {
                let (id, offset) = (var(rest)?, var(rest)?);
                Self::Chunk { id, offset, bytes: rest }
            }
            ABORT => Self::Abort { id: var(rest)? },
            DELIVERED => Self::Delivered { id: var(rest)? },
            REFUSED => Self::Refused { id: var(rest)?, why: rest },
            CREDIT => {
                let account = match byte(rest)? {
                    0 => Account::Messages,
                    1 => Account::Answers,
                    other => return Err(FrameError::UnknownFlags(other)),
                };
                Self::Credit { account, granted: u64::from_le_bytes(array(rest)?) }
            }
            LIMIT => Self::Limit { bytes: u64::from_le_bytes(array(rest)?) },
            kind => return Err(FrameError::UnknownKind(kind)),
        })
    }

    /// Appends it as a frame.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        match *self {
            Self::Begin { id, length, after, head } => frame(into, BEGIN, |into| {
                for number in [id, length, after] {
                    put_var(into, number);
                }
                into.extend_from_slice(head);
            }),
            Self::Chunk { id, offset, bytes } => frame(into, CHUNK, |into| {
                put_var(into, id);
                put_var(into, offset);
                into.extend_from_slice(bytes);
            }),
            Self::Abort { id } => frame(into, ABORT, |into| put_var(into, id)),
            Self::Delivered { id } => frame(into, DELIVERED, |into| put_var(into, id)),
            Self::Refused { id, why } => frame(into, REFUSED, |into| {
                put_var(into, id);
                into.extend_from_slice(why);
            }),
            Self::Credit { account, granted } => frame(into, CREDIT, |into| {
                into.push(account as u8);
                into.extend_from_slice(&granted.to_le_bytes());
            }),
            Self::Limit { bytes } => {
                frame(into, LIMIT, |into| into.extend_from_slice(&bytes.to_le_bytes()))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::frame::LENGTH_BYTES;
    use super::*;

    #[test]
    fn each_part_reads_as_it_was_written() {
        let account = Account::Answers;
        for part in [
            Part::Begin { id: 300, length: 1 << 26, after: u64::MAX, head: b"head" },
            Part::Chunk { id: 1, offset: 1 << 20, bytes: b"bytes" },
            Part::Abort { id: 2 },
            Part::Delivered { id: 3 },
            Part::Refused { id: 4, why: b"why" },
            Part::Credit { account, granted: u64::MAX },
            Part::Limit { bytes: 1 << 26 },
        ] {
            let mut bytes = Vec::new();
            part.write(&mut bytes);
            assert_eq!(Part::read(&bytes[LENGTH_BYTES..]), Ok(part));
            for cut in LENGTH_BYTES..bytes.len() {
                // A cut in the last bytes of a head, a payload or a reason leaves a shorter one.
                let _ = Part::read(&bytes[LENGTH_BYTES..cut]);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_part_or_an_error(bytes: Vec<u8>) {
            let _ = Part::read(&bytes);
        }
    }
}
