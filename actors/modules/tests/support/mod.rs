//! Modules that tell what becomes of them.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod fragile;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use umbel_modules::{Event, Failure, Module, ModuleContext, Registration, RuntimeOptions};
use umbel_services::{Context, Handle, Method, Methods, Service, ServiceHost};

/// What has happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// What goes wrong with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Register,
    RegisterPanics,
    Startup,
    StartupPanics,
    StartupHangs,
    Unhealthy,
    Shutdown,
    ShutdownPanics,
    ShutdownHangs,
    Service,
}

pub(crate) const FAULTS_OF_START: [Fault; 7] = [
    Fault::Register,
    Fault::RegisterPanics,
    Fault::Startup,
    Fault::StartupPanics,
    Fault::StartupHangs,
    Fault::Unhealthy,
    Fault::Service,
];

/// A module with one service of its own name, which says who answers.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) requires: &'static [&'static str],
    pub(crate) log: Log,
    pub(crate) fault: Option<Fault>,
    /// What its service says.
    pub(crate) says: &'static str,
}

impl Part {
    pub(crate) fn new(name: &'static str, requires: &'static [&'static str], log: &Log) -> Self {
        Self { name, requires, log: log.clone(), fault: None, says: "1" }
    }

    pub(crate) fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    pub(crate) fn says(mut self, says: &'static str) -> Self {
        self.says = says;
        self
    }
}

impl Module for Part {
    fn name(&self) -> &str {
        self.name
    }

    fn requires(&self) -> &[&str] {
        self.requires
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        match self.fault {
            Some(Fault::Register) => return Err(Failure::new("it will not")),
            Some(Fault::RegisterPanics) => panic!("in on_register"),
            _ => {}
        }
        self.log.add(format!("register {}", self.name));
        let service = Who {
            says: self.says,
            generation: module.generation(),
            context: module.context().clone(),
            fails: self.fault == Some(Fault::Service),
        };
        module.service(ServiceHost::new(self.name, move || service.clone()));
        module.offer("says", self.says.to_owned());
        let log = self.log.clone();
        module.on_event(move |Placed { order }: Placed, context: ModuleContext| {
            let log = log.clone();
            async move {
                assert_ne!(order, u64::MAX, "an event that nobody can handle");
                log.add(format!("{}#{} has {order}", context.name(), context.generation()));
                Ok(())
            }
        });
        Ok(())
    }

    async fn on_startup(&self, _: &ModuleContext) -> Result<(), Failure> {
        match self.fault {
            Some(Fault::Startup) => return Err(Failure::new("it cannot")),
            Some(Fault::StartupPanics) => panic!("in on_startup"),
            Some(Fault::StartupHangs) => std::future::pending().await,
            _ => {}
        }
        self.log.add(format!("start {}", self.name));
        Ok(())
    }

    async fn on_shutdown(&self, _: &ModuleContext) -> Result<(), Failure> {
        self.log.add(format!("stop {}", self.name));
        match self.fault {
            Some(Fault::Shutdown) => Err(Failure::new("it would not")),
            Some(Fault::ShutdownPanics) => panic!("in on_shutdown"),
            Some(Fault::ShutdownHangs) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn health(&self, _: &ModuleContext) -> Result<(), Failure> {
        match self.fault {
            Some(Fault::Unhealthy) => Err(Failure::new("it feels ill")),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) order: u64,
}

impl Event for Placed {
    const TOPIC: &'static str = "orders.placed";
}

/// Who answers: what it says, and which instance of its module it is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ask;

impl Method for Ask {
    const NAME: &'static str = "ask";
    type Answer = (String, u64);
}

/// As `Ask`, passed on to another service.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AskOther(pub(crate) String);

impl Method for AskOther {
    const NAME: &'static str = "ask_other";
    type Answer = (String, u64);
}

/// Never answered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Hang;

impl Method for Hang {
    const NAME: &'static str = "hang";
    type Answer = ();
}

#[derive(Clone)]
pub(crate) struct Who {
    says: &'static str,
    generation: u64,
    context: ModuleContext,
    fails: bool,
}

impl Who {
    pub(crate) fn new(context: &ModuleContext) -> Self {
        let (generation, context) = (context.generation(), context.clone());
        Self { says: "1", generation, context, fails: false }
    }
}

impl Service for Who {
    fn methods(methods: Methods<Self>) -> Methods<Self> {
        methods.on::<Ask>().on::<AskOther>().on::<Hang>()
    }

    async fn on_start(&self) -> Result<(), Failure> {
        if self.fails { Err(Failure::new("no service today")) } else { Ok(()) }
    }
}

impl Handle<Ask> for Who {
    async fn handle(&self, _: Ask, _: &Context) -> Result<(String, u64), Failure> {
        // A call that is under way while its instance is replaced.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok((self.says.to_owned(), self.generation))
    }
}

impl Handle<AskOther> for Who {
    async fn handle(
        &self,
        AskOther(other): AskOther,
        _: &Context,
    ) -> Result<(String, u64), Failure> {
        Ok(self.context.services().call(&other, Ask).await?)
    }
}

/// Options with short waits, for what is to fail.
pub(crate) fn impatient() -> RuntimeOptions {
    RuntimeOptions {
        startup: Duration::from_millis(300),
        shutdown: Duration::from_millis(300),
        healthy: Duration::from_millis(300),
        ..RuntimeOptions::default()
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "it took too long: {what}");
}

impl Handle<Hang> for Who {
    async fn handle(&self, _: Hang, _: &Context) -> Result<(), Failure> {
        std::future::pending().await
    }
}
