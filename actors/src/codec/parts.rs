use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

use super::EncodeError;
use super::encoder::Encoder;
use super::fault::Fault;

/// What stands inside a sequence, map, tuple or struct, one part after the other.
pub(super) struct Parts<'a, 'o> {
    encoder: Encoder<'a, 'o>,
    /// How many of the elements that were announced on the wire are still to come; wraps below
    /// zero, and is zero again only if there were as many as announced.
    announced_left: usize,
}

impl<'a, 'o> Parts<'a, 'o> {
    #[inline]
    pub(super) fn new(encoder: Encoder<'a, 'o>, announced: usize) -> Self {
        Self { encoder, announced_left: announced }
    }

    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault<EncodeError>> {
        value.serialize(self.encoder.again())
    }

    /// A part whose number is on the wire, so that the receiver pays for it if it takes no bytes.
    #[inline]
    fn announced<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault<EncodeError>> {
        self.announced_left = self.announced_left.wrapping_sub(1);
        let before = self.encoder.output.written();
        self.part(value)?;
        if self.encoder.output.written() == before {
            self.encoder.output.pay_for_empty()?;
        }
        Ok(())
    }

    #[inline]
    fn end_announced(self) -> Result<(), Fault<EncodeError>> {
        match self.announced_left {
            0 => Ok(()),
            _ => Err(Fault::custom("a sequence or map has another length than it announced")),
        }
    }
}

impl SerializeSeq for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault<EncodeError>;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        self.announced(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault<EncodeError>> {
        self.end_announced()
    }
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault<EncodeError>;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault<EncodeError>> {
        self.announced(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault<EncodeError>> {
        self.end_announced()
    }
}

impl SerializeTuple for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault<EncodeError>;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), Fault<EncodeError>> {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault<EncodeError>> {
        Ok(())
    }
}

macro_rules! unnamed_fields {
    ($($serialize:ident),*) => {
        $(impl $serialize for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault<EncodeError>;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                value: &T,
            ) -> Result<(), Fault<EncodeError>> {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), Fault<EncodeError>> {
                Ok(())
            }
        })*
    };
}

macro_rules! named_fields {
    ($($serialize:ident),*) => {
        $(impl $serialize for Parts<'_, '_> {
            type Ok = ();
            type Error = Fault<EncodeError>;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _name: &'static str,
                value: &T,
            ) -> Result<(), Fault<EncodeError>> {
                self.part(value)
            }

            /// Called for `skip_serializing_if`. The receiver would read the next field in place
            /// of this one.
            fn skip_field(&mut self, name: &'static str) -> Result<(), Fault<EncodeError>> {
                Err(Fault::custom(format_args!(
                    "its field `{name}` is left out (`skip_serializing_if`), which this format \
                     cannot express"
                )))
            }

            #[inline]
            fn end(self) -> Result<(), Fault<EncodeError>> {
                Ok(())
            }
        })*
    };
}

unnamed_fields!(SerializeTupleStruct, SerializeTupleVariant);
named_fields!(SerializeStruct, SerializeStructVariant);
