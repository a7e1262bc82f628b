use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::SharedString;
use serde_json::json;
use tokio::time::timeout;
use tower::Service;

use crate::account::{Account, Answer};
use crate::metrics::Metrics;
use crate::phase::Phases;
use crate::problem::Problem;
use crate::readiness::Readiness;
use crate::routes::{Generation, RESERVED, Routes};

/// How long it may take to find out whether a process is ready.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(5);

/// How much of a path is told to who asked for it in vain.
const PATH_BYTES_MAX: usize = 200;

pub(crate) type AskReadiness = Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>;

/// Who answers a request, and what is answered where nobody does.
pub(crate) struct Dispatch {
    pub(crate) routes: Routes,
    pub(crate) ready: Option<AskReadiness>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) deadline: Duration,
}

impl Dispatch {
    pub(crate) async fn answer(
        &self,
        request: Request,
        phases: Arc<Phases>,
    ) -> hyper::Response<Answer> {
        let generation = self.routes.find(request.uri().path());
        let own = RESERVED.into_iter().find(|own| *own == request.uri().path());
        let place = match (&generation, own) {
            (Some(generation), _) => SharedString::from_shared(generation.prefix.clone()),
            (None, Some(own)) => SharedString::const_str(own),
            (None, None) => SharedString::const_str("none"),
        };
        let asked = (request.method().clone(), request.uri().clone());
        let mut account = Account::open(place, asked, generation.clone(), phases.clone());

        let is_head = request.method() == Method::HEAD;
        let answer = async {
            let response = match (generation, own) {
                (Some(generation), _) => routed(&generation, request).await,
                (None, Some(own)) => self.own(own, request.method()).await,
                (None, None) => nobody(request.uri().path()),
            };
            // The answer to HEAD has no body, whatever it says of one.
            if is_head { response } else { Problem::of(response).await }
        };
        let response = self.guarded(answer).await;
        account.status = Some(response.status());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            phases.upgrade();
        }
        response.map(|body| Answer::new(body, account))
    }

    /// What comes of it within the deadline, a panic included.
    async fn guarded(&self, answer: impl Future<Output = Response>) -> Response {
        match timeout(self.deadline, AssertUnwindSafe(answer).catch_unwind()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
                .detail("the handler panicked; the log of the process tells where")
                .into_response(),
            Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT)
                .detail(format!("there was no answer within {:?}", self.deadline))
                .into_response(),
        }
    }

    async fn own(&self, path: &'static str, method: &Method) -> Response {
        if ![Method::GET, Method::HEAD].contains(method) {
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED);
            let mut response = problem.detail(format!("{path} is read, by GET")).into_response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => Json(json!({ "status": "alive" })).into_response(),
            "/readyz" => self.readiness().await,
            _ => match &self.metrics {
                Some(metrics) => ([(CONTENT_TYPE, PROMETHEUS)], metrics.render()).into_response(),
                None => Problem::new(StatusCode::NOT_FOUND)
                    .detail("this process tells no metrics")
                    .into_response(),
            },
        }
    }

    async fn readiness(&self) -> Response {
        let Some(ready) = &self.ready else { return Readiness::new().into_response() };
        match timeout(READY_WITHIN, ready()).await {
            Ok(readiness) => readiness.into_response(),
            Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail(format!("it could not be told within {READY_WITHIN:?} whether it is ready"))
                .into_response(),
        }
    }
}

const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

async fn routed(generation: &Generation, request: Request) -> Response {
    match generation.router.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn nobody(path: &str) -> Response {
    let end = path.floor_char_boundary(PATH_BYTES_MAX);
    let more = if end < path.len() { "..." } else { "" };
    Problem::new(StatusCode::NOT_FOUND)
        .detail(format!("nothing is mounted at {}{more} or above it", &path[..end]))
        .into_response()
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch").field("routes", &self.routes).finish_non_exhaustive()
    }
}
