//! What changes the modules of a runtime. One at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use umbel_actors::supervision::ChildError;
use umbel_actors::{ChildSpec, Strategy, Supervisor, SupervisorRef};

use super::{Dependents, Instance, LAST_STOP, Loaded, Shared};
use crate::error::{LoadError, ReplaceError, UnloadError};
use crate::module::Made;
use crate::view::{Change, ModuleState, ModuleView};

impl Shared {
    /// Makes a module that is known.
    pub(super) fn make(&self, module: &str) -> Result<Made, LoadError> {
        let factory = {
            let known = self.known.lock();
            let unknown = || LoadError::Unknown {
                module: module.to_owned(),
                known: known.keys().cloned().collect(),
            };
            known.get(module).ok_or_else(unknown)?.clone()
        };
        factory.make().map_err(|why| LoadError::Make { module: module.to_owned(), why })
    }

    pub(super) async fn load(self: &Arc<Self>, made: Made) -> Result<(), LoadError> {
        let module = made.name().to_owned();
        let supervisor = self.supervisor().ok_or(LoadError::Stopped)?;
        if self.find(&module).is_some() {
            return Err(LoadError::Loaded { module });
        }
        self.check(&made)?;
        #[cfg(feature = "database")]
        self.migrate(&made).await?;
        let instance = Instance::prepare(self, made, 1, None)?;
        #[cfg(feature = "http")]
        let routes = self.http.prepare(&instance)?;
        let loaded = Arc::new(Loaded {
            name: module.clone(),
            instance: ArcSwap::from_pointee(instance),
            generations: AtomicU64::new(1),
            #[cfg(feature = "http")]
            mount: Default::default(),
        });
        let instance = loaded.current();
        let started = supervisor.start_child(holder(&loaded)).await;
        started.map_err(|why| not_started(&instance, why))?;
        let known = instance.make_known(self.options.healthy).await;
        #[cfg(feature = "http")]
        let known = match known {
            Ok(()) => self.http.mount(&module, &loaded.mount, routes).map(drop),
            failed => failed,
        };
        if let Err(why) = known {
            instance.retire(self.options.drain).await;
            drop_child(&supervisor, module).await;
            return Err(why);
        }
        instance.set_serves(true);
        let mut table = Vec::clone(&self.table.load());
        table.push(loaded);
        self.table.store(Arc::new(table));
        self.tell(&module, 1, Change::Loaded);
        Ok(())
    }

    pub(super) async fn unload(
        self: &Arc<Self>,
        module: String,
        dependents: Dependents,
    ) -> Result<Vec<String>, UnloadError> {
        if self.supervisor().is_none() {
            return Err(UnloadError::Stopped);
        }
        if self.find(&module).is_none() {
            return Err(UnloadError::NotLoaded { module });
        }
        let mut order = self.dependents(&module);
        if dependents == Dependents::Refuse && !order.is_empty() {
            return Err(UnloadError::Required { module, dependents: order });
        }
        order.push(module);
        for module in &order {
            self.stop(module).await;
        }
        Ok(order)
    }

    /// Stops a loaded module, which nobody requires any more.
    async fn stop(&self, module: &str) {
        let (Some(loaded), Some(supervisor)) = (self.find(module), self.supervisor()) else {
            return;
        };
        let instance = loaded.current();
        #[cfg(feature = "http")]
        if let Ok(Some(retired)) = self.http.mount(module, &loaded.mount, None) {
            retired.idle(self.options.drain).await;
        }
        instance.retire(self.options.drain).await;
        drop_child(&supervisor, module.to_owned()).await;
        let mut table = Vec::clone(&self.table.load());
        table.retain(|loaded| loaded.name != module);
        self.table.store(Arc::new(table));
        self.tell(module, instance.context.generation(), Change::Unloaded);
    }

    /// Puts a new instance in the place of the one that serves.
    pub(super) async fn replace(
        self: &Arc<Self>,
        module: &str,
        made: Made,
    ) -> Result<(), ReplaceError> {
        let named = module.to_owned();
        let supervisor = self.supervisor().ok_or(LoadError::Stopped)?;
        let loaded = self.find(module);
        let loaded = loaded.ok_or_else(|| ReplaceError::NotLoaded { module: named.clone() })?;
        if made.name() != module {
            let becomes = made.name().to_owned();
            return Err(ReplaceError::Name { module: named, becomes });
        }
        self.check(&made)?;
        self.check_order(module, &made)?;
        #[cfg(feature = "database")]
        self.migrate(&made).await?;
        let old = loaded.current();
        let generation = loaded.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let new = Arc::new(Instance::prepare(self, made, generation, Some(&old))?);
        let restarting = || ReplaceError::Restarting { module: named.clone() };
        let holder = supervisor.supervisor(module).await;
        let holder = holder.ok().flatten().ok_or_else(restarting)?;
        #[cfg(feature = "http")]
        let routes = self.http.prepare(&new)?;
        let outcome = self.start_beside(&holder, &new).await;
        #[cfg(feature = "http")]
        let mut retired = None;
        #[cfg(feature = "http")]
        let outcome = match outcome {
            Ok(()) => match self.http.mount(module, &loaded.mount, routes) {
                Ok(old) => {
                    retired = old;
                    Ok(())
                }
                Err(why) => Err(why.into()),
            },
            failed => failed,
        };
        if let Err(why) = outcome {
            new.retire(Duration::ZERO).await;
            drop_child(&holder, new.child_name()).await;
            self.tell(module, generation, Change::RolledBack { why: why.to_string() });
            return Err(why);
        }
        loaded.instance.store(new.clone());
        // Before the new one's: each event is taken by one of them.
        old.set_serves(false);
        new.set_serves(true);
        self.tell(module, generation, Change::Replaced);
        // Its requests may call its services.
        #[cfg(feature = "http")]
        if let Some(retired) = retired {
            retired.idle(self.options.drain).await;
        }
        old.retire(self.options.drain).await;
        drop_child(&holder, old.child_name()).await;
        Ok(())
    }

