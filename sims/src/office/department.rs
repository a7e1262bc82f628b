//! A module with one service.

use umbel_modules::{Failure, Module, ModuleContext, Registration};
use umbel_services::ServiceHost;

use super::clerk::Clerk;
use super::{LEDGER, ORDERS, Office};
use crate::mutant::Mutant;

/// A module with one service of its own name.
pub(super) struct Department {
    pub(super) name: &'static str,
    pub(super) office: Office,
    /// What is wrong with it.
    pub(super) flaw: Option<Flaw>,
}

/// What is wrong with a version of a module, so that it must not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Refuses,
    DoesNotStart,
    NeverStarts,
    IsIll,
    ServiceDoesNotStart,
}

impl Flaw {
    pub(super) const ALL: [Self; 5] = [
        Self::Refuses,
        Self::DoesNotStart,
        Self::NeverStarts,
        Self::IsIll,
        Self::ServiceDoesNotStart,
    ];
}

impl Module for Department {
    fn name(&self) -> &str {
        self.name
    }

    fn requires(&self) -> &[&str] {
        if self.name == ORDERS { &[LEDGER] } else { &[] }
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        if self.flaw == Some(Flaw::Refuses) {
            return Err(Failure::new("it will not"));
        }
        let (office, name, generation) = (self.office.clone(), self.name, module.generation());
        let is_broken = self.flaw.is_some();
        let fails = self.flaw == Some(Flaw::ServiceDoesNotStart);
        let asks = (name == ORDERS).then(|| (LEDGER, module.services().clone()));
        let options = office.host_options(name);
        let make = move || {
            let fails = fails.then(|| Failure::new("no service today"));
            Clerk::new(&office, name, generation, is_broken).fails(fails).asks(asks.clone())
        };
        module.service(ServiceHost::new(name, make).options(options));
        Ok(())
    }

    async fn on_startup(&self, _: &ModuleContext) -> Result<(), Failure> {
        match self.flaw {
            Some(Flaw::DoesNotStart) => Err(Failure::new("it cannot")),
            Some(Flaw::NeverStarts) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn health(&self, _: &ModuleContext) -> Result<(), Failure> {
        match self.flaw {
            Some(Flaw::IsIll) if !self.office.has(Mutant::Rash) => {
                Err(Failure::new("it feels ill"))
            }
            _ => Ok(()),
        }
    }
}
