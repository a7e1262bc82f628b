//! What is done before and after each call.

mod breaker;
mod bulkhead;
mod cache;
mod fallback;
mod logging;
mod metering;
mod rate_limit;

use crate::call::{Call, Context};
use crate::error::CallError;
use crate::payload::Payload;

pub use self::breaker::{BreakerChange, BreakerOptions, BreakerState, CircuitBreaker};
pub use self::bulkhead::Bulkhead;
pub use self::cache::{Cache, CacheOptions};
pub use self::fallback::Fallback;
pub use self::logging::Logging;
pub use self::metering::Metering;
pub use self::rate_limit::RateLimit;

/// How a call goes on.
#[derive(Debug)]
pub enum Flow {
    /// To the next middleware, and to the method in the end.
    Continue,
    /// Not at all: this is its answer.
    Answer(Payload),
}

/// What is done before and after each call, in a [`Chain`](crate::Chain).
///
/// `before` runs in the order in which middleware was added, `after` and `on_error` in the reverse
/// order. Where `before` fails or answers, neither `after` nor `on_error` of the same middleware runs
/// for that call. Of a call that its caller drops, nothing is told.
///
/// ```
/// use umbel_services::{Call, CallError, Flow, Middleware};
///
/// /// Lets only those in that have a token.
/// struct Door;
///
/// impl Middleware for Door {
///     async fn before(&self, call: &mut Call) -> Result<Flow, CallError> {
///         if call.context.headers.contains_key("token") {
///             return Ok(Flow::Continue);
///         }
///         let (by, why) = ("door".to_owned(), "there is no token".to_owned());
///         Err(CallError::Rejected { by, why, again_after: None })
///     }
/// }
/// # let _ = Door;
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Before the call goes on. May change it, refuse it, or answer it.
    ///
    /// # Errors
    /// Whatever is to be the call's outcome.
    fn before(&self, call: &mut Call) -> impl Future<Output = Result<Flow, CallError>> + Send {
        let _ = call;
        async { Ok(Flow::Continue) }
    }

    /// After it was answered; what it returns is the answer from here on.
    ///
    /// # Errors
    /// Whatever is to be the call's outcome instead.
    fn after(
        &self,
        context: &Context,
        answer: Payload,
    ) -> impl Future<Output = Result<Payload, CallError>> + Send {
        let _ = context;
        async { Ok(answer) }
    }

    /// After it came to nothing; what it returns is the outcome from here on.
    ///
    /// # Errors
    /// The same error, or another one.
    fn on_error(
        &self,
        context: &Context,
        why: CallError,
    ) -> impl Future<Output = Result<Payload, CallError>> + Send {
        let _ = context;
        async { Err(why) }
    }
}
