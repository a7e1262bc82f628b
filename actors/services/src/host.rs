//! Running a service.

mod actor;
mod gather;
mod job;
mod life;
mod options;
mod pace;
mod queue;
mod remembered;
mod shared;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use umbel_actors::supervision::StartError;
use umbel_actors::{
    Address, ChildOptions, ChildSpec, Shutdown, Strategy, Supervisor, SupervisorRef, System,
};

use self::actor::ServiceActor;
pub(crate) use self::gather::Gather;
pub use self::options::HostOptions;
use self::shared::Shared;
use crate::chain::Chain;
use crate::config::ServicesConfig;
use crate::figures::Figures;
use crate::message::ServiceMessage;
use crate::service::{Methods, Service};

/// How many requests the actor takes in in a row: it only puts them into the queue.
const IN_A_ROW: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Runs a service under supervision, behind a bounded queue and a number of workers.
///
/// The service's value is made anew for each life. A request that waits when the life ends is told
/// [`Stopped`](crate::CallError::Stopped), and is not executed; one in a worker's hands is told
/// [`Lost`](crate::CallError::Lost).
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
/// #     async fn handle(&self, _: Price, _: &Context) -> Result<u64, Failure> { Ok(1) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use umbel_actors::System;
/// use umbel_services::{HostOptions, ServiceHost};
///
/// let system = System::new("shop");
/// let catalog = ServiceHost::new("catalog", || Catalog)
///     .options(HostOptions { workers: 4, ..HostOptions::default() })
///     .start(&system)
///     .await?;
/// println!("{}", catalog.figures());
/// # Ok(())
/// # }
/// ```
pub struct ServiceHost<S> {
    name: Arc<str>,
    instance: String,
    make: Arc<dyn Fn() -> S + Send + Sync>,
    options: HostOptions,
}

/// A service's declaration for a supervisor's tree, and what shows how it does.
pub struct ServiceChild {
    /// The declaration, for [`Supervisor::child`].
    pub spec: ChildSpec<Address<ServiceMessage>>,
    /// What shows how it does.
    pub view: ServiceView,
}

/// Shows how a service does.
#[derive(Clone)]
pub struct ServiceView {
    address: Address<ServiceMessage>,
    shared: Arc<Shared>,
}

/// A service that runs under a supervisor of its own. Dropping it leaves the service running.
#[derive(Clone)]
pub struct ServiceRef {
    view: ServiceView,
    supervisor: SupervisorRef,
}

impl<S: Service> ServiceHost<S> {
    /// Runs a service under a name, by which it is called. `make` is called for each of its lives.
    pub fn new(name: impl Into<Arc<str>>, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let (instance, options) = ("1".to_owned(), HostOptions::default());
        Self { name: name.into(), instance, make: Arc::new(make), options }
    }

    /// How it is run, where the defaults do not do.
    #[must_use]
    pub fn options(mut self, options: HostOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds what each request goes through before it is executed, inside of what there is.
    #[must_use]
    pub fn middleware(mut self, chain: &Chain) -> Self {
        self.options.middleware = self.options.middleware.then(chain);
        self
    }

    /// Tells this instance from others of the same service in the same system. Default: `1`.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn configured(mut self, config: &ServicesConfig) -> Self {
        config.apply_to_host(&self.name, &mut self.options);
        self
    }

    /// Declares it for a supervisor of one's own, as `service/{name}/{instance}`. Restarts are
    /// bounded by that supervisor's intensity then.
    pub fn child(self, system: &System) -> ServiceChild {
        let options = self.options.sane();
        let drain = options.drain;
        let shared = Arc::new(Shared::new(self.name.clone(), options, &**system.clock()));
        let (make, methods) = (self.make, Arc::new(Methods::<S>::of_service()));
        let (told, child) = (shared.clone(), ChildOptions::default());
        let child = ChildOptions { throughput: Some(IN_A_ROW), ..child };
        let spec = system
            .child_with(format!("service/{}/{}", self.name, self.instance), child, move || {
                let (make, methods, shared) = (make.clone(), methods.clone(), told.clone());
                (ServiceActor { make, methods, shared }, ())
            })
            .shutdown(Shutdown::Timeout(drain));
        let view = ServiceView { address: spec.handle().clone(), shared };
        ServiceChild { spec, view }
    }

    /// Starts it under a supervisor of its own, named as the service, which starts it again after a
    /// failure: [`HostOptions::max_restarts`] times at most.
    ///
    /// # Errors
    /// [`StartError`]: the service did not start, there is an instance of this name already, or it has
    /// two methods of the same name.
    pub async fn start(self, system: &System) -> Result<ServiceRef, StartError> {
        let (name, options) = (self.name.clone(), &self.options);
        let (restarts, period) = (options.max_restarts, options.restart_period);
        let ServiceChild { spec, view } = self.child(system);
        let supervisor =
            Supervisor::new(name, Strategy::OneForOne).intensity(restarts, period).child(spec);
        let supervisor = system.supervise(supervisor).await?;
        Ok(ServiceRef { view, supervisor })
    }
}

impl ServiceView {
    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The service's address, which holds over its restarts.
    #[must_use]
    pub fn address(&self) -> &Address<ServiceMessage> {
        &self.address
    }

    /// How it does, in numbers.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Whether it runs, and its last health check was good.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.shared.is_well()
    }

    /// Tells of each change of [`ServiceView::is_well`] from now on.
    pub(crate) fn wellness(&self) -> watch::Receiver<()> {
        self.shared.wellness()
    }

    /// Waits until it has nothing to do; false where `within` came first.
    pub async fn until_idle(&self, within: Duration) -> bool {
        timeout(within, self.shared.until_idle()).await.is_ok()
    }
}

impl ServiceRef {
    /// What shows how it does.
    #[must_use]
    pub fn view(&self) -> &ServiceView {
        &self.view
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.view.name()
    }

    /// The service's address, which holds over its restarts.
    #[must_use]
    pub fn address(&self) -> &Address<ServiceMessage> {
        self.view.address()
    }

    /// How it does, in numbers.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.view.figures()
    }

    /// Its supervisor: its tree, its events.
    #[must_use]
    pub fn supervisor(&self) -> &SupervisorRef {
        &self.supervisor
    }

    /// Stops it: nothing is taken in any more, and what was taken in is executed, for
    /// [`HostOptions::drain`] at most. Those who had it found in a directory take it out of there
    /// before: see [`Hosted::stop`](crate::Hosted::stop).
    pub async fn stop(&self) {
        self.supervisor.stop().await;
    }
}

impl<S> fmt::Debug for ServiceHost<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHost")
            .field("name", &self.name)
            .field("instance", &self.instance)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServiceChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceChild").field(&self.view).finish()
    }
}

impl fmt::Debug for ServiceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceView").field(&self.shared.name).finish()
    }
}

impl fmt::Debug for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceRef").field(&self.view.shared.name).finish()
    }
}
