//! The first and the last child of a module.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::timeout;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, ChildSpec, Message, Shutdown};
use umbel_services::{Failure, ServiceView};

use crate::context::ModuleContext;
use crate::module::Made;

/// How an instance of a module is doing.
#[derive(Debug, Default)]
pub(super) struct Standing {
    is_up: AtomicBool,
    /// Whether its services are to be known while it is up.
    is_published: AtomicBool,
    /// How far its start has come.
    start: Mutex<Start>,
}

/// How far a start has come.
#[derive(Clone, Debug, Default)]
pub(super) enum Start {
    /// Its children are being started.
    #[default]
    Children,
    /// Its `on_startup` runs, or has ended well.
    Hook,
    /// Its `on_startup` has failed.
    Failed(Failure),
}

impl Standing {
    /// Whether its last start succeeded and it has not ended.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    pub(super) fn start(&self) -> Start {
        self.start.lock().clone()
    }

    /// Whether its services are to be known while it is up, from now on.
    pub(super) fn publish(&self, is_published: bool) {
        self.is_published.store(is_published, Ordering::Release);
    }
}

/// It is told nothing.
#[derive(Message)]
pub(super) struct Nothing;

/// The first child of a module: what was made known of its last life is taken back, for its services are started
/// before its `on_startup` has run again.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) context: ModuleContext,
    pub(super) views: Vec<ServiceView>,
    pub(super) standing: Arc<Standing>,
}

impl Door {
    pub(super) fn child(self) -> ChildSpec<()> {
        let (name, system) = (self.context.actor_name("door"), self.context.system().clone());
        system.child(name, move || (self.clone(), ())).with_handle(())
    }
}

impl Actor for Door {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        *self.standing.start.lock() = Start::Children;
        for view in &self.views {
            self.context.services().deregister(view).await;
        }
        Ok(())
    }
}

/// The last child of a module but for its handlers of events: calls its hooks, and has its services known while
/// it is up.
#[derive(Clone)]
pub(super) struct Lifecycle {
    pub(super) module: Made,
    pub(super) context: ModuleContext,
    pub(super) views: Vec<ServiceView>,
    pub(super) standing: Arc<Standing>,
}

/// The module is up until this is dropped.
pub(super) struct Up(Arc<Standing>);

impl Drop for Up {
    fn drop(&mut self) {
        self.0.is_up.store(false, Ordering::Release);
    }
}

#[derive(Debug, Error)]
#[error("on_startup: {0}")]
struct NotStarted(Failure);

impl Lifecycle {
    pub(super) fn child(self) -> ChildSpec<()> {
        let shutdown = self.context.runtime().options.shutdown;
        let name = self.context.actor_name("lifecycle");
        let system = self.context.system().clone();
        let child = system.child(name, move || (self.clone(), ()));
        // Longer than the hook, which is cut off by itself and told.
        let longest = shutdown.saturating_add(Duration::from_secs(1));
        child.shutdown(Shutdown::Timeout(longest)).with_handle(())
    }
}

impl Actor for Lifecycle {
    type Msg = Nothing;
    type State = Up;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<Up, ActorProcessingErr> {
        *self.standing.start.lock() = Start::Hook;
        // How long it may take is bounded for the whole module, where that is started; and here, for
        // a restart.
        let within = self.context.runtime().options.startup;
        let started = timeout(within, self.module.on_startup(&self.context)).await;
        let late = || Err(Failure::new(format!("it did not end within {within:?}")));
        if let Err(why) = started.unwrap_or_else(|_| late()) {
            *self.standing.start.lock() = Start::Failed(why.clone());
            return Err(NotStarted(why).into());
        }
        self.standing.is_up.store(true, Ordering::Release);
        let up = Up(self.standing.clone());
        if self.standing.is_published.load(Ordering::Acquire) {
            for view in &self.views {
                self.context.services().register(view).await?;
            }
        }
        Ok(up)
    }

    async fn post_stop(&self, _: ActorRef<Nothing>, _: &mut Up) -> Result<(), ActorProcessingErr> {
        let within = self.context.runtime().options.shutdown;
        let stopped = timeout(within, self.module.on_shutdown(&self.context)).await;
        let late = || Err(Failure::new(format!("it did not end within {within:?}")));
        if let Err(why) = stopped.unwrap_or_else(|_| late()) {
            let module = self.context.name();
            tracing::error!(target: "umbel::module", module, %why, "on_shutdown failed; stopping all the same");
        }
        Ok(())
    }
}
