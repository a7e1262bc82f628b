//! The children of a module that handle events.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use umbel_actors::{
    Actor, ActorProcessingErr, ActorRef, Address, AskError, ChildSpec, Message, Myself, Reply,
    Shutdown,
};

use crate::context::ModuleContext;
use crate::events::{EventSource, Occurrence};
use crate::module::panicked;
use crate::registration::Handler;

/// A subscription that the instances of a module hand on to each other.
pub(super) type Source = Arc<Mutex<Subscribed>>;

/// A subscription, and how many events that were lost were told of.
pub(super) struct Subscribed {
    pub(super) events: Box<dyn EventSource>,
    pub(super) told: u64,
}

/// Handles the events of one topic, one after the other, while its instance is the one that serves.
#[derive(Clone)]
pub(super) struct Pump {
    pub(super) topic: &'static str,
    pub(super) handler: Handler,
    pub(super) source: Source,
    pub(super) serves: watch::Receiver<bool>,
    /// How many pumps of the instance may have an event in hand.
    pub(super) busy: watch::Sender<usize>,
    pub(super) context: ModuleContext,
}

#[derive(Message)]
pub(super) struct Take(Occurrence, Reply<()>);

impl Pump {
    pub(super) fn child(self, number: usize) -> ChildSpec<()> {
        let name = self.context.actor_name(&format!("on/{}/{number}", self.topic));
        let (system, longest) =
            (self.context.system().clone(), self.context.runtime().options.event);
        let child = system.child(name, move || (self.clone(), ()));
        child.shutdown(Shutdown::Timeout(longest)).with_handle(())
    }

    /// Brings events to the actor, from when its instance serves until it does so no more. The lock is
    /// kept meanwhile, so that no event is taken by two instances.
    async fn bring(self, to: Address<Take>) {
        let Self { topic, source, mut serves, busy, context, .. } = self;
        let longest = context.runtime().options.event.saturating_add(Duration::from_secs(5));
        loop {
            if serves.wait_for(|serves| *serves).await.is_err() {
                return;
            }
            let mut source = source.lock().await;
            let _busy = Busy::new(&busy);
            loop {
                let event = tokio::select! {
                    biased;
                    _ = serves.wait_for(|serves| !*serves) => break,
                    event = source.events.next() => event,
                };
                let Some(event) = event else { return };
                match to.ask_within(longest, |reply| Take(event, reply)).await {
                    // It blocks beyond all bounds; the next waits behind it.
                    Ok(()) | Err(AskError::TimedOut(_)) => {}
                    // The actor has ended, and this task ends with it.
                    Err(_) => return,
                }
                let lost = source.events.lost();
                if lost > source.told {
                    let (module, more) = (context.name().to_owned(), lost - source.told);
                    source.told = lost;
                    tracing::warn!(target: "umbel::module", module, topic, more, "events were lost: its handler is too slow");
                    let labels = [("module", module), ("topic", topic.to_owned())];
                    metrics::counter!("umbel_module_events_lost_total", &labels).increment(more);
                }
            }
        }
    }
}

/// May have an event in hand until this is dropped.
struct Busy<'a>(&'a watch::Sender<usize>);

impl<'a> Busy<'a> {
    fn new(busy: &'a watch::Sender<usize>) -> Self {
        busy.send_modify(|busy| *busy += 1);
        Self(busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

impl Actor for Pump {
    type Msg = Take;
    /// What brings events, which ends with the actor.
    type State = JoinSet<()>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Take>,
        (): (),
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut bringing = JoinSet::new();
        bringing.spawn(self.clone().bring(myself.address()));
        Ok(bringing)
    }

    async fn handle(
        &self,
        _: ActorRef<Take>,
        Take(event, reply): Take,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        let within = self.context.runtime().options.event;
        // A panic is this event's failure: an actor that ended for it would be restarted only so often.
        let handled = AssertUnwindSafe(async { (self.handler)(event).await }).catch_unwind();
        let why = match timeout(within, handled).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(why))) => Some(why.to_string()),
            Ok(Err(panic)) => Some(panicked(&*panic).to_string()),
            Err(_) => Some(format!("it did not end within {within:?}")),
        };
        if let Some(why) = why {
            let (module, topic) = (self.context.name(), self.topic);
            tracing::warn!(target: "umbel::module", module, topic, %why, "an event was not handled");
        }
        reply.send(());
        Ok(())
    }
}
