//! One life of a service: its value, its queue, its workers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;
use umbel_actors::Reply;

use super::gather::Gather;
use super::job::Job;
use super::pace::Pace;
use super::queue::{Pushed, Queue, Taken, Ticket};
use super::remembered::{Admitted, Remembered};
use super::shared::{Remains, Shared};
use crate::call::{Call, Context, RequestId};
use crate::chain::Link;
use crate::error::CallError;
use crate::message::Request;
use crate::service::{Execute, Methods, Outcome, Service};
use crate::spans;

/// One life of a service: its value, its queue, and what its workers do.
pub(super) struct Life<S> {
    pub(super) service: Arc<S>,
    methods: Arc<Methods<S>>,
    chain: Arc<dyn Link>,
    queue: Queue<Job>,
    remembered: Mutex<Remembered<Reply<Outcome>, Outcome>>,
    pace: Mutex<Pace>,
    pub(super) shared: Arc<Shared>,
    /// Why it is not well, once that is certain.
    pub(super) ill: OnceLock<String>,
    /// Dropped last, and told so by that.
    _ends: watch::Sender<()>,
}

impl<S: Service> Life<S> {
    pub(super) fn new(service: S, methods: Arc<Methods<S>>, shared: Arc<Shared>) -> Self {
        let service = Arc::new(service);
        let options = &shared.options;
        let inside = Inside { service: service.clone(), methods: methods.clone() };
        let (ends, life) = watch::channel(());
        shared.set_last(Remains::new(life, &service));
        Self {
            chain: options.middleware.around(Arc::new(inside)),
            queue: Queue::new(methods.len(), options.queue, options.queue_bytes),
            remembered: Mutex::new(Remembered::new(options.remember, options.remembered)),
            pace: Mutex::new(Pace::new(methods.len())),
            ill: OnceLock::new(),
            service,
            methods,
            shared,
            _ends: ends,
        }
    }

    /// A request comes: it waits for a worker from now on, or is answered at once.
    pub(super) fn take_in(&self, request: Request) {
        let now = Instant::now();
        self.shared.came(now);
        let Request { method, id, attempt, is_idempotent, is_repeatable, headers, payload, reply } =
            request;
        let Some(index) = self.methods.index(&method) else {
            let (service, known) = (self.shared.name.to_string(), self.methods.names());
            let why = CallError::NoSuchMethod { service, method: method.into_owned(), known };
            return self.refuse(reply, why);
        };
        let options = &self.shared.options;
        let deadline = reply.deadline().unwrap_or_else(|| now + options.deadline);
        let reply = match is_repeatable {
            false => reply,
            true => match self.remembered.lock().admit(now, id, reply) {
                Admitted::New(reply) => reply,
                Admitted::Joined => return self.shared.repeated(),
                Admitted::TooMany(reply) => return self.refuse(reply, self.busy()),
                Admitted::Known(reply, outcome) => {
                    self.shared.repeated();
                    return reply.send(outcome);
                }
            },
        };
        let remaining = deadline.saturating_duration_since(now);
        let is_in_time = self.queue.with_lines(|waiting| {
            self.pace.lock().is_in_time(index, waiting, options.workers, remaining)
        });
        if !is_in_time {
            self.forget(is_repeatable, id);
            return self.refuse(reply, self.busy());
        }
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let bytes = bytes + payload.encoded_bytes();
        let context = Context {
            service: self.shared.name.clone(),
            method: self.methods.entry(index).name.into(),
            id,
            attempt,
            deadline,
            begun: now,
            is_idempotent,
            headers,
        };
        let expires = deadline.min(now.checked_add(options.queue_wait).unwrap_or(deadline));
        let job = Job::new((context, payload), reply, is_repeatable, self.shared.clone());
        let service = || self.shared.name.to_string();
        let ticket = Ticket { method: index, deadline: expires, bytes };
        let expired = match self.queue.push(now, ticket, job) {
            Pushed::Waits(expired) => expired,
            Pushed::Full(job, waiting, expired) => {
                self.end(now, job, Err(CallError::Busy { service: service(), waiting }));
                expired
            }
            Pushed::Closed(job) => {
                return self.end(now, job, Err(CallError::Stopped { service: service() }));
            }
        };
        for job in expired {
            self.expire(job, now);
        }
    }

    fn busy(&self) -> CallError {
        CallError::Busy { service: self.shared.name.to_string(), waiting: self.queue.len() }
    }

    fn refuse(&self, reply: Reply<Outcome>, why: CallError) {
        self.shared.refused(why.kind());
        reply.send(Err(why));
    }

    fn forget(&self, is_repeatable: bool, id: RequestId) {
        if is_repeatable {
            // Nobody can have joined it yet.
            self.remembered.lock().done(Instant::now(), id, None);
        }
    }

    /// Takes no more in. What waits is still executed.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Executes what waits, one after the other, until the queue is closed and empty.
    pub(super) async fn work(self: Arc<Self>) {
        let max = |method: usize| match self.methods.entry(method).execute {
            Execute::One(_) => 1,
            Execute::Batch { max, .. } => max,
        };
        while let Some(taken) = self.queue.pop(max).await {
            // A method's panic is caught where it is executed. What is left is one in the drop of what
            // it was cut off from: its requests are lost, and the worker goes on.
            let executed = AssertUnwindSafe(self.execute(taken)).catch_unwind().await;
            if let Err(panic) = executed {
                let (service, why) = (&self.shared.name, panic_text(&*panic));
                tracing::error!(target: "umbel::service", %service, %why, "a worker was cut off");
            }
        }
    }

