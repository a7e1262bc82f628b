use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use metrics::SharedString;
use parking_lot::Mutex;

use super::Middleware;
use crate::call::Context;
use crate::error::CallError;
use crate::payload::Payload;

/// How many methods are told apart that are called by names which the program does not hold.
const NAMES_MAX: usize = 256;

/// Counts each call with [`metrics`]: `umbel_service_calls_total` by `service`, `method` and `outcome`
/// (`answered`, or an error's [kind](CallError::kind)), and how long it took in
/// `umbel_service_call_seconds`.
///
/// Methods that a service does not have count as `other`, and so do methods beyond the first 256 that
/// were called by name only: names may be anybody's input, and must not make labels without end.
#[derive(Debug, Default)]
pub struct Metering {
    names: Mutex<BTreeSet<Arc<str>>>,
}

impl Metering {
    /// The middleware.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn count(&self, context: &Context, outcome: &'static str) {
        let service = SharedString::from_shared(context.service.clone());
        let method = match outcome {
            "no_such_method" => SharedString::const_str(OTHER),
            _ => self.label(&context.method),
        };
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

    #[expect(clippy::ptr_arg, reason = "a name that the program holds is told from one that came")]
    fn label(&self, method: &Cow<'static, str>) -> SharedString {
        let name: &str = match method {
            Cow::Borrowed(name) => return SharedString::const_str(name),
            Cow::Owned(name) => name,
        };
        let mut names = self.names.lock();
        if let Some(known) = names.get(name) {
            return SharedString::from_shared(known.clone());
        }
        if names.len() >= NAMES_MAX {
            return SharedString::const_str(OTHER);
        }
        let name: Arc<str> = name.into();
        names.insert(name.clone());
        SharedString::from_shared(name)
    }
}

const OTHER: &str = "other";

impl Middleware for Metering {
    async fn after(&self, context: &Context, answer: Payload) -> Result<Payload, CallError> {
        self.count(context, "answered");
        Ok(answer)
    }

    async fn on_error(&self, context: &Context, why: CallError) -> Result<Payload, CallError> {
        self.count(context, why.kind());
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_from_anywhere_do_not_make_labels_without_end() {
        let metering = Metering::new();
        let label = |name: String| metering.label(&Cow::Owned(name)).to_string();
        for number in 0..NAMES_MAX {
            assert_eq!(label(format!("m{number}")), format!("m{number}"));
        }
        assert_eq!(label("one too many".into()), "other");
        assert_eq!(label("m7".into()), "m7");
        let own = metering.label(&Cow::Borrowed("the program's own"));
        assert_eq!(own.to_string(), "the program's own");
    }
}
