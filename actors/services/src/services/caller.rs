//! One call, in as many attempts as it takes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};
use umbel_actors::{Address, AskError, System};

use super::handles::{Handles, Picked, Wanted};
use super::options::ServiceOptions;
use crate::call::{Call, Context};
use crate::chain::Link;
use crate::error::{CallError, Executed};
use crate::message::{Request, ServiceMessage};
use crate::payload::Payload;
use crate::service::Outcome;
use crate::spans::Attempts;

/// The innermost link of callers: finds an instance, asks it, and asks again where that is right.
pub(super) struct Caller {
    pub(super) system: System,
    pub(super) service: Arc<str>,
    pub(super) options: ServiceOptions,
    pub(super) handles: Arc<Handles>,
}

/// What a call's options say beside its context.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) retries: u32,
    pub(crate) retry_after: Duration,
    pub(crate) hedge_after: Option<Duration>,
    pub(crate) key: Option<Vec<u8>>,
    /// Whether whoever calls may call again with the same id.
    pub(crate) is_repeatable: bool,
}

impl Link for Caller {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        if self.options.middleware.is_empty() {
            return Box::pin(self.attempts(call));
        }
        // Who keeps an ask's deadline is the actor, which may tell it a moment late; the middleware
        // would not see the end of the call then, as `within_deadline` ends it with the middleware.
        let (begun, deadline) = (call.context.begun, call.context.deadline);
        Box::pin(async move {
            let within = deadline.saturating_duration_since(begun);
            let late = Err(CallError::TimedOut { within });
            timeout_at(deadline, self.attempts(call)).await.unwrap_or(late)
        })
    }
}

/// Why an attempt failed, and where.
type Failed = (CallError, Option<Address<ServiceMessage>>);

// Whatever is rare is boxed, so that the usual call stays small and is cheaply moved.
impl Caller {
    async fn attempts(&self, call: Call) -> Outcome {
        let Call { mut context, request, manner, .. } = call;
        let manner = manner.unwrap_or_else(|| Manner::of(&self.options));
        let mut request = Some(request);
        let (mut failed, told) = (Vec::new(), Attempts::new());
        let mut before = None;
        // Without middleware, it has only just begun: reading a clock is not free.
        let is_fresh = self.options.middleware.is_empty();
        let mut now = if is_fresh { context.begun } else { Instant::now() };
        loop {
            let is_last = context.attempt > manner.retries;
            let payload = take(&mut request, is_last).expect("only the last attempt takes it");
            let attempt = self.attempt((&mut context, &told), now, &manner, payload, &failed);
            let (why, at) = match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let is_last = context.attempt > manner.retries;
            if is_last || !why.may_be_tried_again(context.is_idempotent) {
                return Err(of_all(before, why));
            }
            let Context { service, method, attempt, .. } = &context;
            tracing::debug!(
                target: "umbel::service", %service, %method, attempt, %why, "an attempt failed"
            );
            let is_gone = matches!(why, CallError::Stopped { .. } | CallError::Unreachable { .. });
            failed.retain(|one| Some(one) != at.as_ref());
            failed.extend(at);
            now = Instant::now();
            let another = is_gone.then(|| self.pick(now, &manner, &failed)).flatten();
            if another.is_none_or(|another| failed.contains(&another.address)) {
                if context.deadline.saturating_duration_since(now) <= manner.retry_after {
                    // There would be no time left for another.
                    return Err(of_all(before, why));
                }
                Box::pin(sleep(manner.retry_after)).await;
                now = Instant::now();
            }
            context.attempt += 1;
            if may_have_executed(&why) {
                before = Some(why);
            }
        }
    }

    async fn attempt(
        &self,
        (context, told): (&mut Context, &Attempts),
        mut now: Instant,
        manner: &Manner,
        payload: Payload,
        failed: &[Address<ServiceMessage>],
    ) -> Result<Payload, Failed> {
        let picked = match self.pick(now, manner, failed) {
            Some(picked) => picked,
            None => {
                let waited = Box::pin(self.wait(context, manner, failed)).await;
                now = Instant::now();
                waited.map_err(|why| (why, None))?
            }
        };
        let hedge_after = manner.hedge_after.filter(|_| context.is_idempotent);
        if let Some(after) = hedge_after {
            return Box::pin(self.hedged(picked, (context, told), after, manner, payload)).await;
        }
        let outcome = self.ask(&picked, (context, told), now, manner, payload).await;
        outcome.map_err(|why| (why, Some(picked.address.clone())))
    }

    /// An attempt that is followed by one at another instance, where it takes long. The first answer
    /// counts; an error only where the other has failed as well.
    async fn hedged(
        &self,
        picked: Picked,
        (context, told): (&mut Context, &Attempts),
        after: Duration,
        manner: &Manner,
        payload: Payload,
    ) -> Result<Payload, Failed> {
        let at = picked.address.clone();
        let first = context.clone();
        let first = self.ask(&picked, (&first, told), Instant::now(), manner, payload.clone());
        let mut first = pin!(first);
        tokio::select! {
            biased;
            outcome = first.as_mut() => return outcome.map_err(|why| (why, Some(at))),
            () = sleep(after) => {}
        }
        let now = Instant::now();
        let other = self.pick(now, manner, std::slice::from_ref(&at));
        let Some(other) = other.filter(|other| other.address != at) else {
            return first.await.map_err(|why| (why, Some(at)));
        };
        context.attempt += 1;
        let mut second = pin!(self.ask(&other, (context, told), now, manner, payload));
        tokio::select! {
            biased;
            outcome = first.as_mut() => match outcome {
                Ok(answer) => Ok(answer),
                Err(one) => {
                    second.await.map_err(|why| (of_all(Some(one), why), Some(other.address.clone())))
                }
            },
            outcome = second.as_mut() => match outcome {
                Ok(answer) => Ok(answer),
                Err(one) => first.await.map_err(|why| (of_all(Some(one), why), Some(at))),
            },
        }
    }

