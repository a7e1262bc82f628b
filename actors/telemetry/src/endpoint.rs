//! Where spans are sent to.

use std::fmt;

use http::Uri;

/// Where spans are sent to: a URL that names http or https, and a host.
#[derive(Clone, PartialEq)]
pub(crate) struct Endpoint(Uri);

impl Endpoint {
    pub(crate) const EXPECTED: &str = "a URL such as http://127.0.0.1:4318";

    /// The path of traces, below this.
    pub(crate) fn below(base: &str) -> Option<Self> {
        let Self(uri) = Self::exactly(base)?;
        if uri.query().is_some() {
            return None;
        }
        Self::exactly(&format!("{}/v1/traces", base.trim_end_matches('/')))
    }

    /// This very URL.
    pub(crate) fn exactly(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        (is_http && has_host).then_some(Self(uri))
    }

    /// All of it, which may hold a password.
    pub(crate) fn url(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Endpoint {
    /// Without who calls there, and without the query: both may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = &self.0;
        write!(f, "{}://{}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())?;
        if let Some(port) = uri.port_u16() {
            write!(f, ":{port}")?;
        }
        f.write_str(uri.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_have_their_path_below_the_collectors_url() {
        for base in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(Endpoint::below(base).unwrap().url(), "http://127.0.0.1:4318/v1/traces");
        }
        let below = Endpoint::below("https://[::1]/otel").unwrap();
        assert_eq!(below.url(), "https://[::1]/otel/v1/traces");
    }

    #[test]
    fn what_is_no_url_of_http_is_refused() {
        let bad = ["", "127.0.0.1:4318", "grpc://a:4317", "http://", "/v1/traces", "http://a b"];
        for bad in bad {
            assert_eq!(Endpoint::exactly(bad), None, "{bad}");
        }
        assert_eq!(Endpoint::below("http://a?b=c"), None);
    }

    #[test]
    fn what_is_shown_keeps_passwords() {
        let endpoint = Endpoint::exactly("https://me:secret@a:1/b?token=secret").unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "https://a:1/b https://a:1/b");
    }
}
