//! Modules that run.

#[cfg(feature = "http")]
mod http;
mod instance;
mod lifecycle;
mod loaded;
mod operation;
mod pump;
mod requests;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use umbel_actors::supervision::Intensity;
use umbel_actors::{Signal, Strategy, Subscription, Supervisor, SupervisorRef, System};
use umbel_services::ServiceManager;

#[cfg(feature = "http")]
use self::http::Http;
#[cfg(feature = "http")]
pub(crate) use self::http::HttpParts;
pub(crate) use self::instance::Instance;
pub(crate) use self::loaded::Loaded;
#[cfg(feature = "database")]
pub(crate) use self::shared::DatabaseParts;
pub(crate) use self::shared::{Parts, Shared};
use crate::builder::RuntimeBuilder;
use crate::error::{LoadError, ReplaceError, StartRuntimeError, UnloadError};
use crate::events::{Events, LocalEvents};
use crate::module::{Factory, Made, Module};
use crate::view::{MODULE_CHANGES, ModuleChange, ModuleHealth, ModuleState, ModuleView};

/// Modules that run, each as a supervisor, in the order of their dependencies. Cheap to clone.
///
/// Below the runtime's supervisor stands one for each module, rest-for-one: where a module fails beyond
/// what it bears itself, it is started again, and with it all that were loaded after it.
///
/// What changes the modules (load, unload, reload, upgrade, shutdown) is done one after the other, and once
/// begun it goes on though its caller waits no more. Dropping the runtime leaves it running:
/// [shut it down](Runtime::shutdown).
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What is to become of the modules that require one that is unloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependents {
    /// Where there are some, nothing is unloaded.
    #[default]
    Refuse,
    /// They are unloaded before it, the last first.
    Cascade,
}

/// How a runtime has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was shut down.
    ShutDown,
    /// Its modules failed more often than it [bears](crate::RuntimeOptions::module_intensity), or its system was
    /// shut down under it.
    Failed,
}

impl Runtime {
    /// Begins a runtime of this name.
    pub fn builder(name: impl Into<String>) -> RuntimeBuilder {
        RuntimeBuilder::new(name)
    }

    pub(crate) async fn start(parts: Parts, modules: Vec<Made>) -> Result<Self, StartRuntimeError> {
        #[cfg(feature = "database")]
        let (owns_database, database) =
            (parts.database.open.is_none(), parts.database.open().await?);
        let owns_system = parts.system.is_none();
        let system = parts.system.unwrap_or_else(|| System::new(parts.name.as_str()));
        let mut services = ServiceManager::builder(&system).config(parts.config.services.clone());
        if let Some(directory) = parts.directory {
            services = services.directory(directory);
        }
        let Intensity { restarts, period } = parts.options.module_intensity;
        let supervisor = Supervisor::new(format!("runtime/{}", parts.name), Strategy::RestForOne)
            .intensity(restarts, period);
        let supervisor = system.supervise(supervisor).await?;
        let shared = Arc::new(Shared {
            services: services.build(),
            bus: parts.bus.unwrap_or_else(|| Arc::new(LocalEvents::new(&system))),
            name: parts.name,
            system,
            config: parts.config,
            options: parts.options,
            elsewhere: parts.elsewhere,
            known: Mutex::new(parts.factories),
            table: ArcSwap::default(),
            supervisor,
            changing: tokio::sync::Mutex::default(),
            is_started: AtomicBool::new(false),
            stopping: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            owns_system,
            #[cfg(feature = "database")]
            database,
            #[cfg(feature = "database")]
            owns_database,
            #[cfg(feature = "http")]
            http: Http::new(parts.http.layering.clone()),
        });
        tokio::spawn(shared.clone().forget_all_at_the_end());
        let mut starting = Starting(Some(Self { shared: shared.clone() }));
        // Before the modules: whoever asks is told that it is not ready yet.
        #[cfg(feature = "http")]
        if let Err(why) = shared.serve(parts.http).await {
            starting.take_back().await;
            return Err(why);
        }
        for module in modules {
            let (runtime, loading) = (Self { shared: shared.clone() }, shared.clone());
            let loaded = runtime.change(async move { loading.load(module).await }).await;
            if let Err(why) = loaded.unwrap_or(Err(LoadError::Stopped)) {
                starting.take_back().await;
                return Err(why.into());
            }
        }
        shared.is_started.store(true, Ordering::Release);
        Ok(starting.0.take().expect("it was not taken back"))
    }

