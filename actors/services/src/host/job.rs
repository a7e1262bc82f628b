//! A request that a service has taken in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;
use umbel_actors::Reply;

use super::shared::Shared;
use crate::call::{Call, Context, RequestId};
use crate::error::CallError;
use crate::payload::Payload;
use crate::service::Outcome;

/// A request that a service has taken in. However it ends, it is answered and counted once.
pub(crate) struct Job {
    /// `None` once it was begun.
    call: Option<(Context, Payload)>,
    id: RequestId,
    reply: Option<Reply<Outcome>>,
    /// Whether others may wait for its outcome, or come for it later.
    pub(crate) is_repeatable: bool,
    pub(crate) deadline: Instant,
    pub(crate) since: Instant,
    /// What the request's message is handled in: its work belongs to the same trace.
    pub(crate) span: Span,
    shared: Arc<Shared>,
}

impl Job {
    pub(crate) fn new(
        (context, payload): (Context, Payload),
        reply: Reply<Outcome>,
        is_repeatable: bool,
        shared: Arc<Shared>,
    ) -> Self {
        shared.tally().waiting += 1;
        Self {
            deadline: context.deadline,
            since: context.begun,
            id: context.id,
            call: Some((context, payload)),
            reply: Some(reply),
            is_repeatable,
            span: Span::current(),
            shared,
        }
    }

    /// Takes its call, to execute it.
    pub(crate) fn begin(&mut self) -> Call {
        let (context, payload) = self.call.take().expect("a job is begun once");
        let mut tally = self.shared.tally();
        tally.waiting -= 1;
        tally.running += 1;
        drop(tally);
        Call::new(context, payload)
    }

    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    fn is_begun(&self) -> bool {
        self.call.is_none()
    }

    /// Whether nobody waits for it any more, nor will. One that may come again is wanted until its
    /// deadline: its caller may have lost a link only.
    pub(crate) fn is_unwanted(&self) -> bool {
        !self.is_repeatable && self.reply.as_ref().is_none_or(Reply::is_cancelled)
    }

    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// It has ended so.
    pub(crate) fn end(mut self, now: Instant, outcome: Outcome) {
        let kind = outcome.as_ref().err().map(CallError::kind);
        self.count(now, kind);
        if let Some(reply) = self.reply.take() {
            reply.send(outcome);
        }
    }

    /// Its caller has given up.
    pub(crate) fn give_up(mut self) {
        self.count(Instant::now(), Some("cancelled"));
        self.reply = None;
    }

    fn count(&mut self, now: Instant, error: Option<&'static str>) {
        let took = self.is_begun().then(|| self.waited(now));
        self.shared.ended(now, took, error);
    }
}

impl Drop for Job {
    /// The service ends with the job in its queue, or in a worker's hands.
    fn drop(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        let why = if self.is_begun() {
            CallError::Lost { why: format!("service {:?} ended", self.shared.name) }
        } else {
            CallError::Stopped { service: self.shared.name.to_string() }
        };
        self.count(Instant::now(), Some(why.kind()));
        reply.send(Err(why));
    }
}
