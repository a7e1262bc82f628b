use super::Middleware;
use crate::call::Context;
use crate::error::CallError;
use crate::payload::Payload;

/// Counts each call with [`metrics`]: `umbel_service_calls_total` by `service`, `method` and `outcome`
/// (`answered`, or an error's [kind](CallError::kind)), and how long it took in
/// `umbel_service_call_seconds`.
///
/// Methods that a service does not have count as `other`, so that nobody can make labels without end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metering(());

impl Metering {
    /// The middleware.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Middleware for Metering {
    async fn after(&self, context: &Context, answer: Payload) -> Result<Payload, CallError> {
        count(context, "answered");
        Ok(answer)
    }

    async fn on_error(&self, context: &Context, why: CallError) -> Result<Payload, CallError> {
        count(context, why.kind());
        Err(why)
    }
}

fn count(context: &Context, outcome: &'static str) {
    let service = context.service.to_string();
    let is_known = !matches!(outcome, "no_such_method" | "not_found");
    let method = if is_known { context.method.to_string() } else { "other".to_owned() };
    metrics::histogram!(
        "umbel_service_call_seconds", "service" => service.clone(), "method" => method.clone()
    )
    .record(context.begun.elapsed());
    metrics::counter!(
        "umbel_service_calls_total",
        "service" => service, "method" => method, "outcome" => outcome
    )
    .increment(1);
}
