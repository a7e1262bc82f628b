use bincode::config::Configuration;
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder as _, DecoderImpl};
use bincode::error::DecodeError as BincodeError;

use super::fault::Fault;
use super::{DecodeError, Limits};

/// The bytes still to be decoded, and what is left of the budgets of their message.
pub(super) struct Input<'de> {
    bincode: DecoderImpl<Rest<'de>, Configuration, ()>,
    limits: Limits,
    empty_elements_left: usize,
    reservable_elements_left: usize,
}

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8], limits: Limits) -> Self {
        Self {
            bincode: DecoderImpl::new(Rest(bytes), bincode::config::standard(), ()),
            limits,
            empty_elements_left: limits.empty_elements_max,
            reservable_elements_left: bytes.len(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline]
    pub(super) fn remaining(&mut self) -> usize {
        self.bincode.reader().0.len()
    }

    #[inline]
    pub(super) fn read<T: Decode<()>>(&mut self) -> Result<T, Fault<DecodeError>> {
        T::decode(&mut self.bincode).map_err(Fault::from)
    }

    /// Reads a length. One that does not fit this machine's `usize` is longer than any message.
    #[inline]
    pub(super) fn read_len(&mut self) -> Result<usize, Fault<DecodeError>> {
        usize::try_from(self.read::<u64>()?).map_err(|_| DecodeError::Truncated.into())
    }

    /// Reads a length, and that many bytes.
    #[inline]
    pub(super) fn read_bytes(&mut self) -> Result<&'de [u8], Fault<DecodeError>> {
        let len = self.read_len()?;
        let rest = &mut self.bincode.reader().0;
        let (bytes, after) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        *rest = after;
        Ok(bytes)
    }

    /// For how many of `len` elements memory may be reserved before they are read.
    ///
    /// Each element of an honest message takes a byte that no other element takes (those that take
    /// none have a budget of their own), so all its sequences together have no more elements than
    /// it has bytes. A message reserves that many, and never twice: nesting cannot multiply it.
    #[inline]
    pub(super) fn reserve(&mut self, len: usize) -> usize {
        let granted = len.min(self.reservable_elements_left);
        self.reservable_elements_left -= granted;
        granted
    }

    /// Pays for an element that took no bytes.
    #[inline]
    pub(super) fn pay_for_empty(&mut self) -> Result<(), Fault<DecodeError>> {
        let empty_elements_max = self.limits.empty_elements_max;
        self.empty_elements_left = self
            .empty_elements_left
            .checked_sub(1)
            .ok_or(DecodeError::TooManyEmpty { empty_elements_max })?;
        Ok(())
    }
}

/// bincode's own slice reader does not say how much of the slice remains.
struct Rest<'de>(&'de [u8]);

impl Reader for Rest<'_> {
    #[inline(always)]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BincodeError> {
        let Some((read, after)) = self.0.split_at_checked(bytes.len()) else {
            return Err(BincodeError::UnexpectedEnd { additional: bytes.len() - self.0.len() });
        };
        bytes.copy_from_slice(read);
        self.0 = after;
        Ok(())
    }

    #[inline]
    fn peek_read(&mut self, len: usize) -> Option<&[u8]> {
        self.0.get(..len)
    }

    #[inline]
    fn consume(&mut self, len: usize) {
        self.0 = self.0.get(len..).unwrap_or_default();
    }
}
