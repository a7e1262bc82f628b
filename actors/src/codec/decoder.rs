use serde::de::{Deserializer, Error as _, Visitor};

use super::DecodeError;
use super::containers::{Elements, Entries, Variant};
use super::fault::Fault;
use super::input::Input;

/// serde's view of the bytes, at one level of nesting.
///
/// The depth travels by value, down to what is nested, so there is nothing to restore on the way
/// up.
pub(super) struct Decoder<'a, 'de> {
    pub(super) input: &'a mut Input<'de>,
    depth_left: usize,
}

impl<'a, 'de> Decoder<'a, 'de> {
    pub(super) fn new(input: &'a mut Input<'de>) -> Self {
        let depth_left = input.limits().depth_max;
        Self { input, depth_left }
    }

    /// The decoder for what stands inside the value that is being decoded.
    #[inline]
    pub(super) fn descend(self) -> Result<Self, Fault<DecodeError>> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { input: self.input, depth_left }),
            None => Err(DecodeError::TooDeep { depth_max: self.input.limits().depth_max }.into()),
        }
    }

    /// The same decoder for one more value at the same level.
    #[inline]
    pub(super) fn again(&mut self) -> Decoder<'_, 'de> {
        Decoder { input: self.input, depth_left: self.depth_left }
    }
}

macro_rules! read_by_bincode {
    ($($deserialize:ident => $visit:ident),* $(,)?) => {
        $(
            #[inline]
            fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault<DecodeError>> {
                visitor.$visit(self.input.read()?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Decoder<'_, 'de> {
    type Error = Fault<DecodeError>;

    read_by_bincode! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
        deserialize_char => visit_char,
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault<DecodeError>> {
        let text = str::from_utf8(self.input.read_bytes()?).map_err(Fault::custom)?;
        visitor.visit_borrowed_str(text)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_borrowed_bytes(self.input.read_bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        match self.input.read::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.descend()?),
            found => Err(Fault::custom(format_args!("an option is {found}, neither 0 nor 1"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_newtype_struct(self.descend()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_seq(Elements::counted(self.descend()?)?)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_seq(Elements::fixed(self.descend()?, len))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_map(Entries::counted(self.descend()?)?)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        visitor.visit_enum(Variant(self.descend()?))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault<DecodeError>> {
        Err(DecodeError::Undecodable("asks what value comes next").into())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault<DecodeError>> {
        Err(DecodeError::Undecodable("asks for the name of a field").into())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        _: V,
    ) -> Result<V::Value, Fault<DecodeError>> {
        Err(DecodeError::Undecodable("asks to skip a value").into())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
