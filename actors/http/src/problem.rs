use std::borrow::Cow;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// Up to how many bytes of plain text become the detail of a problem.
const TEXT_BYTES_MAX: u64 = 4096;

/// An answer that says what went wrong, as `application/problem+json` (RFC 9457).
///
/// ```
/// use axum::http::StatusCode;
/// use umbel_http::Problem;
///
/// async fn order() -> Result<&'static str, Problem> {
///     Err(Problem::new(StatusCode::CONFLICT).detail("tea is sold out").with("item", "tea".into()))
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Option<Cow<'static, str>>,
    detail: Option<String>,
    more: Map<String, Value>,
}

impl Problem {
    /// A problem of which nothing is known but the status, whose words are the title.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, kind: "about:blank".into(), title: None, detail: None, more: Map::new() }
    }

    /// What kind of problem it is: a URI (the member `type`), and its title.
    #[must_use]
    pub fn kind(
        mut self,
        uri: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.kind = uri.into();
        self.title = Some(title.into());
        self
    }

    /// What went wrong this time, for a person to read.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One more member. Those of the standard keep their meaning: they are not replaced.
    #[must_use]
    pub fn with(mut self, member: impl Into<String>, value: Value) -> Self {
        self.more.insert(member.into(), value);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn body(self) -> Body {
        let mut members = self.more;
        let title = self.title.as_deref().or(self.status.canonical_reason()).unwrap_or("Unknown");
        members.insert("type".into(), json!(self.kind));
        members.insert("title".into(), json!(title));
        members.insert("status".into(), json!(self.status.as_u16()));
        if let Some(detail) = self.detail {
            members.insert("detail".into(), json!(detail));
        }
        Body::from(Value::Object(members).to_string())
    }

    /// The same answer as a problem, where it is an error that has no body or one of short plain text,
    /// as those of axum's extractors have.
    pub(crate) async fn of(response: Response) -> Response {
        let status = response.status();
        let is_error = status.is_client_error() || status.is_server_error();
        let size = response.body().size_hint().exact();
        let is_text = match response.headers().get(CONTENT_TYPE) {
            Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
            None => size == Some(0),
        };
        let is_short = size.is_some_and(|size| size <= TEXT_BYTES_MAX);
        let is_encoded = response.headers().contains_key(CONTENT_ENCODING);
        if !(is_error && is_text && is_short) || is_encoded {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let problem = Self::new(status);
        let problem = match to_bytes(body, TEXT_BYTES_MAX as usize).await {
            Ok(text) if !text.is_empty() => problem.detail(String::from_utf8_lossy(&text)),
            _ => problem,
        };
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_TYPE, PROBLEM);
        Response::from_parts(parts, problem.body())
    }
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = Response::new(self.body());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(response: Response) -> (StatusCode, String, Value) {
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn members_of_the_standard_are_not_replaced() {
        let problem = Problem::new(StatusCode::CONFLICT)
            .kind("https://example.org/sold-out", "Sold out")
            .detail("no tea")
            .with("status", json!(200))
            .with("item", json!("tea"));
        let wanted = json!({
            "type": "https://example.org/sold-out", "title": "Sold out", "status": 409,
            "detail": "no tea", "item": "tea",
        });
        let read = read(problem.into_response()).await;
        assert_eq!(read, (StatusCode::CONFLICT, "application/problem+json".into(), wanted));
    }

    #[tokio::test]
    async fn plain_errors_become_problems_and_all_else_stays() {
        let of = async |response: Response| read(Problem::of(response).await).await;

        let (status, kind, body) =
            of((StatusCode::BAD_REQUEST, "no such item").into_response()).await;
        assert_eq!((status, &*kind), (StatusCode::BAD_REQUEST, "application/problem+json"));
        assert_eq!(body["detail"], "no such item");
        let (_, _, body) = of(StatusCode::METHOD_NOT_ALLOWED.into_response()).await;
        assert_eq!(body["title"], "Method Not Allowed");

        let own = (StatusCode::BAD_REQUEST, axum::Json(json!({"mine": 1}))).into_response();
        assert_eq!(of(own).await.2, json!({"mine": 1}));
        assert_eq!(of("well".into_response()).await.1, "text/plain; charset=utf-8");
        let long = "x".repeat(TEXT_BYTES_MAX as usize + 1);
        let long = (StatusCode::BAD_REQUEST, long).into_response();
        assert_eq!(of(long).await.1, "text/plain; charset=utf-8");
    }
}
