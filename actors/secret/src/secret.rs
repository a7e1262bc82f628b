use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// A text that is not shown: a token, a password.
///
/// [`Debug`], [`Display`](fmt::Display) and [`Serialize`] write `***` in its place, so that it can lie in a
/// configuration that is printed. It is read from text, or from a whole number or a boolean, as whose digits or
/// word it is taken (`token = 987654321`): quotes are safer, for `0x1F` is 31. No error of reading it repeats
/// what was there.
///
/// ```
/// use umbel_secret::Secret;
///
/// let token = Secret::from("open sesame");
/// assert_eq!(format!("{token} {token:?}"), "*** ***");
/// assert_eq!(token.expose(), "open sesame");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is the same text. How long it takes tells nothing of it but its length.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

const HIDDEN: &str = "***";

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By what is there, where the format says it: asked for a text, some refuse by themselves what is none,
        // and repeat it.
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(Text),
            false => deserializer.deserialize_string(Text),
        }
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, in quotes")
    }

    fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
        Ok(text.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Secret, E> {
        Ok(number.to_string().into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Secret, E> {
        Ok(number.to_string().into())
    }

    fn visit_i128<E>(self, number: i128) -> Result<Secret, E> {
        Ok(number.to_string().into())
    }

    fn visit_u128<E>(self, number: u128) -> Result<Secret, E> {
        Ok(number.to_string().into())
    }

    fn visit_bool<E>(self, is: bool) -> Result<Secret, E> {
        Ok(is.to_string().into())
    }

    /// Written in another way than it was: `1e5` would be 100000.
    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::invalid_type(Unexpected::Other("a number with a fraction or an exponent"), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_never_written() {
        let secret: Secret = serde_json::from_str("\"hush\"").unwrap();
        assert_eq!(secret.expose(), "hush");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_number_and_a_word_are_taken_as_they_are_written() {
        for text in ["0", "987654321", "-5", "18446744073709551615", "true"] {
            assert_eq!(serde_json::from_str::<Secret>(text).unwrap().expose(), text);
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::from_value::<Secret>(value).unwrap().expose(), text);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_and_not_repeated() {
        for text in
            ["98.7654321", "1e300", "null", "[987]", "{\"hush\": 987}", "{\"987\": \"hush\"}"]
        {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let refused = [
                serde_json::from_str::<Secret>(text).unwrap_err().to_string(),
                serde_json::from_value::<Secret>(value).unwrap_err().to_string(),
            ];
            for why in refused {
                assert!(why.contains("expected a text, in quotes"), "{why}");
                for part in ["98", "1e", "hush"] {
                    assert!(!why.contains(part), "{why}");
                }
            }
        }
    }

    #[test]
    fn it_is_itself_and_nothing_else() {
        let secret = Secret::from("hush");
        assert!(secret.is(b"hush"));
        for other in ["", "hus", "hush!", "HUSH"] {
            assert!(!secret.is(other.as_bytes()), "{other:?}");
        }
    }
}
