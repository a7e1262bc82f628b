//! The actor that a service is.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Address, Myself};

use super::life::{Life, panic_text};
use super::shared::Shared;
use crate::message::ServiceMessage;
use crate::service::{Methods, Service};

/// The actor that a service is. It takes requests in; its workers execute them, as tasks that end
/// with it.
pub(super) struct ServiceActor<S> {
    pub(super) make: Arc<dyn Fn() -> S + Send + Sync>,
    pub(super) methods: Arc<Methods<S>>,
    pub(super) shared: Arc<Shared>,
}

/// What becomes of a life: its tasks end with this.
pub(super) struct State<S> {
    life: Arc<Life<S>>,
    workers: JoinSet<()>,
    _health: JoinSet<()>,
    _well: Well,
}

/// Its service is well, as far as is known, until this is dropped.
struct Well(Arc<Shared>);

impl Drop for Well {
    fn drop(&mut self) {
        self.0.set_well(false);
    }
}

/// Why a service does not start, or ends though it could go on.
#[derive(Debug, Error)]
enum Unwell {
    #[error("the service has two methods {0:?}: give each a name of its own")]
    Methods(&'static str),
    #[error("the service did not start: {0}")]
    Start(String),
    #[error("the service is not well: {0}")]
    Health(String),
}

impl<S: Service> Actor for ServiceActor<S> {
    type Msg = ServiceMessage;
    type State = State<S>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ServiceMessage>,
        (): (),
    ) -> Result<State<S>, ActorProcessingErr> {
        if let Some(name) = self.methods.twice() {
            return Err(Unwell::Methods(name).into());
        }
        // Its tasks end with its actor, but a moment later.
        if let Some(last) = self.shared.take_last() {
            last.gone().await;
        }
        let service = (self.make)();
        service.on_start().await.map_err(|why| Unwell::Start(why.to_string()))?;
        let life = Arc::new(Life::new(service, self.methods.clone(), self.shared.clone()));
        let mut workers = JoinSet::new();
        for _ in 0..self.shared.options.workers {
            workers.spawn(life.clone().work());
        }
        // Before any work comes: one that cannot do it is not taken for one that can. It has started all the
        // same, and what it lacks may come: only the checks that follow count against it.
        let first = check(&life).await;
        if let Err(why) = &first {
            let service = &self.shared.name;
            tracing::warn!(target: "umbel::service", %service, %why, "started, and not well yet");
        }
        let mut health = JoinSet::new();
        health.spawn(look_after(life.clone(), myself.address()));
        self.shared.tally().starts += 1;
        self.shared.set_well(first.is_ok());
        Ok(State { life, workers, _health: health, _well: Well(self.shared.clone()) })
    }

    async fn handle(
        &self,
        _: ActorRef<ServiceMessage>,
        message: ServiceMessage,
        state: &mut State<S>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ServiceMessage::Call(request) => state.life.take_in(*request),
            ServiceMessage::Figures(reply) => reply.send(self.shared.figures()),
            ServiceMessage::Look => {
                if let Some(why) = state.life.ill.get() {
                    return Err(Unwell::Health(why.clone()).into());
                }
            }
        }
        Ok(())
    }

    /// What was taken in is executed; who stops it bounds for how long.
    async fn post_stop(
        &self,
        _: ActorRef<ServiceMessage>,
        state: &mut State<S>,
    ) -> Result<(), ActorProcessingErr> {
        self.shared.set_well(false);
        state.life.close();
        while state.workers.join_next().await.is_some() {}
        state.life.service.on_stop().await;
        Ok(())
    }
}

/// Asks the service whether it is well.
///
/// # Errors
/// Why it is not.
async fn check<S: Service>(life: &Life<S>) -> Result<(), String> {
    let within = life.shared.options.health_timeout;
    // Made within what is caught: a panic may come before there is a future.
    let asked = AssertUnwindSafe(async { life.service.health().await }).catch_unwind();
    match timeout(within, asked).await {
        Ok(Ok(said)) => said.map_err(|failure| failure.to_string()),
        Ok(Err(panic)) => Err(format!("its health check panicked: {}", panic_text(&*panic))),
        Err(_) => Err(format!("its health check did not end within {within:?}")),
    }
}

/// Asks the service again and again whether it is well.
async fn look_after<S: Service>(life: Arc<Life<S>>, address: Address<ServiceMessage>) {
    let options = &life.shared.options;
    let mut failures = 0;
    loop {
        sleep(options.health_interval).await;
        let checked = check(&life).await;
        life.shared.set_well(checked.is_ok());
        let Err(why) = checked else {
            failures = 0;
            continue;
        };
        failures += 1;
        let service = &life.shared.name;
        tracing::warn!(target: "umbel::service", %service, %why, failures, "not well");
        if failures >= options.health_failures {
            let _ = life.ill.set(why);
            // Gone already, else.
            let _ = address.tell(ServiceMessage::Look).await;
            return;
        }
    }
}
