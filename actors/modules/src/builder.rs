//! What a runtime is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use umbel_actors::System;
use umbel_services::Directory;

#[cfg(feature = "http")]
use crate::config::HttpConfig;
use crate::config::RuntimeConfig;
use crate::error::{BuildError, StartRuntimeError};
use crate::events::EventBus;
use crate::module::{Factory, Made, Module};
use crate::options::RuntimeOptions;
use crate::order::{OrderError, order};
#[cfg(feature = "database")]
use crate::runtime::DatabaseParts;
#[cfg(feature = "http")]
use crate::runtime::HttpParts;
use crate::runtime::{Parts, Runtime};

/// What a runtime is made of: modules, configuration, and what it runs on.
#[must_use = "a builder does nothing until `start`"]
pub struct RuntimeBuilder {
    name: String,
    system: Option<System>,
    directory: Option<Arc<dyn Directory>>,
    bus: Option<Arc<dyn EventBus>>,
    config: RuntimeConfig,
    options: RuntimeOptions,
    factories: Vec<Factory>,
    elsewhere: BTreeSet<String>,
    #[cfg(feature = "database")]
    database: Option<umbel_database::Database>,
    #[cfg(feature = "http")]
    http: HttpParts,
}

/// Modules that fit together, and that can be started.
#[must_use = "a plan does nothing until `start`"]
pub struct Plan {
    parts: Parts,
    /// In the order in which they are started.
    modules: Vec<(String, Made)>,
}

