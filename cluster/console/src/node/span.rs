//! Durations as people write them: `250ms`, `5s`, `2m`, `1h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// A duration, written as a number and its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// Why a text is no duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no duration: write a whole number with ms, s, m or h, as in \"5s\"")]
pub(crate) struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let unit = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let milliseconds = match unit.trim_start() {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        milliseconds
            .zip(number)
            .and_then(|(unit, number)| number.checked_mul(unit))
            .map(|span| Self(Duration::from_millis(span)))
            .ok_or_else(|| SpanError(text.to_owned()))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, as in \"5s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        for (text, milliseconds) in
            [("250ms", 250), ("5s", 5000), ("2 m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(milliseconds))), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 days", "99999999999999999999h"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError(text.to_owned())));
        }
    }
}
