//! One call, in as many attempts as it takes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};
use umbel_actors::{Address, AskError, System};

use super::handles::{Handles, Picked, Wanted};
use super::options::ServiceOptions;
use crate::call::{Call, Context};
use crate::chain::Link;
use crate::error::CallError;
use crate::message::{Request, ServiceMessage};
use crate::payload::Payload;
use crate::service::Outcome;

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

impl Caller {
    async fn attempts(&self, call: Call) -> Outcome {
        let Call { mut context, request, manner, .. } = call;
        let manner = manner.unwrap_or_else(|| Manner::of(&self.options));
        let mut request = Some(request);
        let mut failed: Vec<Address<ServiceMessage>> = Vec::new();
        loop {
            let is_last = context.attempt > manner.retries;
            let Some(payload) = take(&mut request, is_last && manner.hedge_after.is_none()) else {
                unreachable!("the last attempt has taken the request");
            };
            let (why, at) = match self.attempt(&mut context, &manner, payload, &failed).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let is_last = context.attempt > manner.retries;
            if is_last || !why.may_be_tried_again(context.is_idempotent) {
                return Err(why);
            }
            let is_gone = matches!(why, CallError::Stopped { .. } | CallError::Unreachable { .. });
            failed.retain(|one| Some(one) != at.as_ref());
            failed.extend(at);
            let is_another = is_gone
                && self
                    .pick_now(&manner, &failed)
                    .is_some_and(|picked| !failed.contains(&picked.address));
            if !is_another {
                if context.remaining() <= manner.retry_after {
                    // There would be no time left for another.
                    return Err(why);
                }
                sleep(manner.retry_after).await;
            }
            context.attempt += 1;
        }
    }

    /// One attempt, and where that failed.
    async fn attempt(
        &self,
        context: &mut Context,
        manner: &Manner,
        payload: Payload,
        failed: &[Address<ServiceMessage>],
    ) -> Result<Payload, (CallError, Option<Address<ServiceMessage>>)> {
        let begun = Instant::now();
        let within = self.options.resolve_within.min(context.remaining());
        let wanted = self.wanted(manner, failed);
        let picked = self.handles.pick(&self.system, &self.service, within, wanted).await;
        let Some(picked) = picked else {
            let (service, waited) = (self.service.to_string(), begun.elapsed());
            return Err((CallError::NotFound { service, waited }, None));
        };
        let at = picked.address.clone();
        let hedge = manner.hedge_after.filter(|_| context.is_idempotent);
        let Some(after) = hedge else {
            return self
                .ask(&picked, context, manner, payload)
                .await
                .map_err(|why| (why, Some(at)));
        };
        let (first, second) = (context.clone(), {
            context.attempt += 1;
            context.clone()
        });
        let asked = self.ask(&picked, &first, manner, payload.clone());
        let mut asked = std::pin::pin!(asked);
        let early = tokio::select! {
            biased;
            outcome = asked.as_mut() => Some(outcome),
            () = sleep(after) => None,
        };
        if let Some(outcome) = early {
            context.attempt -= 1;
            return outcome.map_err(|why| (why, Some(at)));
        }
        let mut avoid = failed.to_vec();
        avoid.push(at.clone());
        let other = self.pick_now(manner, &avoid).filter(|other| other.address != at);
        let Some(other) = other else {
            context.attempt -= 1;
            return asked.await.map_err(|why| (why, Some(at)));
        };
        let mut hedged = std::pin::pin!(self.ask(&other, &second, manner, payload));
        // The first answer counts; an error only where the other has failed as well.
        tokio::select! {
            biased;
            outcome = asked.as_mut() => match outcome {
                Ok(answer) => Ok(answer),
                Err(_) => hedged.await.map_err(|why| (why, Some(other.address.clone()))),
            },
            outcome = hedged.as_mut() => match outcome {
                Ok(answer) => Ok(answer),
                Err(_) => asked.await.map_err(|why| (why, Some(at))),
            },
        }
    }

    fn wanted<'a>(
        &'a self,
        manner: &'a Manner,
        avoid: &'a [Address<ServiceMessage>],
    ) -> Wanted<'a> {
        Wanted { options: &self.options, key: manner.key.as_deref(), avoid }
    }

    fn pick_now(&self, manner: &Manner, avoid: &[Address<ServiceMessage>]) -> Option<Picked> {
        self.handles.of(&self.service).pick(&self.system, self.wanted(manner, avoid))
    }

    async fn ask(
        &self,
        picked: &Picked,
        context: &Context,
        manner: &Manner,
        payload: Payload,
    ) -> Outcome {
        let remaining = context.remaining();
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
            Ok(outcome) => outcome,
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

/// The request, or a clone of it where it may be needed again.
fn take(request: &mut Option<Payload>, is_last: bool) -> Option<Payload> {
    if is_last { request.take() } else { request.clone() }
}

/// A call through its middleware, within its deadline, whatever the middleware waits for.
pub(super) async fn within_deadline(chain: &dyn Link, call: Call, within: Duration) -> Outcome {
    let deadline = call.context.deadline;
    timeout_at(deadline, chain.call(call)).await.unwrap_or(Err(CallError::TimedOut { within }))
}
