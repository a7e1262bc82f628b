//! The spans of calls, named as OpenTelemetry's conventions for remote procedure calls have it.
//!
//! They are of level debug, target `umbel::service`: where nobody wants them, a call costs the look at a
//! flag more.

use parking_lot::Mutex;
use tracing::field::{Empty, display};
use tracing::{Span, debug_span};

use crate::call::Context;
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

/// The attempts of the call that runs in the present span. Which was the last, and where, is recorded when
/// this is dropped, however the call ends: once, for what a span has recorded stays.
pub(crate) struct Attempts(Option<Box<Attempted>>);

struct Attempted {
    span: Span,
    last: Mutex<Option<(u32, Option<String>)>>,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        let is_wanted = tracing::enabled!(target: "umbel::service", tracing::Level::DEBUG);
        let attempted = || Attempted { span: Span::current(), last: Mutex::new(None) };
        Self(is_wanted.then(|| Box::new(attempted())))
    }

    /// The attempt of this number is made at that node, or was answered from there; `None` is this one.
    pub(crate) fn made(&self, attempt: u32, node: Option<&str>) {
        if let Some(attempted) = &self.0 {
            *attempted.last.lock() = Some((attempt, node.map(str::to_owned)));
        }
    }
}

impl Drop for Attempted {
    fn drop(&mut self) {
        let Some((attempt, node)) = self.last.get_mut().take() else { return };
        self.span.record("umbel.attempt", attempt);
        if let Some(node) = node {
            self.span.record("server.address", node);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::span::{Id, Record};
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    /// What was recorded after spans had begun.
    #[derive(Clone, Default)]
    struct Recorded(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Recorded {
        fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
            self.0.lock().push(format!("{values:?}"));
        }
    }

    fn recorded(attempts: &[(u32, Option<&str>)]) -> String {
        let recorded = Recorded::default();
        tracing::subscriber::with_default(Registry::default().with(recorded.clone()), || {
            let fields = debug_span!(
                target: "umbel::service", "call", umbel.attempt = Empty, server.address = Empty
            );
            fields.in_scope(|| {
                let told = Attempts::new();
                for (attempt, node) in attempts {
                    told.made(*attempt, *node);
                }
            });
        });
        let recorded = recorded.0.lock();
        recorded.join(" ")
    }

    #[test]
    fn the_last_attempt_alone_is_recorded() {
        let told = recorded(&[(1, None), (2, Some("b")), (3, Some("c"))]);
        assert!(told.contains('3') && told.contains('c'), "{told}");
        assert_eq!(told.matches("umbel.attempt").count(), 1, "{told}");
        assert_eq!(told.matches("server.address").count(), 1, "{told}");
    }

    #[test]
    fn one_that_ends_on_this_node_has_no_address_of_another() {
        let told = recorded(&[(1, Some("b")), (2, None)]);
        assert!(told.contains("umbel.attempt") && !told.contains("server.address"), "{told}");
        assert_eq!(recorded(&[]), "");
    }
}
