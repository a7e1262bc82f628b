//! Calling services by name, and starting them where they can be found.

mod blocking;
mod caller;
mod handles;
mod hosted;
mod options;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, timeout};
use umbel_actors::supervision::StartError;
use umbel_actors::{AskError, System};

pub use self::blocking::{BlockingHandle, BlockingServices};
pub(crate) use self::caller::Manner;
use self::caller::{Caller, within_deadline};
use self::handles::Handles;
pub use self::hosted::Hosted;
pub use self::options::{CallOptions, ServiceOptions};
use crate::call::{Call, Context, RequestId};
use crate::chain::Link;
use crate::config::ServicesConfig;
use crate::directory::{Directory, DirectoryError, Instance, LocalDirectory};
use crate::error::CallError;
use crate::figures::Figures;
use crate::host::{HostOptions, ServiceChild, ServiceHost, ServiceView};
use crate::message::ServiceMessage;
use crate::method::Method;
use crate::payload::Payload;
use crate::policy::Placement;
use crate::service::{Outcome, Service};

/// How many services' handles are kept at most unless it is said otherwise.
pub const HANDLES_MAX: usize = 1024;

/// How long a service's handles are kept that is not called, unless it is said otherwise.
pub const HANDLES_IDLE: Duration = Duration::from_secs(300);

/// Calls services by name, wherever they run, and starts services where they can be found.
///
/// Cheap to clone. What it finds it keeps: the instances of at most [`HANDLES_MAX`] services, each
/// until the service has not been called for [`HANDLES_IDLE`]; an instance goes at once when it, or
/// its node, has gone.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use umbel_services::{Context, Failure, Handle, Method, Methods, Service};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Price { item: String }
/// # impl Method for Price { const NAME: &'static str = "price"; type Answer = u64; }
/// # struct Catalog;
/// # impl Service for Catalog {
/// #     fn methods(methods: Methods<Self>) -> Methods<Self> { methods.on::<Price>() }
/// # }
/// # impl Handle<Price> for Catalog {
/// #     async fn handle(&self, _: Price, _: &Context) -> Result<u64, Failure> { Ok(250) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use umbel_actors::System;
/// use umbel_services::{ServiceHost, ServiceManager};
///
/// let services = ServiceManager::new(&System::new("shop"));
/// services.start(ServiceHost::new("catalog", || Catalog)).await?;
///
/// let catalog = services.service("catalog");
/// assert_eq!(catalog.call(Price { item: "tea".into() }).await?, 250);
/// assert_eq!(catalog.call_json("price", json!({ "item": "tea" })).await?, json!(250));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceManager {
    inner: Arc<Inner>,
}

struct Inner {
    system: System,
    handles: Arc<Handles>,
    default: ServiceOptions,
    options: BTreeMap<String, ServiceOptions>,
    hosts: BTreeMap<String, HostOptions>,
    config: ServicesConfig,
    /// The services that were called, each with its middleware.
    called: Mutex<BTreeMap<Arc<str>, ServiceHandle>>,
    max: usize,
    runtime: tokio::runtime::Handle,
}

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

/// Calls one service. Cheap to clone.
#[derive(Clone)]
pub struct ServiceHandle {
    service: Arc<str>,
    system: System,
    chain: Arc<dyn Link>,
    options: Arc<ServiceOptions>,
    handles: Arc<Handles>,
}

