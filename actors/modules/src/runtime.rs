//! Modules that run.

mod instance;
mod lifecycle;
mod operation;
mod pump;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::join_all;
use parking_lot::Mutex;
use umbel_actors::{Strategy, Subscription, Supervisor, SupervisorRef, System};
use umbel_services::{Directory, ServiceManager};

pub(crate) use self::instance::Instance;
use crate::builder::RuntimeBuilder;
use crate::config::RuntimeConfig;
use crate::error::{LoadError, ReplaceError, StartRuntimeError, UnloadError};
use crate::events::{EventBus, Events, LocalEvents};
use crate::module::{Factory, Made, Module};
use crate::options::RuntimeOptions;
use crate::view::{Change, MODULE_CHANGES, ModuleChange, ModuleHealth, ModuleState, ModuleView};

/// Modules that run, each as a supervisor, in the order of their dependencies. Cheap to clone.
///
/// Below the runtime's supervisor stands one for each module, rest-for-one: where a module fails beyond
/// what it bears itself, it is started again, and with it all that were loaded after it.
///
/// What changes the modules (load, unload, reload, upgrade, shutdown) is done one after the other, and once
/// begun it goes on though its caller waits no more.
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

/// What a runtime is made of.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) system: Option<System>,
    pub(crate) directory: Option<Arc<dyn Directory>>,
    pub(crate) bus: Option<Arc<dyn EventBus>>,
    pub(crate) config: RuntimeConfig,
    pub(crate) options: RuntimeOptions,
    pub(crate) factories: BTreeMap<String, Factory>,
    pub(crate) elsewhere: BTreeSet<String>,
}

/// What the runtime and its modules share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) system: System,
    pub(crate) services: ServiceManager,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) config: RuntimeConfig,
    pub(crate) options: RuntimeOptions,
    elsewhere: BTreeSet<String>,
    /// All modules that were ever registered, loaded or not.
    known: Mutex<BTreeMap<String, Factory>>,
    /// The loaded modules, in the order in which they were started.
    table: ArcSwap<Vec<Arc<Loaded>>>,
    supervisor: ArcSwapOption<SupervisorRef>,
    /// Held by what changes the modules.
    changing: tokio::sync::Mutex<()>,
    is_stopped: AtomicBool,
}

/// A module that is loaded, whichever instance of it serves.
pub(crate) struct Loaded {
    name: String,
    instance: ArcSwap<Instance>,
    /// How many instances there were.
    generations: AtomicU64,
}

impl Loaded {
    pub(crate) fn current(&self) -> Arc<Instance> {
        self.instance.load_full()
    }
}

impl Shared {
    /// A module that is loaded.
    pub(crate) fn find(&self, module: &str) -> Option<Arc<Loaded>> {
        self.table.load().iter().find(|loaded| loaded.name == module).cloned()
    }

    /// Those loaded modules that require one, and those that require these, the last first.
    fn dependents(&self, module: &str) -> Vec<String> {
        let table = self.table.load();
        let mut among = BTreeSet::from([module.to_owned()]);
        // In the order of starts, so whoever requires one comes after it.
        for loaded in table.iter() {
            if loaded.current().context.requires().iter().any(|one| among.contains(one)) {
                among.insert(loaded.name.clone());
            }
        }
        let others =
            table.iter().rev().filter(|one| one.name != module && among.contains(&one.name));
        others.map(|loaded| loaded.name.clone()).collect()
    }

    fn tell(&self, module: &str, generation: u64, what: Change) {
        tracing::info!(target: "umbel::module", runtime = %self.name, module, generation, ?what, "changed");
        if let Ok(topic) = self.system.topic(MODULE_CHANGES) {
            topic.publish(ModuleChange { module: module.to_owned(), generation, what });
        }
    }
}

impl Runtime {
    /// Begins a runtime of this name.
    pub fn builder(name: impl Into<String>) -> RuntimeBuilder {
        RuntimeBuilder::new(name)
    }

