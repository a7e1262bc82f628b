//! From the traces of actors to OpenTelemetry's, and back.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use umbel_actors::{TraceContext, Traces};

/// The [`Traces`] of a system whose spans go to OpenTelemetry by the layer of
/// [`Telemetry`](crate::Telemetry::layer), or any other `tracing-opentelemetry` layer that activates
/// contexts, as it does by default. (Have such a layer pass over the target `ractor`: its spans last as long
/// as their actors.)
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use umbel_actors::System;
/// use umbel_telemetry::OpenTelemetryTraces;
///
/// let system = System::builder("shop").traces(OpenTelemetryTraces::new()).start();
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenTelemetryTraces(());

impl OpenTelemetryTraces {
    /// The bridge. It holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Traces for OpenTelemetryTraces {
    fn current(&self) -> Option<TraceContext> {
        current()
    }

    fn go_on(&self, span: &Span, with: &TraceContext) {
        go_on(span, with);
    }
}

/// The context of what runs on this thread: that of the innermost span that goes to OpenTelemetry.
pub(crate) fn current() -> Option<TraceContext> {
    Context::map_current(|context| {
        context.has_active_span().then(|| of(context.span().span_context())).flatten()
    })
}

/// Makes a new span go on with a trace. Where nobody takes the span up, there is nothing to be done.
pub(crate) fn go_on(span: &Span, with: &TraceContext) {
    if !span.is_disabled() {
        let _ = span.set_parent(Context::new().with_remote_span_context(to(with)));
    }
}

fn of(context: &SpanContext) -> Option<TraceContext> {
    let trace = u128::from_be_bytes(context.trace_id().to_bytes());
    let span = u64::from_be_bytes(context.span_id().to_bytes());
    let plain = TraceContext::new(trace, span, context.trace_flags().to_u8()).ok()?;
    let state = context.trace_state();
    if *state == TraceState::NONE {
        return Some(plain);
    }
    // One that is longer than what everybody passes on is left out.
    Some(plain.clone().with_state(&state.header()).unwrap_or(plain))
}

fn to(context: &TraceContext) -> SpanContext {
    let state = context.state().parse().unwrap_or(TraceState::NONE);
    SpanContext::new(
        TraceId::from_bytes(context.trace().to_be_bytes()),
        SpanId::from_bytes(context.span().to_be_bytes()),
        TraceFlags::new(context.flags()),
        true,
        state,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_comes_back_as_it_went() {
        for (flags, state) in [(0, ""), (1, "a=1"), (1, "b@c=d e,a=1")] {
            let context = TraceContext::new(1 << 100, 7, flags).unwrap().with_state(state).unwrap();
            assert_eq!(of(&to(&context)), Some(context));
        }
    }

    #[test]
    fn without_a_span_there_is_no_context() {
        assert_eq!(current(), None);
        assert_eq!(of(&SpanContext::NONE), None);
    }
}
