//! What a manager is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use umbel_actors::System;

use super::handles::Handles;
use super::options::ServiceOptions;
use super::{HANDLES_IDLE, HANDLES_MAX, Inner, ServiceManager};
use crate::config::ServicesConfig;
use crate::directory::{Directory, LocalDirectory};
use crate::host::HostOptions;

/// What a [`ServiceManager`] is made of, where the defaults do not do.
#[must_use = "a builder does nothing until `build`"]
pub struct ServiceManagerBuilder {
    system: System,
    directory: Arc<dyn Directory>,
    default: ServiceOptions,
    options: BTreeMap<String, ServiceOptions>,
    hosts: BTreeMap<String, HostOptions>,
    config: ServicesConfig,
    handles_max: usize,
    handles_idle: Duration,
}

impl ServiceManagerBuilder {
    pub(super) fn new(system: &System) -> Self {
        Self {
            system: system.clone(),
            directory: Arc::new(LocalDirectory::new()),
            default: ServiceOptions::default(),
            options: BTreeMap::new(),
            hosts: BTreeMap::new(),
            config: ServicesConfig::default(),
            handles_max: HANDLES_MAX,
            handles_idle: HANDLES_IDLE,
        }
    }

    /// What a file and the environment say: it goes before all that the program says of the same,
    /// wherever that is said.
    pub fn config(mut self, config: ServicesConfig) -> Self {
        self.config = config;
        self
    }

    /// Where services are found and made known. Default: a [`LocalDirectory`] of its own.
    pub fn directory(mut self, directory: impl Directory) -> Self {
        self.directory = Arc::new(directory);
        self
    }

    /// How services are called of which nothing else is said. They share its middleware.
    pub fn default_options(mut self, options: ServiceOptions) -> Self {
        self.default = options;
        self
    }

    /// How a service is called.
    pub fn service(mut self, name: impl Into<String>, options: ServiceOptions) -> Self {
        self.options.insert(name.into(), options);
        self
    }

    /// How a service is run that is started here, whatever its host says.
    pub fn host(mut self, name: impl Into<String>, options: HostOptions) -> Self {
        self.hosts.insert(name.into(), options);
        self
    }

    /// How many services' handles are kept at most, and how long those of one that is not called.
    /// Default: [`HANDLES_MAX`], [`HANDLES_IDLE`].
    pub fn handles(mut self, max: usize, idle: Duration) -> Self {
        (self.handles_max, self.handles_idle) = (max, idle);
        self
    }

    /// Builds it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn build(self) -> ServiceManager {
        let configured = &self.config.handles;
        let handles_max = configured.max.map_or(self.handles_max, |max| max.0);
        let idle = configured.idle.map_or(self.handles_idle, |idle| idle.0);
        let idle = idle.max(Duration::from_millis(1));
        let handles = Handles::new(&self.system, self.directory, handles_max, idle);
        ServiceManager {
            inner: Arc::new(Inner {
                system: self.system,
                handles,
                default: self.default,
                options: self.options,
                hosts: self.hosts,
                config: self.config,
                called: Mutex::default(),
                max: handles_max,
                runtime: tokio::runtime::Handle::current(),
            }),
        }
    }
}

impl fmt::Debug for ServiceManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceManagerBuilder")
            .field("system", &self.system)
            .field("default", &self.default)
            .field("options", &self.options)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}
