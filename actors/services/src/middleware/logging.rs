use super::Middleware;
use crate::call::Context;
use crate::error::CallError;
use crate::payload::Payload;

/// Logs each call with [`tracing`], target `umbel::service`: those that were answered at level debug,
/// those that were not at level warn. Requests and answers are not logged: they may be secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logging(());

impl Logging {
    /// The middleware.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Middleware for Logging {
    async fn after(&self, context: &Context, answer: Payload) -> Result<Payload, CallError> {
        let (Context { service, method, id, .. }, took) = (context, context.begun.elapsed());
        tracing::debug!(target: "umbel::service", %service, %method, %id, ?took, "answered");
        Ok(answer)
    }

    async fn on_error(&self, context: &Context, why: CallError) -> Result<Payload, CallError> {
        let (Context { service, method, id, .. }, took) = (context, context.begun.elapsed());
        tracing::warn!(target: "umbel::service", %service, %method, %id, ?took, %why, "not answered");
        Err(why)
    }
}