    /// Starts a new instance, waits until it is healthy, and has it be given work.
    async fn start_beside(
        &self,
        holder: &SupervisorRef,
        new: &Arc<Instance>,
    ) -> Result<(), ReplaceError> {
        let started = holder.start_child(new.child()).await;
        started.map_err(|why| not_started(new, why))?;
        let healthy = new.until_healthy(self.options.healthy).await;
        let module = new.name().to_owned();
        healthy.map_err(|why| ReplaceError::Unhealthy { module, why })?;
        Ok(new.make_known(self.options.healthy).await?)
    }

    pub(super) async fn shut_down(&self) {
        #[cfg(feature = "http")]
        self.http.shut_down(self.options.drain).await;
        let names: Vec<_> = self.table.load().iter().map(|loaded| loaded.name.clone()).collect();
        for module in names.iter().rev() {
            self.stop(module).await;
        }
        self.is_stopped.store(true, Ordering::Release);
        if let Some(supervisor) = self.supervisor.load_full() {
            supervisor.stop_within(LAST_STOP).await;
        }
        #[cfg(feature = "database")]
        if let Some(database) = &self.database
            && let Err(why) = database.close().await
        {
            tracing::warn!(target: "umbel::module", %why, "the database was not closed in order");
        }
    }

    /// Brings a module's part of the database up to date.
    #[cfg(feature = "database")]
    async fn migrate(&self, made: &Made) -> Result<(), LoadError> {
        if let Some(database) = &self.database {
            database.migrate(made.name(), made.migrations()).await?;
        }
        Ok(())
    }

    /// When the supervisor ends, nothing is loaded any more.
    pub(super) async fn forget_all_after(self: Arc<Self>, supervisor: SupervisorRef) {
        supervisor.ended().await;
        if !self.is_stopped.swap(true, Ordering::AcqRel) {
            tracing::error!(target: "umbel::module", runtime = %self.name, "its modules failed too often: it has stopped");
        }
        self.table.store(Arc::default());
    }

    /// The supervisor of all modules, as long as it runs.
    fn supervisor(&self) -> Option<SupervisorRef> {
        if self.is_stopped.load(Ordering::Acquire) {
            return None;
        }
        self.supervisor.load_full().map(|supervisor| SupervisorRef::clone(&supervisor))
    }

    /// Whether there is all that a module requires and needs.
    fn check(&self, made: &Made) -> Result<(), LoadError> {
        let module = made.name();
        let is_there = |one: &String| self.find(one).is_some() || self.elsewhere.contains(one);
        if let Some(requires) = made.requires().into_iter().find(|one| !is_there(one)) {
            return Err(LoadError::Missing { module: module.to_owned(), requires });
        }
        #[cfg(feature = "database")]
        let has_database = self.database.is_some();
        #[cfg(not(feature = "database"))]
        let has_database = false;
        if made.needs_database() && !has_database {
            return Err(LoadError::NoDatabase { module: module.to_owned() });
        }
        Ok(())
    }

    /// Whether all that a module requires was started before it, where it is loaded.
    fn check_order(&self, module: &str, made: &Made) -> Result<(), ReplaceError> {
        let table = self.table.load();
        let place = |name: &str| table.iter().position(|loaded| loaded.name == name);
        let requires = made.requires().into_iter().find(|one| place(one) >= place(module));
        match requires {
            Some(requires) if place(&requires).is_some() => {
                Err(ReplaceError::Order { module: module.to_owned(), requires })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn view(&self, loaded: &Loaded) -> ModuleView {
        let instance = loaded.current();
        ModuleView {
            name: loaded.name.clone(),
            state: if instance.is_up() { ModuleState::Running } else { ModuleState::Restarting },
            generation: instance.context.generation(),
            requires: instance.context.requires().to_vec(),
            dependents: self.dependents(&loaded.name),
            services: instance.views.iter().map(|view| view.name().to_owned()).collect(),
        }
    }
}

/// The supervisor that holds a module's place among the others, whichever instance of it serves. It bears
/// no failure: that of an instance is its own, and the modules after it are to be restarted, too.
fn holder(loaded: &Arc<Loaded>) -> ChildSpec<()> {
    let loaded = loaded.clone();
    ChildSpec::supervisor(loaded.name.clone(), move || {
        Supervisor::new(loaded.name.clone(), Strategy::OneForOne)
            .intensity(0, Duration::from_secs(1))
            .child(loaded.current().child())
    })
}

/// Stops a child and forgets it. It may have gone with its supervisor.
async fn drop_child(supervisor: &SupervisorRef, child: String) {
    for done in [
        supervisor.terminate_child(child.clone()).await,
        supervisor.delete_child(child.clone()).await,
    ] {
        if let Err(why) = done {
            tracing::debug!(target: "umbel::module", %why, "it had gone already");
        }
    }
}

fn not_started(instance: &Instance, source: ChildError) -> LoadError {
    if let ChildError::SupervisorGone { .. } = source {
        return LoadError::Stopped;
    }
    let why = match instance.failed() {
        Some(failure) => failure.to_string(),
        None => chain(&source),
    };
    LoadError::Start { module: instance.name().to_owned(), why, source }
}

/// An error with all that it came from.
fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
