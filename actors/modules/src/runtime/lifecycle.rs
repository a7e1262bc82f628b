//! The child of a module that calls its hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::timeout;
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, ChildSpec, Message, Shutdown};
use umbel_services::Failure;

use crate::context::ModuleContext;
use crate::module::Made;

/// The child of a module that calls its hooks: started after all that the module consists of, and
/// stopped before it.
#[derive(Clone)]
pub(super) struct Lifecycle {
    pub(super) module: Made,
    pub(super) context: ModuleContext,
    pub(super) standing: Arc<Standing>,
}

/// How an instance of a module is doing.
#[derive(Debug, Default)]
pub(super) struct Standing {
    is_up: AtomicBool,
    /// Why it did not start.
    failed: Mutex<Option<Failure>>,
}

impl Standing {
    /// Whether its last start succeeded and it has not ended.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// Why it did not start, if its own hook said so.
    pub(super) fn failed(&self) -> Option<Failure> {
        self.failed.lock().clone()
    }
}

#[derive(Message)]
pub(super) struct Nothing;

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
        child.shutdown(Shutdown::Timeout(shutdown + Duration::from_secs(1))).with_handle(())
    }
}

impl Actor for Lifecycle {
    type Msg = Nothing;
    type State = Up;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<Up, ActorProcessingErr> {
        let within = self.context.runtime().options.startup;
        let started = timeout(within, self.module.on_startup(&self.context)).await;
        let started = started
            .unwrap_or_else(|_| Err(Failure::new(format!("it did not end within {within:?}"))));
        if let Err(why) = started {
            *self.standing.failed.lock() = Some(why.clone());
            return Err(NotStarted(why).into());
        }
        self.standing.is_up.store(true, Ordering::Release);
        Ok(Up(self.standing.clone()))
    }

    async fn post_stop(&self, _: ActorRef<Nothing>, _: &mut Up) -> Result<(), ActorProcessingErr> {
        let within = self.context.runtime().options.shutdown;
        let stopped = timeout(within, self.module.on_shutdown(&self.context)).await;
        let stopped = stopped
            .unwrap_or_else(|_| Err(Failure::new(format!("it did not end within {within:?}"))));
        if let Err(why) = stopped {
            let module = self.context.name();
            tracing::error!(target: "umbel::module", module, %why, "on_shutdown failed; stopping all the same");
        }
        Ok(())
    }
}
