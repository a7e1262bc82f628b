use std::fmt;
use std::sync::Arc;

use super::Middleware;
use crate::call::Context;
use crate::error::CallError;
use crate::payload::Payload;

/// Another answer where there is none: for calls that had better be answered badly than not at all.
/// Counted in `umbel_service_fallbacks_total`, by `service`.
///
/// ```
/// use umbel_services::{Chain, Fallback, Payload};
///
/// let prices = Chain::new().with(Fallback::new(|context, why| {
///     (context.method == "price" && why.is_the_services()).then(|| Payload::new(999_u64))
/// }));
/// # let _ = prices;
/// ```
#[derive(Clone)]
pub struct Fallback(Arc<Answering>);

type Answering = dyn Fn(&Context, &CallError) -> Option<Payload> + Send + Sync;

impl Fallback {
    /// What to answer instead of an error; `None` where the error is to stand.
    pub fn new(
        answer: impl Fn(&Context, &CallError) -> Option<Payload> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    /// The same answer to whatever call of `method` the service [has failed](
    /// CallError::is_the_services), or another middleware has refused.
    pub fn value(method: impl Into<String>, value: serde_json::Value) -> Self {
        let method = method.into();
        Self::new(move |context, why| {
            let is_refused = matches!(why, CallError::Rejected { .. });
            let applies = is_refused || why.is_the_services();
            (applies && context.method == method).then(|| Payload::json(value.clone()))
        })
    }
}

impl Middleware for Fallback {
    async fn on_error(&self, context: &Context, why: CallError) -> Result<Payload, CallError> {
        let answer = (self.0)(context, &why).ok_or(why)?;
        let service = context.service.to_string();
        metrics::counter!("umbel_service_fallbacks_total", "service" => service).increment(1);
        Ok(answer)
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fallback")
    }
}
