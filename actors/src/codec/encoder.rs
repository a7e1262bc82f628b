use serde::Serialize;
use serde::ser::{Error as _, Serializer};

use super::EncodeError;
use super::fault::Fault;
use super::output::Output;
use super::parts::Parts;

/// serde's view of the output, at one level of nesting. Levels are counted as the decoder of the
/// receiver will count them.
pub(super) struct Encoder<'a, 'o> {
    pub(super) output: &'a mut Output<'o>,
    depth_left: usize,
}

impl<'a, 'o> Encoder<'a, 'o> {
    pub(super) fn new(output: &'a mut Output<'o>) -> Self {
        let depth_left = output.limits().depth_max;
        Self { output, depth_left }
    }

    /// The encoder for what stands inside the value that is being encoded.
    #[inline]
    fn descend(self) -> Result<Self, Fault<EncodeError>> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { output: self.output, depth_left }),
            None => Err(EncodeError::TooDeep { depth_max: self.output.limits().depth_max }.into()),
        }
    }

    /// The same encoder for one more value at the same level.
    #[inline]
    pub(super) fn again(&mut self) -> Encoder<'_, 'o> {
        Encoder { output: self.output, depth_left: self.depth_left }
    }

    /// The inside of a sequence or map, after its length.
    #[inline]
    fn counted(self, len: Option<usize>, what: &str) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        let Some(len) = len else {
            return Err(Fault::custom(format_args!(
                "a {what} does not say its length before its elements (serde's `flatten` makes such)"
            )));
        };
        let inside = self.descend()?;
        inside.output.write(&(len as u64))?;
        Ok(Parts::new(inside, len))
    }

    /// The inside of an enum, after the index of its variant.
    #[inline]
    fn variant(self, index: u32) -> Result<Self, Fault<EncodeError>> {
        let inside = self.descend()?;
        inside.output.write(&index)?;
        Ok(inside)
    }
}

macro_rules! written_by_bincode {
    ($($serialize:ident: $type:ty),* $(,)?) => {
        $(
            #[inline]
            fn $serialize(self, value: $type) -> Result<(), Fault<EncodeError>> {
                self.output.write(&value)
            }
        )*
    };
}

impl<'a, 'o> Serializer for Encoder<'a, 'o> {
    type Ok = ();
    type Error = Fault<EncodeError>;
    type SerializeSeq = Parts<'a, 'o>;
    type SerializeTuple = Parts<'a, 'o>;
    type SerializeTupleStruct = Parts<'a, 'o>;
    type SerializeTupleVariant = Parts<'a, 'o>;
    type SerializeMap = Parts<'a, 'o>;
    type SerializeStruct = Parts<'a, 'o>;
    type SerializeStructVariant = Parts<'a, 'o>;

    written_by_bincode! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault<EncodeError>> {
        self.output.write(&0_u8)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault<EncodeError>> {
        let inside = self.descend()?;
        inside.output.write(&1_u8)?;
        value.serialize(inside)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault<EncodeError>> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Fault<EncodeError>> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), Fault<EncodeError>> {
        self.variant(index).map(drop)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        value.serialize(self.descend()?)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        value.serialize(self.variant(index)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        self.counted(len, "sequence")
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        Ok(Parts::new(self.descend()?, 0))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        Ok(Parts::new(self.variant(index)?, 0))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        self.counted(len, "map")
    }

    #[inline]
    fn serialize_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Parts<'a, 'o>, Fault<EncodeError>> {
        Ok(Parts::new(self.variant(index)?, 0))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
