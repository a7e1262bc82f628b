//! The spans of calls, named as OpenTelemetry's conventions for remote procedure calls have it.
//!
//! They are of level debug, target `umbel::service`: where nobody wants them, a call costs the look at a
//! flag more.

use tracing::field::{Empty, display};
use tracing::{Span, debug_span};
use umbel_actors::Address;

use crate::call::Context;
use crate::message::ServiceMessage;
use crate::service::Outcome;

/// The span of a whole call, at its caller: over its middleware and all its attempts.
pub(crate) fn call(context: &Context) -> Span {
    let Context { service, method, id, .. } = context;
    debug_span!(
        target: "umbel::service",
        "call",
        otel.name = %format_args!("{service}/{method}"),
        otel.kind = "client",
        rpc.system = "umbel",
        rpc.service = %service,
        rpc.method = %method,
        umbel.request = %id,
        umbel.attempt = Empty,
        server.address = Empty,
        error.type = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// An attempt of the call that runs in this span is made there.
pub(crate) fn attempt(context: &Context, at: &Address<ServiceMessage>) {
    if !tracing::enabled!(target: "umbel::service", tracing::Level::DEBUG) {
        return;
    }
    let span = Span::current();
    span.record("umbel.attempt", context.attempt);
    if let Some(node) = at.node() {
        span.record("server.address", display(node));
    }
}

/// The span of a request in a worker's hands, which goes on with what its message was handled in.
pub(crate) fn execution(context: &Context, message: &Span) -> Span {
    let Context { service, method, id, attempt, begun, .. } = context;
    let span = debug_span!(
        target: "umbel::service",
        parent: message,
        "execute",
        otel.name = %format_args!("{service}/{method}"),
        otel.kind = "server",
        rpc.system = "umbel",
        rpc.service = %service,
        rpc.method = %method,
        umbel.request = %id,
        umbel.attempt = attempt,
        umbel.waited_us = begun.elapsed().as_micros() as u64,
        error.type = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    if span.is_disabled() { message.clone() } else { span }
}

/// A call has ended so, for its caller: without an answer, it is an error.
pub(crate) fn call_ended(span: &Span, outcome: &Outcome) {
    ended(span, outcome, true);
}

/// A request was executed so. What was not right with the request is no error of the service's.
pub(crate) fn execution_ended(span: &Span, outcome: &Outcome) {
    ended(span, outcome, outcome.as_ref().is_err_and(|why| why.is_the_services()));
}

/// Its caller has given the request up.
pub(crate) fn given_up(span: &Span) {
    span.record("error.type", "cancelled");
}

fn ended(span: &Span, outcome: &Outcome, is_error: bool) {
    let Err(why) = outcome else { return };
    if span.is_disabled() {
        return;
    }
    span.record("error.type", why.kind());
    if is_error {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", display(why));
    }
}