impl RuntimeBuilder {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            system: None,
            directory: None,
            bus: None,
            config: RuntimeConfig::default(),
            options: RuntimeOptions::default(),
            factories: Vec::new(),
            elsewhere: BTreeSet::new(),
            #[cfg(feature = "database")]
            database: None,
            #[cfg(feature = "http")]
            http: HttpParts::default(),
        }
    }

    /// Registers a module. `make` is called for each time that it is loaded or reloaded; the first time when
    /// the runtime is [built](RuntimeBuilder::build).
    pub fn module<M: Module>(mut self, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        self.factories.push(Factory::new(make));
        self
    }

    /// A module that runs in another process, so that those here may require it. One that is registered
    /// and named here is not started.
    pub fn elsewhere(mut self, module: impl Into<String>) -> Self {
        self.elsewhere.insert(module.into());
        self
    }

    /// The system to run on. Default: one of its own, with the runtime's name.
    pub fn system(mut self, system: &System) -> Self {
        self.system = Some(system.clone());
        self
    }

    /// Where services are found and made known. Default: a [`LocalDirectory`](umbel_services::LocalDirectory).
    pub fn directory(mut self, directory: impl Directory) -> Self {
        self.directory = Some(Arc::new(directory));
        self
    }

    /// Where events are published and heard. Default: [`LocalEvents`](crate::LocalEvents).
    pub fn events(mut self, bus: impl EventBus) -> Self {
        self.bus = Some(Arc::new(bus));
        self
    }

    /// What a file and the environment say.
    pub fn config(mut self, config: RuntimeConfig) -> Self {
        self.config = config;
        self
    }

    /// How modules are treated, where the defaults do not do.
    pub fn options(mut self, options: RuntimeOptions) -> Self {
        self.options = options;
        self
    }

    /// The modules' database. Default: what the configuration says, and the SQLite file `<runtime>.db` in
    /// the working directory where it says nothing and a module needs one.
    #[cfg(feature = "database")]
    pub fn database(mut self, database: umbel_database::Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Serves the modules' routes, and an admin API where that is said. Default: what the configuration
    /// says.
    #[cfg(feature = "http")]
    pub fn http(mut self, config: HttpConfig) -> Self {
        self.http.config = Some(config);
        self
    }

    /// The bounds of the HTTP servers, where the defaults do not do.
    #[cfg(feature = "http")]
    pub fn http_options(mut self, options: umbel_http::HttpOptions) -> Self {
        self.http.options = options;
        self
    }

    /// What `/metrics` tells. Without it there is nothing.
    #[cfg(feature = "http")]
    pub fn metrics(mut self, metrics: umbel_http::Metrics) -> Self {
        self.http.metrics = Some(metrics);
        self
    }

    /// What the routes of each module go through before they are mounted: tower layers, say.
    #[cfg(feature = "http")]
    pub fn routes_through(
        mut self,
        layering: impl Fn(axum::Router) -> axum::Router + Send + Sync + 'static,
    ) -> Self {
        self.http.layering = Some(Arc::new(layering));
        self
    }

    /// Works out the order of the modules.
    ///
    /// # Errors
    /// [`BuildError`]: they do not fit together. Nothing is started.
    pub fn build(self) -> Result<Plan, BuildError> {
        let mut made = Vec::new();
        for factory in &self.factories {
            let module = factory.make().map_err(BuildError::Make)?;
            made.push((module.name().to_owned(), module, factory.clone()));
        }
        let mut elsewhere = self.elsewhere;
        elsewhere.extend(self.config.elsewhere.iter().cloned());
        if let Some(run) = &self.config.run {
            let is_registered = |name: &String| made.iter().any(|(module, ..)| module == name);
            if let Some(unknown) = run.iter().find(|name| !is_registered(name)) {
                return Err(BuildError::Unknown { module: unknown.clone() });
            }
            let others = made.iter().filter(|(name, ..)| !run.contains(name));
            elsewhere.extend(others.map(|(name, ..)| name.clone()));
        }
        let mut factories = BTreeMap::new();
        for (name, _, factory) in &made {
            if factories.insert(name.clone(), factory.clone()).is_some() {
                return Err(OrderError::Duplicate { module: name.clone() }.into());
            }
        }
        made.retain(|(name, ..)| !elsewhere.contains(name));
        let requires: Vec<_> =
            made.iter().map(|(name, module, _)| (name.clone(), module.requires())).collect();
        let order = order(&requires, &elsewhere)?;
        let may_have = |name: &&String| factories.contains_key(*name) || elsewhere.contains(*name);
        if let Some(unknown) = self.config.modules.keys().find(|name| !may_have(name)) {
            let known: BTreeSet<_> = factories.keys().chain(&elsewhere).cloned().collect();
            let known = known.into_iter().collect();
            return Err(BuildError::Section { module: unknown.clone(), known });
        }
        let mut modules: BTreeMap<_, _> =
            made.into_iter().map(|(name, module, _)| (name, module)).collect();
        let needs = modules.iter().find(|(_, module)| module.needs_database());
        let needs = needs.map(|(name, _)| name.clone());
        #[cfg(not(feature = "database"))]
        if let Some(module) = needs {
            return Err(BuildError::NoDatabase { module });
        }
        let in_order = |name: String| {
            let module = modules.remove(&name).expect("the order is of these");
            (name, module)
        };
        let modules = order.into_iter().map(in_order).collect();
        let parts = Parts {
            #[cfg(feature = "database")]
            database: DatabaseParts {
                url: match &self.config.database {
                    Some(config) => Some(config.url.clone()),
                    None => needs
                        .map(|_| umbel_database::DatabaseUrl::file(format!("{}.db", self.name))),
                },
                open: self.database,
            },
            #[cfg(feature = "http")]
            http: HttpParts {
                config: self.http.config.or_else(|| self.config.http.clone()),
                ..self.http
            },
            name: self.name,
            system: self.system,
            directory: self.directory,
            bus: self.bus,
            config: self.config,
            options: self.options,
            factories,
            elsewhere,
        };
        Ok(Plan { parts, modules })
    }

    /// Works out the order of the modules and starts them, one after the other.
    ///
    /// # Errors
    /// [`StartRuntimeError`]: nothing is left running.
    pub async fn start(self) -> Result<Runtime, StartRuntimeError> {
        self.build()?.start().await
    }
}

impl Plan {
    /// The modules in the order in which they are started.
    pub fn order(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|(name, _)| name.as_str())
    }

    /// Starts the modules, one after the other.
    ///
    /// # Errors
    /// [`StartRuntimeError`]: those that were up were stopped again, the last first.
    pub async fn start(self) -> Result<Runtime, StartRuntimeError> {
        Runtime::start(self.parts, self.modules.into_iter().map(|(_, module)| module).collect())
            .await
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("name", &self.name)
            .field("modules", &self.factories.len())
            .field("elsewhere", &self.elsewhere)
            .field("config", &self.config)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.order()).finish()
    }
}
