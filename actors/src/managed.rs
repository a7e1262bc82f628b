//! The user's actor, wrapped.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use metrics::Counter;
use pin_project_lite::pin_project;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::backlog::{Backlog, Row};
use crate::hooks::{self, Surroundings};
use crate::message::Message;
use crate::parcel::{self, Arrival, Entry};
use crate::reply;
use crate::slot::{Incarnation, Slot, SlotOwner};
use crate::system::System;
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

    /// Polls a hook; an error or a panic in it is the actor's end.
    fn poll<T>(
        &self,
        poll: impl FnOnce() -> Poll<Result<T, ActorProcessingErr>>,
    ) -> Poll<Result<T, ActorProcessingErr>> {
        let incarnation = self.incarnation();
        let failed = |why| incarnation.ending(Exit::Failed(why));
        let polled = hooks::within(&self.surroundings, poll, failed);
        match &polled {
            Poll::Pending => incarnation.gate.relieve(),
            Poll::Ready(Err(why)) => incarnation.ending(Exit::Failed(why.to_string())),
            Poll::Ready(Ok(_)) => incarnation.pulse.end(),
        }
        polled
    }

    /// Runs a hook that is not run for each message.
    async fn run<T, F>(&self, make: impl FnOnce() -> F) -> Result<T, ActorProcessingErr>
    where
        F: Future<Output = Result<T, ActorProcessingErr>>,
    {
        self.incarnation().pulse.begin();
        let mut hook = pin!(Hook::Due { make });
        poll_fn(|cx| self.poll(|| hook.as_mut().poll(cx))).await
    }

    /// A message at work.
    fn work(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        arrival: Arrival,
        state: &mut A::State,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let incarnation = self.incarnation();
        let Arrival { entry, mut is_over, .. } = arrival;
        let trace = arrival.trace();
        if entry == Entry::Asked {
            is_over = !incarnation.docket.take();
        }
        incarnation.gate.leave_by(entry);
        incarnation.pulse.begin();
        let hook = Hook::Due { make: || self.actor.handle(myself, message, state) };
        if is_over {
            let kind = std::any::type_name::<A>();
            metrics::counter!("umbel_questions_skipped_total", "actor" => kind).increment(1);
            return Handling { managed: self, hook, is_over, span: None };
        }
        self.handled.increment(1);
        let span = tracing::enabled!(target: "umbel::message", tracing::Level::DEBUG).then(|| {
            Box::new(tracing::debug_span!(
                target: "umbel::message",
                "handle",
                actor = %self.slot.label,
                message = A::Msg::NAME,
            ))
        });
        if let (Some(span), Some(trace)) = (&span, trace)
            && let Some(traces) = &incarnation.traces
        {
            traces.go_on(span, &trace);
        }
        Handling { managed: self, hook, is_over, span }
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
        self.work(myself.clone(), message, arrival, state).await?;
        let mut row = Row::new(backlog);
        for _ in 1..backlog.in_a_row_max() {
            // Who never waits must keep neither its thread nor a kill waiting.
            tokio::task::coop::consume_budget().await;
            let Some(contents) = row.next() else { return Ok(()) };
            let (message, arrival) = parcel::open(contents);
            self.work(myself.clone(), message, arrival, state).await?;
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
        let state = self.run(|| self.actor.pre_start(myself, arguments)).await?;
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
        self.run(|| self.actor.post_start(myself, state)).await
    }

    async fn post_stop(
        &self,
        myself: ActorRef<A::Msg>,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        // ractor keeps the mailbox until this hook has ended: close it first, so that no one waits
        // for an actor that will take nothing more.
        self.incarnation().close();
        let result = self.run(|| self.actor.post_stop(myself, state)).await;
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
        match &self.incarnation().backlog {
            Some(backlog) if arrival.entry != Entry::Raw => {
                let row = self.row(backlog, myself, message, arrival, state);
                Work::InARow { row: Box::pin(row) }
            }
            _ => Work::One { hook: self.work(myself, message, arrival, state) },
        }
    }

    /// Boxed: it is rare, and ractor keeps it in the same place as `handle`, which it moves twice
    /// for each message, however small that one is.
    fn handle_serialized(
        &self,
        myself: ActorRef<A::Msg>,
        message: ractor::message::SerializedMessage,
        state: &mut A::State,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        Box::pin(
            async move { self.run(|| self.actor.handle_serialized(myself, message, state)).await },
        )
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        state: &mut A::State,
    ) -> Result<(), ActorProcessingErr> {
        self.run(|| self.actor.handle_supervisor_evt(myself, event, state)).await
    }
}

pin_project! {
    /// A message at work, or a row of them.
    #[project = Working]
    enum Work<F, R> {
        One { #[pin] hook: F },
        InARow { row: Pin<Box<R>> },
    }
}

impl<F: Future, R: Future<Output = F::Output>> Future for Work<F, R> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Working::One { hook } => hook.poll(cx),
            Working::InARow { row } => row.as_mut().poll(cx),
        }
    }
}

pin_project! {
    /// A message at work. Small, and holding the hook once: ractor moves it several times before it
    /// is polled, and an `async` block would hold what the hook was given twice.
    struct Handling<'a, A: Actor<Msg: Message>, C, F> {
        managed: &'a Managed<A>,
        #[pin]
        hook: Hook<C, F>,
        // Nobody waits any more for what it asks: it is dropped unread.
        is_over: bool,
        span: Option<Box<tracing::Span>>,
    }
}

pin_project! {
    /// A hook, which is called when it is polled first: what it does before it returns its future
    /// is as much a part of it as the future.
    #[project = Step]
    #[project_replace = Taken]
    enum Hook<C, F> {
        Due { make: C },
        Running { #[pin] future: F },
        Gone,
    }
}

impl<C: FnOnce() -> F, F: Future> Future for Hook<C, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Step::Due { .. } = self.as_mut().project()
            && let Taken::Due { make } = self.as_mut().project_replace(Self::Gone)
        {
            let future = make();
            self.as_mut().project_replace(Self::Running { future });
        }
        match self.project() {
            Step::Running { future } => future.poll(cx),
            Step::Due { .. } | Step::Gone => unreachable!("a hook that panicked is not polled"),
        }
    }
}

impl<A, C, F> Future for Handling<'_, A, C, F>
where
    A: Actor<Msg: Message>,
    C: FnOnce() -> F,
    F: Future<Output = Result<(), ActorProcessingErr>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if *this.is_over {
            return this.managed.poll(|| {
                let message = this.hook.as_mut().project_replace(Hook::Gone);
                reply::dropped_as(&Unanswered::Expired, message);
                Poll::Ready(Ok(()))
            });
        }
        match this.span {
            None => this.managed.poll(|| this.hook.poll(cx)),
            Some(span) => span.in_scope(|| this.managed.poll(|| this.hook.poll(cx))),
        }
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