    async fn execute(&self, Taken { method, first, others }: Taken<Job>) {
        let (begun, count) = (Instant::now(), 1 + others.len() as u32);
        let ended = match self.methods.entry(method).execute {
            Execute::One(_) => {
                let remaining = first.deadline.saturating_duration_since(begun);
                if self.queue.len() > 0 && self.pace.lock().is_too_late(method, remaining) {
                    return self.expire(first, begun);
                }
                self.run(begun, first, None).await
            }
            Execute::Batch { execute, .. } => {
                let gather = Arc::new(Gather::default());
                let jobs = std::iter::once(first).chain(others);
                let runs = jobs.map(|job| self.run(begun, job, Some(gather.clone())).map(drop));
                let runs: FuturesUnordered<_> = runs.collect();
                let service = self.service.clone();
                let execute = |requests: Vec<_>| {
                    let count = requests.len();
                    caught(count, execute(service, requests))
                };
                gather.run(runs, execute).await.then(Instant::now)
            }
        };
        // What was given up says nothing of how long it takes.
        if let Some(ended) = ended {
            self.pace.lock().took(method, (ended - begun) / count);
        }
    }

    /// Runs one request to its end: through the middleware, and by itself or with others. When that
    /// was, unless it was not begun, or given up.
    async fn run(
        &self,
        now: Instant,
        mut job: Job,
        gather: Option<Arc<Gather>>,
    ) -> Option<Instant> {
        if job.deadline <= now || job.waited(now) >= self.shared.options.queue_wait {
            self.expire(job, now);
            return None;
        }
        if job.is_unwanted() {
            job.give_up();
            return None;
        }
        let mut call = job.begin();
        call.gather = gather;
        let (deadline, span) = (job.deadline, spans::execution(&call.context, &job.span));
        let run = AssertUnwindSafe(async { self.chain.call(call).await }).catch_unwind();
        let mut run = pin!(run.instrument(span.clone()));
        let mut is_begun = false;
        // Looked at whenever it wakes: what nobody waits for any more is dropped there.
        let run = poll_fn(|cx| {
            // (At its deadline it is not given up, but late.)
            if std::mem::replace(&mut is_begun, true)
                && job.is_unwanted()
                && Instant::now() < deadline
            {
                return Poll::Ready(None);
            }
            run.as_mut().poll(cx).map(Some)
        });
        let outcome = tokio::select! {
            biased;
            ended = run => match ended {
                None => {
                    spans::given_up(&span);
                    job.give_up();
                    return None;
                }
                Some(Ok(outcome)) => outcome,
                Some(Err(panic)) => Err(CallError::Panicked { why: panic_text(&*panic) }),
            },
            () = sleep_until(deadline) => {
                let within = deadline.saturating_duration_since(job.since);
                Err(CallError::TimedOut { within })
            }
        };
        let ended = Instant::now();
        spans::execution_ended(&span, &outcome);
        self.end(ended, job, outcome);
        Some(ended)
    }

    /// A request has waited too long.
    fn expire(&self, job: Job, now: Instant) {
        let waited = job.waited(now);
        self.end(now, job, Err(CallError::Expired { waited }));
    }

    fn end(&self, now: Instant, job: Job, outcome: Outcome) {
        if job.is_repeatable {
            let is_settled = match &outcome {
                Ok(_) => true,
                Err(CallError::Failed(failure)) => !failure.is_transient,
                Err(_) => false,
            };
            let kept = is_settled.then(|| outcome.clone());
            let joined = self.remembered.lock().done(now, job.id(), kept);
            for reply in joined {
                reply.send(outcome.clone());
            }
        }
        job.end(now, outcome);
    }
}

/// The innermost link: the method itself.
struct Inside<S> {
    service: Arc<S>,
    methods: Arc<Methods<S>>,
}

impl<S: Service> Link for Inside<S> {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        let Call { context, request, gather, .. } = call;
        if let Some(gather) = gather {
            return Box::pin(gather.arrive(request));
        }
        let method = self.methods.index(&context.method).map(|index| self.methods.entry(index));
        match method.map(|method| &method.execute) {
            Some(Execute::One(execute)) => execute(&self.service, context, request),
            // A middleware has changed the method.
            Some(Execute::Batch { .. }) | None => {
                let (service, method) = (context.service.to_string(), context.method.into_owned());
                let known = self.methods.names();
                Box::pin(async { Err(CallError::NoSuchMethod { service, method, known }) })
            }
        }
    }
}

/// A batch of so many requests, whose panic is the outcome of each.
fn caught(
    count: usize,
    execution: BoxFuture<'static, Vec<Outcome>>,
) -> BoxFuture<'static, Vec<Outcome>> {
    Box::pin(async move {
        match AssertUnwindSafe(execution).catch_unwind().await {
            Ok(outcomes) => outcomes,
            Err(panic) => {
                let why = panic_text(&*panic);
                vec![Err(CallError::Panicked { why }); count]
            }
        }
    })
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("with something that is not text").to_owned()
}