/// Why a service was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartServiceError {
    /// It did not start; nothing of it is left.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was not made known, and has been stopped again.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl ServiceManager {
    /// With defaults, and a directory of its own on this system.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(system: &System) -> Self {
        Self::builder(system).build()
    }

    /// Begins one that is to differ from the defaults.
    pub fn builder(system: &System) -> ServiceManagerBuilder {
        ServiceManagerBuilder {
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

    /// The system that it calls from.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.inner.system
    }

    /// A service by name, whether there is one yet or not.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceHandle {
        let inner = &self.inner;
        let mut called = inner.called.lock();
        if let Some(known) = called.get(name) {
            return known.clone();
        }
        let service: Arc<str> = name.into();
        let options = inner.options_of(name);
        let caller = Caller {
            system: inner.system.clone(),
            service: service.clone(),
            options: options.clone(),
            handles: inner.handles.clone(),
        };
        let handle = ServiceHandle {
            service: service.clone(),
            system: inner.system.clone(),
            chain: options.middleware.around(Arc::new(caller)),
            options: Arc::new(options),
            handles: inner.handles.clone(),
        };
        // A name that is configured keeps its middleware, with all that it knows; others are without
        // end, and some may be somebody's input.
        let is_configured = inner.options.contains_key(name) || inner.config.names(name);
        if called.len() < inner.max || is_configured {
            called.insert(service, handle.clone());
        }
        handle
    }

    /// Calls a method of a service, as [`ServiceHandle::call`].
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call<M: Method>(&self, service: &str, request: M) -> Result<M::Answer, CallError> {
        self.service(service).call(request).await
    }

    /// Calls a method of a service by its name, as [`ServiceHandle::call_json`].
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call_json(
        &self,
        service: &str,
        method: &str,
        request: Value,
    ) -> Result<Value, CallError> {
        self.service(service).call_json(method, request).await
    }

    /// The same for code that blocks.
    #[must_use]
    pub fn blocking(&self) -> BlockingServices {
        BlockingServices::new(self.clone(), self.inner.runtime.clone())
    }

    /// Starts a service here and makes it known, unless the configuration has it run on other nodes
    /// only: then `None`. What the configuration says of it goes before what its host says.
    ///
    /// # Errors
    /// [`StartServiceError`]; nothing is left of it.
    pub async fn start<S: Service>(
        &self,
        host: ServiceHost<S>,
    ) -> Result<Option<Hosted>, StartServiceError> {
        let Some(host) = self.configured(host) else { return Ok(None) };
        let inner = &self.inner;
        let service = host.start(&inner.system).await?;
        let hosted = Hosted::new(service, inner.handles.directory().clone());
        hosted.register().await?;
        Ok(Some(hosted))
    }

    /// Declares a service for a supervisor of one's own, as [`ServiceHost::child`], unless the
    /// configuration has it run on other nodes only: then `None`. Whoever starts it makes it known by
    /// [`ServiceManager::register`].
    #[must_use]
    pub fn child<S: Service>(&self, host: ServiceHost<S>) -> Option<ServiceChild> {
        Some(self.configured(host)?.child(&self.inner.system))
    }

    /// Makes an instance known that runs here, as [`Directory::register`].
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn register(&self, view: &ServiceView) -> Result<(), DirectoryError> {
        self.inner.handles.directory().register(view.clone()).await
    }

    /// Has an instance that runs here be given no more work.
    pub async fn deregister(&self, view: &ServiceView) {
        self.inner.handles.directory().deregister(view.clone()).await;
    }

    /// Waits until an instance is among those that can be given work; false where `within` came first.
    pub async fn until_handed_out(&self, view: &ServiceView, within: Duration) -> bool {
        let mut follow = self.inner.handles.directory().follow(view.name());
        let waiting = async {
            while follow.instances().iter().all(|instance| instance.address != *view.address()) {
                follow.changed().await;
            }
        };
        timeout(within, waiting).await.is_ok()
    }

    /// What the configuration says of it goes before what its host says.
    fn configured<S: Service>(&self, mut host: ServiceHost<S>) -> Option<ServiceHost<S>> {
        let inner = &self.inner;
        if inner.options_of(host.name()).placement == Placement::Remote {
            return None;
        }
        if let Some(options) = inner.hosts.get(host.name()) {
            host = host.options(options.clone());
        }
        Some(host.configured(&inner.config))
    }

    /// The services whose handles are kept, with the instances that they have now.
    #[must_use]
    pub fn handles(&self) -> BTreeMap<String, Vec<Instance>> {
        self.inner.handles.view()
    }
}

