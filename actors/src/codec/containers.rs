use serde::de::value::U32Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer as _};
use serde::de::{MapAccess, SeqAccess, VariantAccess, Visitor};

use super::DecodeError;
use super::decoder::Decoder;
use super::fault::Fault;

/// The elements of a sequence whose length is on the wire, or the parts of a tuple or struct,
/// whose number is in the type.
pub(super) struct Elements<'a, 'de> {
    decoder: Decoder<'a, 'de>,
    left: usize,
    size_hint: usize,
    /// Whoever wrote the bytes chose how many there are, so those that take no bytes are paid for.
    counted: bool,
}

impl<'a, 'de> Elements<'a, 'de> {
    #[inline]
    pub(super) fn counted(decoder: Decoder<'a, 'de>) -> Result<Self, Fault<DecodeError>> {
        let left = decoder.input.read_len()?;
        let size_hint = decoder.input.reserve(left);
        Ok(Self { decoder, left, size_hint, counted: true })
    }

    #[inline]
    pub(super) fn fixed(decoder: Decoder<'a, 'de>, len: usize) -> Self {
        Self { decoder, left: len, size_hint: len, counted: false }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault<DecodeError>;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault<DecodeError>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if !self.counted {
            return seed.deserialize(self.decoder.again()).map(Some);
        }
        let before = self.decoder.input.remaining();
        let element = seed.deserialize(self.decoder.again())?;
        if self.decoder.input.remaining() == before {
            self.decoder.input.pay_for_empty()?;
        }
        Ok(Some(element))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.size_hint.min(self.left))
    }
}

/// The entries of a map, whose number is on the wire.
pub(super) struct Entries<'a, 'de> {
    decoder: Decoder<'a, 'de>,
    left: usize,
    size_hint: usize,
}

impl<'a, 'de> Entries<'a, 'de> {
    #[inline]
    pub(super) fn counted(decoder: Decoder<'a, 'de>) -> Result<Self, Fault<DecodeError>> {
        let left = decoder.input.read_len()?;
        let size_hint = decoder.input.reserve(left);
        Ok(Self { decoder, left, size_hint })
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault<DecodeError>;

    /// An entry is paid for if its key took no bytes, whatever its value takes: a map has at most
    /// one such key, unless it is hostile.
    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault<DecodeError>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.decoder.input.remaining();
        let key = seed.deserialize(self.decoder.again())?;
        if self.decoder.input.remaining() == before {
            self.decoder.input.pay_for_empty()?;
        }
        Ok(Some(key))
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        seed.deserialize(self.decoder.again())
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.size_hint.min(self.left))
    }
}

/// A variant of an enum: its index, then its content, at the level below the enum.
pub(super) struct Variant<'a, 'de>(pub(super) Decoder<'a, 'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault<DecodeError>;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Fault<DecodeError>> {
        let index: U32Deserializer<Fault<DecodeError>> =
            self.0.input.read::<u32>()?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault<DecodeError>;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault<DecodeError>> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Fault<DecodeError>> {
        seed.deserialize(self.0)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_seq(Elements::fixed(self.0, len))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        self.tuple_variant(fields.len(), visitor)
    }
}
