//! What a service answers when it cannot do what it was asked.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A method's own answer that something could not be done: it was executed, and this is what came
/// of it.
///
/// Any error becomes one by `?`. Callers get it in [`CallError::Failed`](crate::CallError::Failed).
///
/// ```
/// use umbel_services::Failure;
///
/// fn quantity(text: &str) -> Result<u32, Failure> {
///     let quantity: u32 = text.parse()?;
///     if quantity > 100 {
///         return Err(Failure::new("at most 100 are sold at once").code("too_many"));
///     }
///     Ok(quantity)
/// }
/// assert_eq!(quantity("101").unwrap_err().code.as_deref(), Some("too_many"));
/// assert_eq!(quantity("many").unwrap_err().to_string(), "invalid digit found in string");
/// ```
// Not an `Error` itself: then `From` any error would be ambiguous.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, for people.
    pub message: String,
    /// What went wrong, for programs.
    pub code: Option<String>,
    /// Whether nothing was done and it may go better soon: then a call is tried again.
    pub is_transient: bool,
}

impl Failure {
    /// A failure for good, with this text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, is_transient: false }
    }

    /// The same with a code that programs can tell it by.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same as one that left nothing done, and may go better soon.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.is_transient = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(why: E) -> Self {
        let mut message = why.to_string();
        let mut source = why.source();
        while let Some(cause) = source {
            message += &format!(": {cause}");
            source = cause.source();
        }
        Self::new(message)
    }
}
