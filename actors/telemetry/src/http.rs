//! The spans of HTTP requests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, Method, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Span;
use tracing::field::Empty;

use crate::bridge;
use crate::headers::extract;

/// How much of a request's path a span has at most.
pub const PATH_BYTES_MAX: usize = 1024;

/// Gives each HTTP request that comes in a span, which goes on with the trace that its headers name, or
/// begins one. A [`tower::Layer`], for [`axum::Router::layer`](https://docs.rs/axum) and all else that
/// serves [`http::Request`]s.
///
/// The span (target `umbel::http`, level info) has what OpenTelemetry's conventions have: method, path,
/// route and status; never the query, nor any other header, which may hold secrets. Answers of 500 and
/// above are errors. It ends when the answer begins.
///
/// ```
/// use umbel_telemetry::HttpTraces;
///
/// let layer = HttpTraces::new().except(["/healthz", "/readyz", "/metrics"]);
/// ```
#[derive(Clone, Default)]
pub struct HttpTraces {
    route: Option<Arc<Route>>,
    except: Arc<[String]>,
    is_of_strangers: bool,
}

type Route = dyn Fn(&Extensions) -> Option<String> + Send + Sync;

/// A service whose requests have spans: see [`HttpTraces`].
#[derive(Clone)]
pub struct HttpTraced<S> {
    inner: S,
    traces: HttpTraces,
}

impl HttpTraces {
    /// All requests have spans, named by their method.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the route that a request takes is found, `/orders/{id}` say: spans are named for it, too. For
    /// axum, whose [`MatchedPath`](https://docs.rs/axum/latest/axum/extract/struct.MatchedPath.html) is
    /// known to layers of the router that has the route:
    /// ```
    /// use axum::extract::MatchedPath;
    /// use umbel_telemetry::HttpTraces;
    ///
    /// let layer = HttpTraces::new()
    ///     .route(|found| found.get::<MatchedPath>().map(|path| path.as_str().to_owned()));
    /// let router: axum::Router = axum::Router::new().layer(layer);
    /// ```
    #[must_use]
    pub fn route(
        mut self,
        route: impl Fn(&Extensions) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.route = Some(Arc::new(route));
        self
    }

    /// Requests of these paths have no span: those that ask again and again whether all is well.
    #[must_use]
    pub fn except<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.except = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Who calls is not trusted with traces: what its headers say is passed over, and each request begins a
    /// trace. Otherwise callers can have their requests recorded whatever [share](crate::TelemetryBuilder::sample)
    /// is meant to be, and in traces that are not theirs.
    #[must_use]
    pub fn of_strangers(mut self) -> Self {
        self.is_of_strangers = true;
        self
    }

    fn span<B>(&self, request: &Request<B>) -> Span {
        let (path, version) = (request.uri().path(), request.version());
        if self.except.iter().any(|except| except == path) {
            return Span::none();
        }
        let span = tracing::info_span!(
            target: "umbel::http",
            "request",
            otel.name = Empty,
            otel.kind = "server",
            http.request.method = method(request.method()),
            http.route = Empty,
            url.path = &path[..path.floor_char_boundary(PATH_BYTES_MAX)],
            network.protocol.version = ?version,
            http.response.status_code = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        if span.is_disabled() {
            return span;
        }
        let context = extract(request.headers()).filter(|_| !self.is_of_strangers);
        if let Some(context) = context {
            bridge::go_on(&span, &context);
        }
        let route = self.route.as_ref().and_then(|route| route(request.extensions()));
        match route {
            None => span.record("otel.name", method(request.method())),
            Some(route) => span
                .record("http.route", route.as_str())
                .record("otel.name", format!("{} {route}", method(request.method()))),
        };
        span
    }
}

/// A method that everybody knows, or `_OTHER`, as the conventions have it: anybody can make more up.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => "CONNECT",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

impl<S> Layer<S> for HttpTraces {
    type Service = HttpTraced<S>;

    fn layer(&self, inner: S) -> HttpTraced<S> {
        HttpTraced { inner, traces: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for HttpTraced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HttpTracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let span = self.traces.span(&request);
        let answer = span.in_scope(|| self.inner.call(request));
        HttpTracedFuture { answer, span }
    }
}

pin_project! {
    /// An answer on its way, in the span of its request.
    pub struct HttpTracedFuture<F> {
        #[pin]
        answer: F,
        span: Span,
    }
}

impl<F, R, E> Future for HttpTracedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.span.in_scope(|| this.answer.poll(cx)));
        // It is over, also where the future is kept.
        let span = std::mem::replace(this.span, Span::none());
        match &answer {
            Ok(answer) => {
                let status = answer.status();
                span.record("http.response.status_code", status.as_u16());
                if status.is_server_error() {
                    span.record("error.type", status.as_str());
                    span.record("otel.status_code", "ERROR");
                }
            }
            Err(_) => {
                span.record("error.type", "_OTHER");
                span.record("otel.status_code", "ERROR");
            }
        }
        Poll::Ready(answer)
    }
}

impl fmt::Debug for HttpTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTraces")
            .field("except", &self.except)
            .field("is_of_strangers", &self.is_of_strangers)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpTraced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpTraced").field(&self.inner).finish()
    }
}

impl<F> fmt::Debug for HttpTracedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpTracedFuture")
    }
}
