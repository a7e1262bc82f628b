//! What a message looks like on the wire: bincode 2 (variable-length integers, little endian).
//!
//! Positions, not names, carry the meaning, so an added field is a different message: version
//! messages as enums. serde attributes that need names on the wire (`flatten`, `untagged`, `tag`)
//! or that leave fields out for some values (`skip_serializing_if`) cannot be carried. They are
//! refused with an error where serde lets us see them, which is always on one of the two sides.
//!
//! The integers and floats are read and written by bincode. The containers are walked by us, byte
//! for byte as bincode would (a test holds the two together), because a walk over bytes that a
//! stranger chose has to be bounded in ways bincode is not:
//!
//! * **Memory.** No length is believed: a string or byte array is cut out of the bytes that are
//!   there, and all sequences of a message together reserve room for no more elements than the
//!   message has bytes.
//! * **Stack.** Nesting is counted, and refused beyond [`Limits::depth_max`].
//! * **Time.** An element that takes no bytes costs a stranger nothing, so there may be
//!   [`Limits::empty_elements_max`] of them in a message.
//! * **Meaning.** Bytes left over after the value are refused.
//!
//! [`encode`] keeps to the same limits, so that what is too much for the receiver is an error for
//! the sender, who can do something about it.

mod containers;
mod decoder;
mod encoder;
mod error;
mod fault;
mod input;
mod limits;
mod output;
mod parts;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{DecodeError, EncodeError};
pub use limits::Limits;

use decoder::Decoder;
use encoder::Encoder;
use fault::Fault;
use input::Input;
use output::Output;

/// The number by which two nodes agree on this format when they shake hands.
///
/// It names everything that decides the bytes of a value: bincode 2, its standard configuration.
pub const CODEC_ID: u16 = 1;

/// Appends the bytes of `value` to `into`, at most `bytes_max` of them, within
/// [`Limits::default`].
///
/// Writing stops at the first byte that is too many, so a huge value is refused without being
/// buffered. Nothing is allocated but room in `into`, unless a `Serialize` of `value` does so
/// itself.
///
/// # Errors
/// See [`EncodeError`]. After an error, or a panic in a `Serialize`, `into` holds what it held
/// before.
pub fn encode<T: Serialize + ?Sized>(
    value: &T,
    into: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), EncodeError> {
    encode_within(value, into, bytes_max, Limits::default())
}

/// As [`encode`], for receivers that are known to decode with other limits than the default.
///
/// # Errors
/// See [`EncodeError`]; `into` then holds what it held before.
pub fn encode_within<T: Serialize + ?Sized>(
    value: &T,
    into: &mut Vec<u8>,
    bytes_max: usize,
    limits: Limits,
) -> Result<(), EncodeError> {
    let mut output = Output::new(into, bytes_max, &limits);
    value.serialize(Encoder::new(&mut output)).map_err(Fault::into_error)?;
    output.keep();
    Ok(())
}

/// Reads one value that takes up all of `bytes`.
///
/// However hostile the bytes, this neither panics nor aborts, and takes time and memory in
/// proportion to them (times the size of an element in memory, where the type has sequences);
/// provided that the `Deserialize` of `T` is derived, or as careful. A value built before the
/// error was met is dropped.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Result<T, DecodeError> {
    let mut input = Input::new(bytes, limits);
    let value = T::deserialize(Decoder::new(&mut input)).map_err(Fault::into_error)?;
    match input.remaining() {
        0 => Ok(value),
        bytes => Err(DecodeError::TrailingBytes { bytes }),
    }
}
