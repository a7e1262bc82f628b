//! Values that say what they have to be.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A duration, as a whole number and its unit: `250ms`, `5s`, `2m`, `1h`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// A whole number from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

/// A whole number from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u32);

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration as text, such as \"30s\", with ms, s, m or h")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                let unit = text.find(|letter: char| !letter.is_ascii_digit());
                let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
                let millis = match unit.trim_start() {
                    "ms" => Some(1),
                    "s" => Some(1_000),
                    "m" => Some(60_000),
                    "h" => Some(3_600_000),
                    _ => None,
                };
                let number = number.parse::<u64>().ok().filter(|number| *number > 0);
                let span = millis.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
                let span = span.filter(|millis| *millis <= MILLIS_MAX);
                span.map(|millis| Span(Duration::from_millis(millis)))
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A hundred years: a deadline so far ahead can still be reckoned with.
const MILLIS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (from, to) = (1, u64::try_from(usize::MAX).unwrap_or(u64::MAX));
        let number = deserializer.deserialize_u64(Whole { from, to })?;
        Ok(Self(usize::try_from(number).expect("it is in bounds")))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_u64(Whole { from: 0, to: u32::MAX.into() })?;
        Ok(Self(u32::try_from(number).expect("it is in bounds")))
    }
}

struct Whole {
    from: u64,
    to: u64,
}

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} on", self.from)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if (self.from..=self.to).contains(&number) {
            return Ok(number);
        }
        Err(E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Share, E> {
                if (0.0..=1.0).contains(&number) {
                    return Ok(Share(number));
                }
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Share, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Share, E> {
                self.visit_f64(number as f64)
            }
        }
        deserializer.deserialize_f64(Number)
    }
}
