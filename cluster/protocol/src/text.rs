//! Text that a peer may send, with its bound in its type.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Text of at most `MAX` bytes without control characters. Deserializing checks it too, so a text
/// that came from a peer needs no second look before it is stored or printed.
///
/// ```
/// use umbel_protocol::Text;
///
/// assert!(Text::<5>::new("abcde").is_ok());
/// assert!(Text::<5>::new("abcdef").is_err());
/// assert_eq!(Text::<5>::cut("abcdef").as_str(), "abcde");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(Arc<str>);

/// Why something failed or ended, for people to read: at most 512 bytes, enough for a panic's
/// message. Longer ones are cut with [`Text::cut`].
pub type Reason = Text<512>;

impl<const MAX: usize> Text<MAX> {
    /// The most bytes that this text may have.
    pub const BYTES_MAX: usize = MAX;

    /// Checks and takes a text.
    ///
    /// # Errors
    /// [`TextError`] where it is longer than `MAX` bytes or holds a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TextError> {
        let text = text.as_ref();
        if text.len() > MAX {
            return Err(TextError::TooLong { bytes: text.len(), bytes_max: MAX });
        }
        if text.chars().any(char::is_control) {
            return Err(TextError::ControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// Takes as much of `text` as there is room for, with a space for each control character.
    #[must_use]
    pub fn cut(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        // A two-byte control character (U+0080 to U+009F) becomes one byte, so this never grows.
        Self(text[..end].chars().map(clean).collect::<String>().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why something is not a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// It has more bytes than allowed.
    #[error("the text has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// It holds a control character, such as a line break.
    #[error("the text holds a control character, such as a line break")]
    ControlCharacter,
}

impl<const MAX: usize> Default for Text<MAX> {
    fn default() -> Self {
        Self("".into())
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> TryFrom<&str> for Text<MAX> {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.as_str().to_owned()
    }
}

/// So that a map with texts as keys can be asked with a `&str`: a `Text` orders as its `str` does.
impl<const MAX: usize> Borrow<str> for Text<MAX> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    #[test]
    fn a_text_may_be_as_long_as_its_bound_and_no_longer() {
        assert!(Text::<8>::new("a".repeat(8)).is_ok());
        let refused = Text::<8>::new("a".repeat(9));
        assert_eq!(refused, Err(TextError::TooLong { bytes: 9, bytes_max: 8 }));
    }

    #[test]
    fn a_text_that_would_move_the_cursor_is_refused() {
        for text in ["a\nb", "\u{1b}[2J", "\u{9b}2J", "\0"] {
            assert_eq!(Text::<64>::new(text), Err(TextError::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn a_text_is_checked_when_it_is_decoded() {
        let decode = |text: &str| {
            let source: StrDeserializer<'_, ValueError> = text.into_deserializer();
            Text::<4>::deserialize(source)
        };
        assert!(decode("abcd").is_ok());
        assert!(decode("abcde").is_err());
        assert!(decode("a\n").is_err());
    }

    #[test]
    fn a_cut_text_ends_between_characters_and_is_always_allowed() {
        for text in ["", "äöü", "a\nb\u{9b}c", "ends in ü", &"€".repeat(99)] {
            let cut = Text::<4>::cut(text);
            assert!(cut.as_str().len() <= 4);
            assert_eq!(Text::<4>::new(cut.as_str()), Ok(cut));
        }
    }
}
