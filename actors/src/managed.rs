//! The user's actor, wrapped.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use metrics::Counter;
use pin_project_lite::pin_project;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::backlog::{Backlog, Row};
use crate::hooks::{self, Surroundings};
use crate::message::Message;
use crate::pace::Pace;
use crate::parcel::{self, Arrival, Entry};
use crate::reply;
use crate::slot::{Incarnation, Slot, SlotOwner};
use crate::system::System;
use crate::trace::TraceContext;
use crate::watch::Exit;
use crate::wire::Unanswered;

/// What is asked of an actor's mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mailbox {
    pub(crate) capacity: usize,
    pub(crate) throughput: Option<NonZeroUsize>,
}

/// A user's actor with the same messages, state and arguments, so that every ractor tool works on
/// it. Around each hook it keeps the mailbox's account, tells the hook its surroundings, counts,
/// and notes why the actor ends.
pub(crate) struct Managed<A: Actor<Msg: Message>> {
    actor: A,
    mailbox: Mailbox,
    slot: Arc<Slot<A::Msg>>,
    owner: Option<Arc<SlotOwner<A::Msg>>>,
    incarnation: OnceLock<Arc<Incarnation<A::Msg>>>,
    surroundings: Surroundings,
    handled: Counter,
}

impl<A: Actor<Msg: Message>> Managed<A> {
    pub(crate) fn new(
        actor: A,
        mailbox: Mailbox,
        owner: Arc<SlotOwner<A::Msg>>,
        system: System,
    ) -> Self {
        let surroundings = Surroundings {
            system,
            id: owner.slot.id,
            slot: owner.slot.clone(),
            started: OnceLock::new(),
        };
        let kind = std::any::type_name::<A>();
        metrics::counter!("umbel_actors_started_total", "actor" => kind).increment(1);
        let handled = metrics::counter!("umbel_messages_handled_total", "actor" => kind);
        Self {
            actor,
            mailbox,
            slot: owner.slot.clone(),
            owner: Some(owner),
            incarnation: OnceLock::new(),
            surroundings,
            handled,
        }
    }

    fn incarnation(&self) -> &Arc<Incarnation<A::Msg>> {
        self.incarnation.get().expect("ractor calls pre_start before every other hook")
    }

    /// Runs a part of a hook in its surroundings; a panic in it is the actor's end.
    #[inline]
    fn within<R>(&self, part: impl FnOnce() -> R) -> R {
        let failed = |why| self.incarnation().ending(Exit::Failed(why));
        hooks::within(&self.surroundings, part, failed)
    }

