//! What a module finds around it.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use umbel_actors::System;
use umbel_services::ServiceManager;

use crate::events::Events;
use crate::offers::OfferError;
use crate::runtime::Shared;

/// What a module finds around it: services to call, events, what others offer, its configuration.
/// Cheap to clone.
#[derive(Clone)]
pub struct ModuleContext {
    runtime: Arc<Shared>,
    module: Arc<str>,
    requires: Arc<[String]>,
    #[cfg_attr(not(feature = "database"), expect(dead_code, reason = "there is none to be had"))]
    needs_database: bool,
    generation: u64,
}

/// A module's configuration is not what it expects.
///
/// Its text has the path to the key, and what was expected there, but not the values: not those that serde would
/// repeat. What is a secret should be a [`Secret`](crate::Secret) all the same: errors that a type makes by
/// itself are taken as they are, and `Debug` of a section's type shows what it has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("configuration of module '{module}': {why}")]
pub struct SectionError {
    /// The module.
    pub module: String,
    /// What is wrong.
    pub why: String,
}

impl SectionError {
    fn new(module: &str, why: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let said = umbel_secret::without_value(&why.inner().to_string());
        let path = why.path().to_string();
        // A dot is the whole section.
        let why = if path == "." { said } else { format!("{path}: {said}") };
        Self { module: module.to_owned(), why }
    }
}

/// A module asks for a database, and does not say that it needs one: in another process it might have none.
#[cfg(feature = "database")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "module '{module}' has no database, for it does not say that it needs one: see `Module::needs`"
)]
pub struct NoDatabase {
    /// The module.
    pub module: String,
}

impl ModuleContext {
    pub(crate) fn new(
        runtime: Arc<Shared>,
        module: &str,
        requires: Vec<String>,
        needs_database: bool,
        generation: u64,
    ) -> Self {
        let (module, requires) = (module.into(), requires.into());
        Self { runtime, module, requires, needs_database, generation }
    }

    /// The module's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.module
    }

    /// The modules that it requires.
    #[must_use]
    pub fn requires(&self) -> &[String] {
        &self.requires
    }

    /// Which instance of the module this is, from 1: reload and upgrade make the next.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The system that the runtime is on.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.runtime.system
    }

    /// Calls services, those of this and of other modules, on this and on other nodes.
    #[must_use]
    pub fn services(&self) -> &ServiceManager {
        &self.runtime.services
    }

    /// Publishes events and subscribes to them.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.runtime.bus.clone())
    }

    /// What the configuration has under `modules.<name>`: an empty table where it has nothing.
    ///
    /// # Errors
    /// [`SectionError`]: what is wrong with it.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, SectionError> {
        let section = self.runtime.config.modules.get(&*self.module);
        let section = section.cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        serde_path_to_error::deserialize(section)
            .map_err(|why| SectionError::new(&self.module, &why))
    }

    /// What a module that is required offers: that of its instance at this moment. Whoever keeps it
    /// keeps the old one when the module is reloaded.
    ///
    /// # Errors
    /// [`OfferError`]
    pub fn offer_of<T: Send + Sync + 'static>(
        &self,
        module: &str,
        key: &str,
    ) -> Result<Arc<T>, OfferError> {
        if !self.requires.iter().any(|required| required == module) {
            let (by, module) = (self.module.to_string(), module.to_owned());
            return Err(OfferError::NotRequired { by, module });
        }
        let Some(loaded) = self.runtime.find(module) else {
            return Err(OfferError::NotHere { module: module.to_owned() });
        };
        loaded.current().offers.get(module, key)
    }

    /// The runtime's database.
    ///
    /// # Errors
    /// [`NoDatabase`]: the module does not say that it [needs](crate::Needs) one.
    #[cfg(feature = "database")]
    pub fn database(&self) -> Result<&umbel_database::Database, NoDatabase> {
        let database = self.runtime.database.as_ref().filter(|_| self.needs_database);
        database.ok_or_else(|| NoDatabase { module: self.module.to_string() })
    }

    /// The name of an actor or a supervisor of this module, as it is known in the system: each
    /// instance has its own.
    #[must_use]
    pub fn actor_name(&self, name: &str) -> String {
        format!("module/{}#{}/{name}", self.module, self.generation)
    }

    pub(crate) fn runtime(&self) -> &Arc<Shared> {
        &self.runtime
    }
}

impl fmt::Debug for ModuleContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleContext")
            .field("module", &self.module)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