impl Inner {
    fn options_of(&self, service: &str) -> ServiceOptions {
        let mut options = self.options.get(service).unwrap_or(&self.default).clone();
        self.config.apply(service, &mut options);
        options
    }
}

impl ServiceManagerBuilder {
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

impl ServiceHandle {
    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service
    }

    /// How it is called.
    #[must_use]
    pub fn options(&self) -> &ServiceOptions {
        &self.options
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    pub async fn call<M: Method>(&self, request: M) -> Result<M::Answer, CallError> {
        self.call_with(CallOptions::default(), request).await
    }

    /// As [`ServiceHandle::call`], with options.
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    pub async fn call_with<M: Method>(
        &self,
        options: CallOptions,
        request: M,
    ) -> Result<M::Answer, CallError> {
        let answer =
            self.send(M::NAME.into(), M::IDEMPOTENT, options, Payload::new(request)).await?;
        answer.take().map_err(|why| CallError::BadAnswer { why: why.to_string() })
    }

    /// Calls a method by its name, and waits for its answer. Without a word on it, the method counts as
    /// not idempotent: see [`CallOptions::idempotent`].
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    pub async fn call_json(&self, method: &str, request: Value) -> Result<Value, CallError> {
        self.call_json_with(CallOptions::default(), method, request).await
    }

    /// As [`ServiceHandle::call_json`], with options.
    ///
    /// # Errors
    /// [`CallError`], which says what became of the request.
    pub async fn call_json_with(
        &self,
        options: CallOptions,
        method: &str,
        request: Value,
    ) -> Result<Value, CallError> {
        let method = Cow::Owned(method.to_owned());
        let answer = self.send(method, false, options, Payload::json(request)).await?;
        answer.to_json().map_err(|why| CallError::BadAnswer { why: why.to_string() })
    }

    /// How its instances do, wherever they run, in numbers; waits for each for
    /// [`umbel_actors::ASK_DEADLINE`] at most.
    pub async fn figures(&self) -> Vec<(Instance, Result<Figures, AskError>)> {
        let instances = self.handles.of(&self.service).instances();
        let asked = instances.into_iter().map(|instance| async move {
            let figures = instance.address.ask(ServiceMessage::Figures).await;
            (instance, figures)
        });
        join_all(asked).await
    }

    async fn send(
        &self,
        method: Cow<'static, str>,
        is_idempotent: bool,
        call: CallOptions,
        request: Payload,
    ) -> Outcome {
        let options = &self.options;
        let begun = Instant::now();
        let within = call.deadline.unwrap_or(options.deadline);
        let manner = Manner {
            retries: call.retries.unwrap_or(options.retries),
            retry_after: call.retry_after.unwrap_or(options.retry_after),
            hedge_after: call.hedge_after.or(options.hedge_after),
            key: call.key,
            is_repeatable: call.id.is_some(),
        };
        let context = Context {
            service: self.service.clone(),
            method,
            id: call.id.unwrap_or_else(|| RequestId::new(&self.system)),
            attempt: 1,
            deadline: begun.checked_add(within).unwrap_or_else(|| begun + FAR),
            begun,
            is_idempotent: call.is_idempotent.unwrap_or(is_idempotent),
            headers: call.headers,
        };
        let mut call = Call::new(context, request);
        call.manner = Some(manner);
        match options.middleware.is_empty() {
            // It keeps its own deadline.
            true => self.chain.call(call).await,
            false => within_deadline(&*self.chain, call, within).await,
        }
    }
}

/// As good as never: a hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl fmt::Debug for ServiceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceManager").field("system", &self.inner.system).finish_non_exhaustive()
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

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceHandle").field(&self.service).finish()
    }
}