    /// Begins a hook that is not run for each message.
    fn begin<F>(&self, make: impl FnOnce() -> F) -> Hook<'_, A, F> {
        self.incarnation().pulse.begin();
        let mut hook = Hook::new(self);
        hook.begin(make);
        hook
    }

    /// Puts a message to work, if anybody waits for what it asks.
    #[inline]
    fn work<'a, F>(
        &'a self,
        hook: &mut Hook<'a, A, F>,
        message: A::Msg,
        arrival: Arrival,
        handle: impl FnOnce(A::Msg) -> F,
    ) where
        F: Future<Output = Result<(), ActorProcessingErr>>,
    {
        let incarnation = self.incarnation();
        let Arrival { entry, mut is_over, .. } = arrival;
        let trace = arrival.trace();
        if entry == Entry::Asked {
            is_over = !incarnation.docket.take();
        }
        incarnation.gate.leave_by(entry);
        incarnation.pulse.begin();
        if is_over {
            return self.skip(message);
        }
        self.handled.increment(1);
        if trace.is_some() || tracing::enabled!(target: "umbel::message", tracing::Level::DEBUG) {
            hook.span = self.span(trace);
        }
        hook.begin(|| handle(message));
    }

    /// Drops a message unread.
    #[cold]
    fn skip(&self, message: A::Msg) {
        let kind = std::any::type_name::<A>();
        metrics::counter!("umbel_questions_skipped_total", "actor" => kind).increment(1);
        self.within(|| reply::dropped_as(&Unanswered::Expired, message));
        self.incarnation().pulse.end();
    }

    /// The span of a message. One that is part of a trace has a higher level than the many that are not:
    /// a tracer takes it up, and is not made to begin a trace with each timer's tick.
    #[cold]
    fn span(&self, trace: Option<TraceContext>) -> Option<Box<tracing::Span>> {
        let (actor, message) = (&self.slot.label, A::Msg::NAME);
        let span = match &trace {
            None => {
                tracing::debug_span!(target: "umbel::message", "handle", %actor, message)
            }
            Some(_) => tracing::info_span!(
                target: "umbel::message",
                "handle",
                otel.name = %format_args!("handle {message}"),
                %actor,
                message,
            ),
        };
        if let (Some(trace), Some(traces)) = (trace, &self.incarnation().traces) {
            traces.go_on(&span, &trace);
        }
        (!span.is_disabled()).then(|| Box::new(span))
    }

    /// A message at work, and those that wait behind it.
    async fn row(
        &self,
        backlog: &Backlog<A::Msg>,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        arrival: Arrival,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut contents = (message, arrival);
        let mut row = Row::new(backlog);
        let mut pace = None::<Pace>;
        for left in (0..backlog.in_a_row_max()).rev() {
            let (message, arrival) = contents;
            let myself = myself.clone();
            let mut hook = Hook::new(self);
            self.work(&mut hook, message, arrival, |it| self.actor.handle(myself, it, state));
            if hook.has_begun() {
                hook.await?;
            }
            let is_last = left == 0 || self.incarnation().is_told_to_stop();
            // Who never waits must keep neither its thread nor a kill waiting.
            if let Some(pace) = &mut pace {
                for _ in 0..pace.units(is_last) {
                    tokio::task::coop::consume_budget().await;
                }
            }
            if is_last {
                break;
            }
            let Some(next) = row.next() else { return Ok(()) };
            contents = parcel::open(next);
            pace.get_or_insert_with(Pace::begin);
        }
        row.pause(|contents| self.incarnation().lead(contents));
        Ok(())
    }
}

impl<A: Actor<Msg: Message>> Actor for Managed<A> {
    type Msg = A::Msg;
    type State = A::State;
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        arguments: A::Arguments,
    ) -> Result<A::State, ActorProcessingErr> {
        let incarnation = Incarnation::new(myself.clone(), self.mailbox, &self.slot);
        let _ = self.surroundings.started.set((myself.get_id(), incarnation.clone()));
        let (id, system) = (self.surroundings.id, &self.surroundings.system);
        system.note_living(id, myself.get_id(), &self.slot.label);
        let _ = self.incarnation.set(incarnation.clone());
        let state = self.begin(|| self.actor.pre_start(myself, arguments)).await?;
        // Only now is it let in from outside: what is sent to an actor that then fails to start
        // would be lost, while a sender that waits loses nothing.
        self.slot.fill(incarnation);
        Ok(state)
    }

    async fn post_start(
        &self,
        myself: ActorRef<A::Msg>,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.begin(|| self.actor.post_start(myself, state)).await
    }

    async fn post_stop(
        &self,
        myself: ActorRef<A::Msg>,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        // ractor keeps the mailbox until this hook has ended: close it first, so that no one waits
        // for an actor that will take nothing more.
        self.incarnation().close();
        let result = self.begin(|| self.actor.post_stop(myself, state)).await;
        self.incarnation().ending(Exit::Stopped);
        result
    }

    fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        state: &mut A::State,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        // Read at once: ractor calls this right after it unpacked the message, on this thread.
        let arrival = parcel::arrived();
        let mut work = Work { hook: Hook::new(self), row: None };
        match &self.incarnation().backlog {
            Some(backlog) if arrival.entry != Entry::Raw => {
                work.row = Some(Box::pin(self.row(backlog, myself, message, arrival, state)));
            }
            _ => self.work(&mut work.hook, message, arrival, |message| {
                self.actor.handle(myself, message, state)
            }),
        }
        work
    }

    /// Boxed: it is rare, and ractor keeps it in the same place as `handle`, which it moves twice
    /// for each message, however small that one is.
    fn handle_serialized(
        &self,
        myself: ActorRef<A::Msg>,
        message: ractor::message::SerializedMessage,
        state: &mut A::State,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        Box::pin(async move {
            self.begin(|| self.actor.handle_serialized(myself, message, state)).await
        })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.begin(|| self.actor.handle_supervisor_evt(myself, event, state)).await
    }
}

