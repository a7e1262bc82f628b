//! What a runtime and its modules share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
#[cfg(feature = "http")]
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use umbel_actors::{SupervisorRef, System};
use umbel_services::{Directory, ServiceManager};

#[cfg(feature = "http")]
use super::http::{Http, HttpParts};
use super::{Ended, Loaded};
use crate::config::RuntimeConfig;
use crate::events::EventBus;
use crate::module::Factory;
use crate::options::RuntimeOptions;
use crate::view::{Change, MODULE_CHANGES, ModuleChange, ModuleHealth};

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
    #[cfg(feature = "database")]
    pub(crate) database: DatabaseParts,
    #[cfg(feature = "http")]
    pub(crate) http: HttpParts,
}

/// Where the modules' database is, if there is one, or the database itself.
#[cfg(feature = "database")]
pub(crate) struct DatabaseParts {
    pub(crate) url: Option<umbel_database::DatabaseUrl>,
    pub(crate) open: Option<umbel_database::Database>,
}

#[cfg(feature = "database")]
impl DatabaseParts {
    pub(super) async fn open(
        self,
    ) -> Result<Option<umbel_database::Database>, umbel_database::OpenError> {
        match (self.open, self.url) {
            (Some(database), _) => Ok(Some(database)),
            (None, Some(url)) => {
                let options = umbel_database::DatabaseOptions::new(url);
                umbel_database::Database::open_with(options).await.map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// What the runtime and its modules share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) system: System,
    pub(crate) services: ServiceManager,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) config: RuntimeConfig,
    pub(crate) options: RuntimeOptions,
    pub(super) elsewhere: BTreeSet<String>,
    /// All modules that were ever registered, loaded or not.
    pub(super) known: Mutex<BTreeMap<String, Factory>>,
    /// The loaded modules, in the order in which they were started.
    pub(super) table: ArcSwap<Vec<Arc<Loaded>>>,
    pub(super) supervisor: SupervisorRef,
    /// Held by what changes the modules.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Whether all modules that it was built of are up.
    pub(super) is_started: AtomicBool,
    /// When it is to have stopped, once it is to stop.
    pub(super) stopping: watch::Sender<Option<Instant>>,
    /// How it has ended.
    pub(super) ended: watch::Sender<Option<Ended>>,
    /// Whether the system is the runtime's own, and ends with it.
    pub(super) owns_system: bool,
    #[cfg(feature = "database")]
    pub(crate) database: Option<umbel_database::Database>,
    /// Whether the database is the runtime's own, and is closed with it.
    #[cfg(feature = "database")]
    pub(super) owns_database: bool,
    #[cfg(feature = "http")]
    pub(super) http: Http,
}

impl Shared {
    /// A module that is loaded.
    pub(crate) fn find(&self, module: &str) -> Option<Arc<Loaded>> {
        self.table.load().iter().find(|loaded| loaded.name == module).cloned()
    }

    /// Those loaded modules that require one, and those that require these, the last first.
    pub(super) fn dependents(&self, module: &str) -> Vec<String> {
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

    pub(super) async fn health(&self) -> Vec<ModuleHealth> {
        let table = self.table.load_full();
        let asked = table.iter().map(|loaded| async {
            let why = loaded.current().health().await.err().map(|why| why.to_string());
            ModuleHealth { module: loaded.name.clone(), why }
        });
        join_all(asked).await
    }

    /// Whether it has been started, and is not to stop.
    #[cfg(feature = "http")]
    pub(super) fn is_ready(&self) -> Result<(), String> {
        if self.ended.borrow().is_some() {
            return Err("it has stopped".to_owned());
        }
        if self.stopping.borrow().is_some() {
            return Err("it is stopping".to_owned());
        }
        match self.is_started.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err("it is starting".to_owned()),
        }
    }

    /// Ends when it is to stop.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`.
        let _ = stopping.wait_for(Option::is_some).await;
    }

    pub(super) fn tell(&self, module: &str, generation: u64, what: Change) {
        tracing::info!(target: "umbel::module", runtime = %self.name, module, generation, ?what, "changed");
        if let Ok(topic) = self.system.topic(MODULE_CHANGES) {
            let (runtime, module) = (self.name.clone(), module.to_owned());
            topic.publish(ModuleChange { runtime, module, generation, what });
        }
    }
}
