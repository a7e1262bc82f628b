//! Where a node can be dialled.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes that an endpoint may have: room for a host name (253 bytes at most by RFC 1035,
/// 2.3.4, and far fewer in practice) and a port.
pub const ENDPOINT_BYTES_MAX: usize = 255;

/// Where a node can be dialled, in whatever form the transport reads: for TCP `host:port`. It has 1
/// to 255 bytes and neither spaces nor control characters; deserializing checks that too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Checks and takes an endpoint.
    ///
    /// # Errors
    /// [`EndpointError`] where it is empty, too long, or holds a space or a control character.
    pub fn new(endpoint: impl AsRef<str>) -> Result<Self, EndpointError> {
        let endpoint = endpoint.as_ref();
        if endpoint.is_empty() || endpoint.len() > ENDPOINT_BYTES_MAX {
            return Err(EndpointError::Length(endpoint.len()));
        }
        if endpoint.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(EndpointError::Character);
        }
        Ok(Self(endpoint.into()))
    }

    /// The endpoint as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Endpoints are 1 to 255 bytes long.
    #[error("an endpoint has 1 to {ENDPOINT_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    /// Endpoints hold neither spaces nor control characters.
    #[error("an endpoint may hold neither spaces nor control characters")]
    Character,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(endpoint: &str) -> Result<Self, EndpointError> {
        Self::new(endpoint)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(endpoint: String) -> Result<Self, EndpointError> {
        Self::new(endpoint)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.as_str().to_owned()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
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
    fn an_endpoint_may_be_as_long_as_its_bound_and_no_longer() {
        assert!(Endpoint::new("a".repeat(255)).is_ok());
        assert_eq!(Endpoint::new("a".repeat(256)), Err(EndpointError::Length(256)));
        assert_eq!(Endpoint::new(""), Err(EndpointError::Length(0)));
    }

    #[test]
    fn an_endpoint_is_checked_when_it_is_decoded() {
        let decode = |text: &str| {
            let source: StrDeserializer<'_, ValueError> = text.into_deserializer();
            Endpoint::deserialize(source)
        };
        assert!(decode("10.0.0.1:7401").is_ok());
        assert!(decode("").is_err());
        assert!(decode(&"a".repeat(256)).is_err());
    }

    #[test]
    fn an_endpoint_that_could_forge_a_log_line_is_refused() {
        for endpoint in ["a b", "a\nb", "a\u{2028}b", "\u{1b}[2J"] {
            assert_eq!(Endpoint::new(endpoint), Err(EndpointError::Character), "{endpoint:?}");
        }
    }
}
