//! What stands before the payload of a message or an answer.

use std::time::Duration;

use tokio::time::Instant;
use umbel_actors::TraceContext;

use super::{ASKS_PER_MESSAGE_MAX, FrameError, byte, put_var, take, var};

pub(super) const ASKS: u8 = 1;
pub(super) const FIELDS: u8 = 2;

pub(super) const DEADLINES: u8 = 1;
pub(super) const TRACE: u8 = 2;

/// The questions of a message: checked, and decoded as they are iterated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks<'a> {
    pub(super) correlations: &'a [u8],
    /// Of as many questions, or of none.
    pub(super) deadlines: &'a [u8],
}

/// One question of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) correlation: u64,
    /// How long its asker still waited when the frame was written, where that is known.
    pub(crate) remaining: Option<Duration>,
}

impl Ask {
    /// Until when its asker waits, if the frame was written just now.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until_from(Instant::now())
    }

    /// Until when its asker waits, if the frame was written then.
    pub(crate) fn until_from(&self, written: Instant) -> Option<Instant> {
        // One too far off for the clock is none.
        self.remaining.and_then(|remaining| written.checked_add(remaining))
    }
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

    pub(super) fn flags(&self) -> u8 {
        let asks = if self.asks.is_empty() { 0 } else { ASKS };
        asks | if self.fields.is_empty() { 0 } else { FIELDS }
    }

    pub(super) fn put(&self, into: &mut Vec<u8>) {
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

pub(super) fn flags(rest: &mut &[u8]) -> Result<u8, FrameError> {
    let flags = byte(rest)?;
    if flags & !(ASKS | FIELDS) != 0 { Err(FrameError::UnknownFlags(flags)) } else { Ok(flags) }
}

pub(super) fn asks<'a>(flags: u8, rest: &mut &'a [u8]) -> Result<Asks<'a>, FrameError> {
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
pub(super) fn fields<'a>(
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

/// How many bytes `put_var` puts.
fn var_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}