    pub(crate) async fn start(parts: Parts, modules: Vec<Made>) -> Result<Self, StartRuntimeError> {
        let system = parts.system.unwrap_or_else(|| System::new(parts.name.as_str()));
        let mut services = ServiceManager::builder(&system).config(parts.config.services.clone());
        if let Some(directory) = parts.directory {
            services = services.directory(directory);
        }
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
            supervisor: ArcSwapOption::empty(),
            changing: tokio::sync::Mutex::default(),
            is_stopped: AtomicBool::new(false),
        });
        let (restarts, within) = shared.options.intensity;
        let supervisor = Supervisor::new(format!("runtime/{}", shared.name), Strategy::RestForOne)
            .intensity(restarts, within);
        let supervisor = shared.system.supervise(supervisor).await?;
        shared.supervisor.store(Some(Arc::new(supervisor.clone())));
        tokio::spawn(shared.clone().forget_all_after(supervisor));
        let runtime = Self { shared };
        for module in modules {
            let shared = runtime.shared.clone();
            let load = async move { shared.load(module).await };
            if let Err(why) = runtime.change(load, Err(LoadError::Stopped)).await {
                runtime.shutdown().await;
                return Err(why.into());
            }
        }
        Ok(runtime)
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
    ///
    /// # Panics
    /// Never: it is there as long as there is a runtime.
    #[must_use]
    pub fn supervisor(&self) -> SupervisorRef {
        SupervisorRef::clone(&self.shared.supervisor.load_full().expect("it was started"))
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
    /// [`RuntimeOptions::health`] at most.
    pub async fn health(&self) -> Vec<ModuleHealth> {
        let table = self.shared.table.load_full();
        let asked = table.iter().map(|loaded| async {
            let why = loaded.current().health().await.err().map(|why| why.to_string());
            ModuleHealth { module: loaded.name.clone(), why }
        });
        join_all(asked).await
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
        let load = async move {
            let unnamed = |why| LoadError::Make { module: "?".to_owned(), why };
            let module = factory.make().map_err(unnamed)?;
            let name = module.name().to_owned();
            shared.load(module).await?;
            shared.known.lock().insert(name, factory);
            Ok(())
        };
        self.change(load, Err(LoadError::Stopped)).await
    }

    /// Loads a module that was registered and is not loaded, as the last.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of it is left.
    pub async fn load_known(&self, module: &str) -> Result<(), LoadError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        let load = async move {
            let made = shared.make(&module)?;
            shared.load(made).await
        };
        self.change(load, Err(LoadError::Stopped)).await
    }

    /// Stops a module: it is given no more work, finishes what it has for [`RuntimeOptions::drain`] at most, and
    /// is stopped. Returns what was unloaded, in this order. They can be loaded again.
    ///
    /// # Errors
    /// [`UnloadError`]; nothing was unloaded.
    pub async fn unload(
        &self,
        module: &str,
        dependents: Dependents,
    ) -> Result<Vec<String>, UnloadError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        let unload = async move { shared.unload(module, dependents).await };
        self.change(unload, Err(UnloadError::Stopped)).await
    }

    /// Puts a new instance in the place of a module, made by the same factory: it is started beside the
    /// old one, given work once it is healthy, and the old one finishes what it has. No call fails
    /// for it. Where the new one does not start or is not healthy, the old one serves on.
    ///
    /// # Errors
    /// [`ReplaceError`]; the old instance serves on.
    pub async fn reload(&self, module: &str) -> Result<(), ReplaceError> {
        let (shared, module) = (self.shared.clone(), module.to_owned());
        let reload = async move {
            let made = shared.make(&module)?;
            shared.replace(&module, made).await
        };
        self.change(reload, Err(LoadError::Stopped.into())).await
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
        let upgrade = async move {
            let failed = |why| LoadError::Make { module: module.clone(), why };
            let made = factory.make().map_err(failed)?;
            shared.replace(&module, made).await?;
            shared.known.lock().insert(module, factory);
            Ok(())
        };
        self.change(upgrade, Err(LoadError::Stopped.into())).await
    }

    /// Unloads all modules, the last first, and stops. The system lives on, where it was handed in.
    pub async fn shutdown(&self) {
        let shared = self.shared.clone();
        self.change(async move { shared.shut_down().await }, ()).await;
    }

    /// Ends when the runtime has: by [`Runtime::shutdown`], or because its modules failed more often than it
    /// bears.
    pub async fn ended(&self) {
        self.supervisor().ended().await;
    }

    /// Does one change after the other, each to its end, whoever waits for it; `or` where the system ends
    /// before it does.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
        or: T,
    ) -> T {
        let shared = self.shared.clone();
        let work = tokio::spawn(async move {
            let changed = async {
                let _guard = shared.changing.lock().await;
                change.await
            };
            tokio::select! {
                changed = changed => changed,
                () = shared.system.stopped() => or,
            }
        });
        match work.await {
            Ok(done) => done,
            Err(why) => match why.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Nobody else has the task's handle.
                Err(_) => std::future::pending().await,
            },
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