    /// The runtime's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The system that it runs on.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.shared.system
    }

    /// Calls services of the modules, on this and on other nodes.
    #[must_use]
    pub fn services(&self) -> &ServiceManager {
        &self.shared.services
    }

    /// Publishes events and subscribes to them.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.shared.bus.clone())
    }

    /// The supervisor of all modules: its tree, its events.
    #[must_use]
    pub fn supervisor(&self) -> &SupervisorRef {
        &self.shared.supervisor
    }

    /// All modules: those that are loaded in the order in which they were started, then the others.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleView> {
        let shared = &self.shared;
        let table = shared.table.load_full();
        let mut views: Vec<_> = table.iter().map(|loaded| shared.view(loaded)).collect();
        let mut other = |name: &str, state| {
            if views.iter().all(|view| view.name != name) {
                let (requires, dependents) = (Vec::new(), shared.dependents(name));
                let (name, services) = (name.to_owned(), Vec::new());
                views.push(ModuleView {
                    name,
                    state,
                    generation: 0,
                    requires,
                    dependents,
                    services,
                });
            }
        };
        for name in &shared.elsewhere {
            other(name, ModuleState::Elsewhere);
        }
        for name in shared.known.lock().keys() {
            other(name, ModuleState::Unloaded);
        }
        views
    }

    /// What becomes of modules from now on.
    ///
    /// # Panics
    /// Where the system has a topic [`MODULE_CHANGES`] of another type.
    #[must_use]
    pub fn changes(&self) -> Subscription<ModuleChange> {
        let topic = self.shared.system.topic(MODULE_CHANGES);
        topic.expect("the topic is the runtime's").subscribe()
    }

    /// Asks all loaded modules whether they can do their work, each for
    /// [`RuntimeOptions::health`](crate::RuntimeOptions::health) at most.
    pub async fn health(&self) -> Vec<ModuleHealth> {
        self.shared.health().await
    }

    /// The modules' database, where there is one.
    #[cfg(feature = "database")]
    #[must_use]
    pub fn database(&self) -> Option<&umbel_database::Database> {
        self.shared.database.as_ref()
    }

    /// Where the modules' routes are served; empty where they are not.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.shared.http.addresses()
    }

    /// Where the admin API is; empty where it is not.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn admin_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.shared.http.admin_addresses()
    }

    /// Registers a module and loads it, as the last. To load one again that was unloaded, see
    /// [`Runtime::load_known`].
    ///
    /// # Errors
    /// [`LoadError`]; nothing of it is left.
    pub async fn load<M: Module>(
        &self,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Result<(), LoadError> {
        let (shared, factory) = (self.shared.clone(), Factory::new(make));
        self.change(async move {
            let unnamed =
                |why| LoadError::Make { module: std::any::type_name::<M>().to_owned(), why };
            let module = factory.make().map_err(unnamed)?;
            let name = module.name().to_owned();
            shared.load(module).await?;
            shared.known.lock().insert(name, factory);
            Ok(())
        })
        .await
        .unwrap_or(Err(LoadError::Stopped))
    }

    /// Loads a module that was registered and is not loaded, as the last.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of it is left.
    pub async fn load_known(&self, module: &str) -> Result<(), LoadError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        self.change(async move {
            let made = shared.make(&module)?;
            shared.load(made).await
        })
        .await
        .unwrap_or(Err(LoadError::Stopped))
    }

    /// Stops a module: it is given no more work, finishes what it has for
    /// [`RuntimeOptions::drain`](crate::RuntimeOptions::drain) at most, and is stopped. Returns what was
    /// unloaded, in this order. They can be loaded again.
    ///
    /// # Errors
    /// [`UnloadError`]; nothing was unloaded.
    pub async fn unload(
        &self,
        module: &str,
        dependents: Dependents,
    ) -> Result<Vec<String>, UnloadError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        let unloaded = self.change(async move { shared.unload(module, dependents).await });
        unloaded.await.unwrap_or(Err(UnloadError::Stopped))
    }

    /// Puts a new instance in the place of a module, made by the same factory: it is started beside the
    /// old one, given work once it is healthy, and the old one finishes what it has. No call fails
    /// for it. Where the new one does not start or is not healthy, the old one serves on.
    ///
    /// # Errors
    /// [`ReplaceError`]; the old instance serves on.
    pub async fn reload(&self, module: &str) -> Result<(), ReplaceError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        self.change(async move {
            let made = shared.make(&module)?;
            shared.replace(&module, made).await
        })
        .await
        .unwrap_or_else(|| Err(LoadError::Stopped.into()))
    }

    /// As [`Runtime::reload`], by another factory, which is the module's from then on.
    ///
    /// # Errors
    /// [`ReplaceError`]; the old instance serves on.
    pub async fn upgrade<M: Module>(
        &self,
        module: &str,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Result<(), ReplaceError> {
        let (shared, module, factory) =
            (self.shared.clone(), module.to_owned(), Factory::new(make));
        self.change(async move {
            let failed = |why| LoadError::Make { module: module.clone(), why };
            let made = factory.make().map_err(failed)?;
            shared.replace(&module, made).await?;
            shared.known.lock().insert(module, factory);
            Ok(())
        })
        .await
        .unwrap_or_else(|| Err(LoadError::Stopped.into()))
    }

    /// Stops: no more requests are taken in, those under way end, and all modules are unloaded, the last
    /// first. Three quarters of the time are for what is under way, the rest for the modules' hooks. What has
    /// not ended after `within` is cut off. Whether all has ended by itself.
    ///
    /// What changes the modules just then is given up. The system, the database and the node that were handed in
    /// live on.
    pub async fn shutdown(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        self.shared.stopping.send_modify(|stopping| {
            // The sooner of two.
            *stopping = Some(stopping.map_or(until, |before| before.min(until)));
        });
        let shared = self.shared.clone();
        let work = tokio::spawn(async move {
            let work = async {
                let _guard = shared.changing.lock().await;
                shared.shut_down().await
            };
            let system = shared.system.clone();
            // A system of its own is stopped there, as the last.
            let has_ended = async {
                if shared.owns_system {
                    std::future::pending().await
                } else {
                    system.stopped().await
                }
            };
            tokio::select! {
                has_finished = work => has_finished,
                () = has_ended => false,
            }
        });
        work.await.unwrap_or(false)
    }

    /// Waits for [`Signal::next`], and then shuts down within `within`; at a second signal at once. Ends too
    /// when the runtime does otherwise. Says how it has ended.
    ///
    /// # Errors
    /// Where the operating system refuses to have a signal handled; nothing is stopped then.
    pub async fn shutdown_on_signal(&self, within: Duration) -> std::io::Result<Ended> {
        let signal = tokio::select! {
            signal = Signal::next() => signal?,
            ended = self.ended() => return Ok(ended),
        };
        tracing::info!(target: "umbel::module", runtime = self.name(), %signal, ?within, "shutting down");
        tokio::select! {
            biased;
            _ = self.shutdown(within) => {}
            _ = Signal::next() => drop(self.shutdown(Duration::ZERO).await),
        }
        Ok(self.ended().await)
    }

    /// Ends when the runtime has, and says how.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.shared.ended.subscribe();
        // The sender lives in `self`.
        let how = ended.wait_for(Option::is_some).await.ok().and_then(|how| *how);
        how.unwrap_or(Ended::Failed)
    }

    /// Does one change after the other, each to its end, whoever waits for it. `None`, and nothing was done,
    /// where the runtime is to stop.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let shared = self.shared.clone();
        let work = tokio::spawn(async move {
            let _guard = tokio::select! {
                biased;
                () = shared.stopping() => return None,
                guard = shared.changing.lock() => guard,
            };
            tokio::select! {
                changed = change => Some(changed),
                // With all that it would have changed.
                () = shared.system.stopped() => None,
            }
        });
        match work.await {
            Ok(done) => done,
            Err(why) => match why.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The executor is being shut down.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// A runtime that is being started: whoever gives that up leaves nothing running.
struct Starting(Option<Runtime>);

impl Starting {
    async fn take_back(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown(runtime.shared.options.drain).await;
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            let within = runtime.shared.options.drain;
            tokio::spawn(async move { runtime.shutdown(within).await });
        }
    }
}

/// How long the runtime's supervisor may take to stop when all modules have been told to.
const LAST_STOP: Duration = Duration::from_secs(5);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("name", &self.shared.name)
            .field("modules", &self.modules().iter().map(ToString::to_string).collect::<Vec<_>>())
            .finish()
    }
}
