use bincode::config::Configuration;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError as BincodeError;

use super::fault::Fault;
use super::{EncodeError, Limits};

/// The buffer that a message is appended to, and what is left of the message's budgets.
///
/// Unless it is kept, the buffer gets its old length back on drop: after an error, and also when a
/// `Serialize` panics, for half a message in an outgoing buffer would corrupt all that follow.
pub(super) struct Output<'o> {
    into: &'o mut Vec<u8>,
    len_before: usize,
    len_max: usize,
    limits: &'o Limits,
    empty_elements: usize,
}

impl<'o> Output<'o> {
    #[inline]
    pub(super) fn new(into: &'o mut Vec<u8>, bytes_max: usize, limits: &'o Limits) -> Self {
        let len_before = into.len();
        let len_max = len_before.saturating_add(bytes_max);
        Self { into, len_before, len_max, limits, empty_elements: 0 }
    }

    #[inline]
    pub(super) fn keep(mut self) {
        self.len_before = self.into.len();
    }

    #[inline]
    pub(super) fn limits(&self) -> &Limits {
        self.limits
    }

    /// The length of the buffer, by which one sees whether an element took any bytes.
    #[inline]
    pub(super) fn written(&self) -> usize {
        self.into.len()
    }

    #[inline]
    pub(super) fn write<T: Encode + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        let writer = Bounded { into: self.into, len_max: self.len_max };
        let mut bincode = EncoderImpl::<_, Configuration>::new(writer, bincode::config::standard());
        // Of what is written through here (numbers, chars, text, bytes), only the bounded writer
        // refuses anything.
        value.encode(&mut bincode).map_err(|_| self.too_large())
    }

    #[cold]
    fn too_large(&self) -> Fault<EncodeError> {
        EncodeError::TooLarge { bytes_max: self.len_max - self.len_before }.into()
    }

    /// Pays for an element that took no bytes, as its receiver will have to.
    #[inline]
    pub(super) fn pay_for_empty(&mut self) -> Result<(), Fault<EncodeError>> {
        let empty_elements_max = self.limits.empty_elements_max;
        if self.empty_elements == empty_elements_max {
            return Err(EncodeError::TooManyEmpty { empty_elements_max }.into());
        }
        self.empty_elements += 1;
        Ok(())
    }
}

impl Drop for Output<'_> {
    #[inline]
    fn drop(&mut self) {
        self.into.truncate(self.len_before);
    }
}

/// Refuses the write that would make the buffer too long, before it is made.
struct Bounded<'o> {
    into: &'o mut Vec<u8>,
    len_max: usize,
}

impl Writer for Bounded<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeError> {
        if bytes.len() > self.len_max - self.into.len() {
            return Err(BincodeError::UnexpectedEnd);
        }
        self.into.extend_from_slice(bytes);
        Ok(())
    }
}
