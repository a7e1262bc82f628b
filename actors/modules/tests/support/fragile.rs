//! Modules that fail when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use umbel_actors::{Actor, ActorProcessingErr, ActorRef, Message, Myself, System};
use umbel_modules::{Failure, Module, ModuleContext, Registration};
use umbel_services::ServiceHost;

use super::{Log, until};

#[derive(Message)]
pub(crate) struct Fall;

/// Fails when it is told to, or as soon as it can.
pub(crate) struct Faller {
    pub(crate) at_once: bool,
}

impl Actor for Faller {
    type Msg = Fall;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Fall>, (): ()) -> Result<(), ActorProcessingErr> {
        if self.at_once {
            let address = myself.address();
            tokio::spawn(async move { address.tell(Fall).await });
        }
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Fall>,
        Fall: Fall,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Err("it fell".into())
    }
}

/// A module with a service and an actor that fails when told to; it bears one such failure.
#[derive(Clone)]
pub(crate) struct Fragile {
    pub(crate) name: &'static str,
    pub(crate) requires: &'static [&'static str],
    pub(crate) log: Log,
    pub(crate) falls: bool,
    pub(crate) is_ill: bool,
    /// Held while it is being started.
    pub(crate) starts: Arc<tokio::sync::Mutex<()>>,
    pub(crate) cannot_start: Arc<AtomicBool>,
}

impl Fragile {
    pub(crate) fn new(name: &'static str, requires: &'static [&'static str], log: &Log) -> Self {
        let (log, starts, cannot_start) = (log.clone(), Arc::default(), Arc::default());
        Self { name, requires, log, falls: false, is_ill: false, starts, cannot_start }
    }
}

impl Module for Fragile {
    fn name(&self) -> &str {
        self.name
    }

    fn requires(&self) -> &[&str] {
        self.requires
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        module.intensity(1, Duration::from_secs(60));
        let at_once = self.falls;
        module.actor("faller", move || (Faller { at_once }, ()));
        let who = super::Who::new(module.context());
        module.service(ServiceHost::new(self.name, move || who.clone()));
        Ok(())
    }

    async fn on_startup(&self, context: &ModuleContext) -> Result<(), Failure> {
        let _starts = self.starts.lock().await;
        self.log.add(format!("start {}#{}", self.name, context.generation()));
        match self.cannot_start.load(Ordering::SeqCst) {
            true => Err(Failure::new("the database is away")),
            false => Ok(()),
        }
    }

    async fn on_shutdown(&self, context: &ModuleContext) -> Result<(), Failure> {
        self.log.add(format!("stop {}#{}", self.name, context.generation()));
        Ok(())
    }

    async fn health(&self, _: &ModuleContext) -> Result<(), Failure> {
        if self.is_ill { Err(Failure::new("it feels ill")) } else { Ok(()) }
    }
}

/// Has an instance's actor fail, as soon as it is there, and waits until it has.
pub(crate) async fn fell(system: &System, instance: &str) {
    let name = format!("module/{instance}/faller");
    until("its actor is there", || system.whereis::<Fall>(&name).is_some()).await;
    let faller = system.whereis::<Fall>(&name).unwrap();
    let life = faller.watch();
    let _ = faller.tell(Fall).await;
    life.await;
}

/// Has an instance fail beyond what it bears.
pub(crate) async fn broke(system: &System, instance: &str) {
    for _ in 0..2 {
        fell(system, instance).await;
    }
}
