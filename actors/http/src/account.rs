use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, StatusCode, Uri};
use hyper::body::{Frame, SizeHint};
use metrics::SharedString;
use tokio::time::Instant;

use crate::phase::Phases;
use crate::routes::Generation;

/// The account of one request, which is closed by its drop: when the last of its answer has been
/// handed on, or when nobody waits for it any more.
pub(crate) struct Account {
    /// The prefix, or the server's own path.
    place: SharedString,
    method: Method,
    uri: Uri,
    begun: Instant,
    /// None until it is answered.
    pub(crate) status: Option<StatusCode>,
    phases: Arc<Phases>,
    /// The router is in use until then.
    _generation: Option<Arc<Generation>>,
}

impl Account {
    pub(crate) fn open(
        place: SharedString,
        (method, uri): (Method, Uri),
        generation: Option<Arc<Generation>>,
        phases: Arc<Phases>,
    ) -> Self {
        phases.begin();
        under_way(&place).increment(1.0);
        let begun = Instant::now();
        Self { place, method, uri, begun, status: None, phases, _generation: generation }
    }

    /// Methods are anybody's input: only the known ones are labels.
    fn method(&self) -> &'static str {
        match self.method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        }
    }
}

fn under_way(place: &SharedString) -> metrics::Gauge {
    metrics::gauge!("umbel_http_requests_under_way", "prefix" => place.clone())
}

impl Drop for Account {
    fn drop(&mut self) {
        let status = match self.status.map(|status| status.as_u16() / 100) {
            Some(1) => "1xx",
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(5) => "5xx",
            Some(_) => "other",
            None => "gone",
        };
        let took = self.begun.elapsed();
        under_way(&self.place).decrement(1.0);
        metrics::histogram!(
            "umbel_http_request_seconds", "prefix" => self.place.clone(), "method" => self.method()
        )
        .record(took);
        metrics::counter!(
            "umbel_http_requests_total",
            "prefix" => self.place.clone(), "method" => self.method(), "status" => status
        )
        .increment(1);
        // Without the query, which may hold what is nobody's business.
        tracing::debug!(
            method = %self.method, path = self.uri.path(), status = self.status.map(|it| it.as_u16()),
            ?took, "request"
        );
        self.phases.end();
    }
}

/// The body of an answer, with its account.
pub(crate) struct Answer {
    // Dropped first, for it may hold what is the router's.
    body: Body,
    _account: Account,
}

impl Answer {
    pub(crate) fn new(body: Body, account: Account) -> Self {
        Self { body, _account: account }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