    fn pick(
        &self,
        now: Instant,
        manner: &Manner,
        avoid: &[Address<ServiceMessage>],
    ) -> Option<Picked> {
        let followed = self.handles.of(&self.service);
        followed.pick(&self.system, now, self.wanted(manner, avoid))
    }

    /// An instance, where there is none yet.
    async fn wait(
        &self,
        context: &Context,
        manner: &Manner,
        avoid: &[Address<ServiceMessage>],
    ) -> Result<Picked, CallError> {
        let begun = Instant::now();
        let within = self.options.resolve_within.min(context.remaining());
        let wanted = self.wanted(manner, avoid);
        let picked = self.handles.wait(&self.system, &self.service, within, wanted).await;
        picked.ok_or_else(|| CallError::NotFound {
            service: self.service.to_string(),
            waited: Duration::from_millis(begun.elapsed().as_millis() as u64),
        })
    }

    fn wanted<'a>(
        &'a self,
        manner: &'a Manner,
        avoid: &'a [Address<ServiceMessage>],
    ) -> Wanted<'a> {
        Wanted { options: &self.options, key: manner.key.as_deref(), avoid }
    }

    async fn ask(
        &self,
        picked: &Picked,
        (context, told): (&Context, &Attempts),
        now: Instant,
        manner: &Manner,
        payload: Payload,
    ) -> Outcome {
        told.made(context.attempt, picked.address.node());
        let remaining = context.deadline.saturating_duration_since(now);
        let within = self.options.attempt_deadline.map_or(remaining, |most| most.min(remaining));
        let is_repeatable = manner.is_repeatable || (context.is_idempotent && manner.retries > 0);
        let question = |reply| {
            ServiceMessage::Call(Box::new(Request {
                method: context.method.clone(),
                id: context.id,
                attempt: context.attempt,
                is_idempotent: context.is_idempotent,
                is_repeatable,
                headers: context.headers.clone(),
                payload,
                reply,
            }))
        };
        // What its caller has said, not what the first steps have left of it.
        let whole = context.deadline.saturating_duration_since(context.begun);
        let said = if within < remaining { within } else { whole };
        match picked.address.ask_within(within, question).await {
            // The service tells what it has seen of it.
            Ok(Err(CallError::TimedOut { .. })) => Err(CallError::TimedOut { within: said }),
            Ok(outcome) => {
                // Of two that are under way, the one that answers.
                told.made(context.attempt, picked.address.node());
                outcome
            }
            Err(why) => Err(self.unanswered(why, context, said)),
        }
    }

    fn unanswered(&self, why: AskError, context: &Context, within: Duration) -> CallError {
        let service = self.service.to_string();
        match why {
            AskError::Closed | AskError::NoSuchActor | AskError::Restarting => {
                CallError::Stopped { service }
            }
            AskError::NoRoom(waited) => CallError::Expired { waited },
            AskError::Overloaded => CallError::Busy { service, waiting: 0 },
            AskError::Unreachable(node) => CallError::Unreachable { node },
            AskError::Unencodable(why) => {
                CallError::BadRequest { method: context.method.to_string(), why }
            }
            AskError::AnswerUnencodable(why) => CallError::BadAnswer { why },
            AskError::TimedOut(_) => CallError::TimedOut { within },
            why => CallError::Lost { why: why.to_string() },
        }
    }
}

impl Manner {
    pub(crate) fn of(options: &ServiceOptions) -> Self {
        Self {
            retries: options.retries,
            retry_after: options.retry_after,
            hedge_after: options.hedge_after,
            key: None,
            is_repeatable: false,
        }
    }
}

/// What is told of a call whose attempts all failed: why the last one did, unless that one has done
/// nothing, and one before it may have.
fn of_all(before: Option<CallError>, last: CallError) -> CallError {
    match before.filter(may_have_executed) {
        Some(before) if !may_have_executed(&last) => before,
        _ => last,
    }
}

fn may_have_executed(why: &CallError) -> bool {
    match why {
        // It says that it has done nothing.
        CallError::Failed(failure) => !failure.is_transient,
        why => why.executed() != Executed::No,
    }
}

/// The request, or a clone of it where it may be needed again.
fn take(request: &mut Option<Payload>, is_last: bool) -> Option<Payload> {
    if is_last { request.take() } else { request.clone() }
}

/// A call through its middleware, within its deadline, whatever the middleware waits for.
pub(super) async fn within_deadline(chain: &dyn Link, call: Call, within: Duration) -> Outcome {
    let deadline = call.context.deadline;
    timeout_at(deadline, chain.call(call)).await.unwrap_or(Err(CallError::TimedOut { within }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn what_one_attempt_may_have_executed_is_not_told_to_be_not_executed() {
        let not = || CallError::Stopped { service: "s".into() };
        let lost = || CallError::Lost { why: "a link".into() };
        let sold = || CallError::Failed(Failure::new("sold out"));
        let declined = || CallError::Failed(Failure::new("locked").transient());
        assert_eq!(of_all(None, not()), not());
        for nothing_done in [not(), declined()] {
            assert_eq!(of_all(Some(lost()), nothing_done.clone()), lost());
            assert_eq!(of_all(Some(sold()), nothing_done.clone()), sold());
            assert_eq!(of_all(Some(nothing_done.clone()), lost()), lost());
            assert_eq!(of_all(Some(nothing_done), not()), not());
        }
        assert_eq!(of_all(Some(lost()), sold()), sold());
    }
}
