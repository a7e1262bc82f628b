use std::fmt::{self, Display, Write};

use super::{DecodeError, EncodeError};

/// An error on its way out of serde's many nested calls.
///
/// Boxed, so that the results of those calls fit into registers: errors are rare, and each call
/// would otherwise pay for the room that one might take.
#[derive(Debug)]
pub(super) struct Fault<E>(Box<E>);

impl<E> Fault<E> {
    pub(super) fn into_error(self) -> E {
        *self.0
    }
}

impl<E> From<E> for Fault<E> {
    #[cold]
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl<E: Display> Display for Fault<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for Fault<E> {}

impl serde::ser::Error for Fault<EncodeError> {
    #[cold]
    fn custom<T: Display>(text: T) -> Self {
        EncodeError::Unencodable(bounded(format_args!("{text}"))).into()
    }
}

impl serde::de::Error for Fault<DecodeError> {
    #[cold]
    fn custom<T: Display>(text: T) -> Self {
        DecodeError::Malformed(bounded(format_args!("{text}"))).into()
    }
}

impl From<bincode::error::DecodeError> for Fault<DecodeError> {
    #[cold]
    fn from(error: bincode::error::DecodeError) -> Self {
        use bincode::error::DecodeError as Error;
        let text = match error {
            Error::UnexpectedEnd { .. } => return DecodeError::Truncated.into(),
            Error::InvalidBooleanValue(found) => format!("a bool is {found}, neither 0 nor 1"),
            Error::InvalidCharEncoding(_) => "a char is not one character of utf-8".to_owned(),
            Error::InvalidIntegerType { .. } => "an integer is too wide for its type".to_owned(),
            other => bounded(format_args!("{other}")),
        };
        DecodeError::Malformed(text).into()
    }
}

/// Errors quote what a stranger wrote, so they are cut to this length.
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// Formats until the bound is met; what comes after is neither kept nor even formatted.
fn bounded(text: fmt::Arguments<'_>) -> String {
    struct Bounded(String);

    impl Write for Bounded {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            let cut = piece.floor_char_boundary(TEXT_BYTES_MAX - self.0.len());
            self.0.push_str(&piece[..cut]);
            if cut < piece.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    let mut bounded = Bounded(String::new());
    // An error here is the bound, or a `Display` that failed: what was written so far is the text.
    let _ = bounded.write_fmt(text);
    bounded.0
}