pin_project! {
    /// A message at work, or a row of them, or nothing, where the message was dropped unread.
    struct Work<'a, A: Actor<Msg: Message>, F, R> {
        #[pin]
        hook: Hook<'a, A, F>,
        row: Option<Pin<Box<R>>>,
    }
}

impl<A, F, R> Future for Work<'_, A, F, R>
where
    A: Actor<Msg: Message>,
    F: Future<Output = Result<(), ActorProcessingErr>>,
    R: Future<Output = F::Output>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.hook.has_begun() {
            return this.hook.poll(cx);
        }
        match this.row {
            Some(row) => row.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

pin_project! {
    /// One of the actor's hooks. Small, and holding the hook's own future once: ractor moves it several
    /// times before it is polled, and an `async` block would hold what the hook was given twice.
    ///
    /// The hook is called when it begins, for what it does before it returns its future is as much a
    /// part of it; and ractor makes this and polls it in one go. The future is written where it stays:
    /// a hook that waits here to be called at the first poll, or comes from another function by value, is
    /// moved once more, and each move takes some 5 ns, a hundredth of an ask.
    struct Hook<'a, A: Actor<Msg: Message>, F> {
        managed: &'a Managed<A>,
        #[pin]
        future: Option<F>,
        span: Option<Box<tracing::Span>>,
    }
}

impl<'a, A: Actor<Msg: Message>, F> Hook<'a, A, F> {
    #[inline]
    fn new(managed: &'a Managed<A>) -> Self {
        Self { managed, future: None, span: None }
    }

    #[inline]
    fn begin(&mut self, make: impl FnOnce() -> F) {
        let Self { managed, future, span } = self;
        let begin = || managed.within(|| *future = Some(make()));
        match span {
            None => begin(),
            Some(span) => span.in_scope(begin),
        }
    }

    fn has_begun(&self) -> bool {
        self.future.is_some()
    }
}

impl<A, F, T> Future for Hook<'_, A, F>
where
    A: Actor<Msg: Message>,
    F: Future<Output = Result<T, ActorProcessingErr>>,
{
    type Output = F::Output;

    /// An error or a panic is the actor's end.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("only what has begun is polled");
        let poll = || this.managed.within(|| future.poll(cx));
        let polled = match this.span {
            None => poll(),
            Some(span) => span.in_scope(poll),
        };
        let incarnation = this.managed.incarnation();
        match &polled {
            Poll::Pending => incarnation.gate.relieve(),
            Poll::Ready(Err(why)) => incarnation.ending(Exit::Failed(why.to_string())),
            Poll::Ready(Ok(_)) => incarnation.pulse.end(),
        }
        polled
    }
}

impl<A: Actor<Msg: Message>> Drop for Managed<A> {
    fn drop(&mut self) {
        // A kill while the actor was idle calls no hook at all: this is the one place that every
        // end comes through.
        if let Some(incarnation) = self.incarnation.get() {
            let (why, unread, watchers) = incarnation.over(Exit::Killed);
            self.slot.clear(incarnation);
            self.slot.unread(unread, &why);
            // Whoever is told may start another actor of the same name at once.
            drop(self.owner.take());
            for watcher in watchers {
                let _ = watcher.send(why.clone());
            }
            if !why.is_normal() {
                metrics::counter!(
                    "umbel_actors_failed_total", "actor" => std::any::type_name::<A>()
                )
                .increment(1);
            }
        }
    }
}
