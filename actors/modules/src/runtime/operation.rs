//! What changes the modules of a runtime. One at a time.

use std::sync::Arc;

use tokio::time::{Instant, timeout, timeout_at};
use umbel_actors::ractor::ActorCell;
use umbel_actors::supervision::ChildError;
use umbel_actors::{ChildSpec, SupervisorRef};
use umbel_services::{Failure, ServiceView};

use super::lifecycle::Start;
use super::requests::Requests;
use super::{Dependents, Ended, Instance, LAST_STOP, Loaded, Shared};
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
        if self.find(&module).is_some() {
            return Err(LoadError::Loaded { module });
        }
        self.check(&made)?;
        #[cfg(feature = "database")]
        self.migrate(&made).await?;
        let instance = Instance::prepare(self, made, 1, None)?;
        #[cfg(feature = "http")]
        let routes = self.http.prepare(&instance)?;
        let loaded = Loaded::new(module.clone(), instance);
        let instance = loaded.current();
        let outcome = async {
            let child = loaded.holder().backoff(self.options.module_backoff);
            self.start(&self.supervisor, child, &instance).await?;
            self.make_known(&instance).await?;
            #[cfg(feature = "http")]
            self.http.mount(&module, &loaded.mount, routes)?;
            // It may have ended since, and with it all that it had started.
            match self.ended.borrow().is_some() {
                true => Err(LoadError::Stopped),
                false => Ok(()),
            }
        };
        if let Err(why) = outcome.await {
            self.unmount(&loaded);
            instance.withdraw().await;
            drop_child(&self.supervisor, module).await;
            return Err(if self.is_ending() { LoadError::Stopped } else { why });
        }
        instance.set_serves(true);
        self.change_table(|table| table.push(loaded));
        self.tell(&module, 1, Change::Loaded);
        Ok(())
    }

    pub(super) async fn unload(
        self: &Arc<Self>,
        module: String,
        dependents: Dependents,
    ) -> Result<Vec<String>, UnloadError> {
        if self.find(&module).is_none() {
            let known = self.known.lock().keys().cloned().collect();
            return Err(UnloadError::NotLoaded { module, known });
        }
        let mut order = self.dependents(&module);
        if dependents == Dependents::Refuse && !order.is_empty() {
            return Err(UnloadError::Required { module, dependents: order });
        }
        order.push(module);
        for module in &order {
            self.stop(module, Instant::now() + self.options.drain).await;
        }
        Ok(order)
    }

    /// Stops a loaded module, which nobody requires any more. Whether it has finished what it was given,
    /// before `until`.
    async fn stop(&self, module: &str, until: Instant) -> bool {
        let Some(loaded) = self.find(module) else { return true };
        let instance = loaded.current();
        instance.withdraw().await;
        let has_finished = finish(&instance, self.unmount(&loaded), until).await;
        self.tell_of_the_rest(&instance, has_finished);
        drop_child(&self.supervisor, module.to_owned()).await;
        self.change_table(|table| table.retain(|loaded| loaded.name != module));
        self.tell(module, instance.context.generation(), Change::Unloaded);
        has_finished
    }

    /// Only what holds `changing` does.
    fn change_table(&self, change: impl FnOnce(&mut Vec<Arc<Loaded>>)) {
        let mut table = Vec::clone(&self.table.load());
        change(&mut table);
        self.table.store(Arc::new(table));
    }

    /// Notes how it has ended; false where that is noted already.
    fn note_end(&self, how: Ended) -> bool {
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(how);
            is_first
        })
    }

    /// Whether it stops, or its system does.
    fn is_ending(&self) -> bool {
        self.stopping.borrow().is_some()
            || self.ended.borrow().is_some()
            || self.system.is_stopping()
    }

    /// Takes a module's routes away; those that it has under way go on.
    fn unmount(&self, loaded: &Loaded) -> Requests {
        #[cfg(feature = "http")]
        return self.http.unmount(&loaded.mount);
        #[cfg(not(feature = "http"))]
        {
            let _ = loaded;
            Requests::default()
        }
    }

    fn tell_of_the_rest(&self, instance: &Instance, has_finished: bool) {
        if !has_finished {
            let (module, generation) = (instance.name(), instance.context.generation());
            tracing::warn!(target: "umbel::module", runtime = %self.name, module, generation, "stopped with work left");
        }
    }

    /// Puts a new instance in the place of the one that serves.
    pub(super) async fn replace(
        self: &Arc<Self>,
        module: &str,
        made: Made,
    ) -> Result<(), ReplaceError> {
        let named = module.to_owned();
        let loaded = self.find(module);
        let loaded = loaded.ok_or_else(|| ReplaceError::NotLoaded { module: named.clone() })?;
        if made.name() != module {
            let becomes = made.name().to_owned();
            return Err(ReplaceError::Name { module: named, becomes });
        }
        self.check(&made)?;
        self.check_order(module, &made)?;
        let starts = loaded.starts();
        let holder = self.supervisor.supervisor(module).await;
        let restarting = || ReplaceError::Restarting { module: named.clone() };
        let holder = holder.ok().flatten().ok_or_else(restarting)?;
        let generation = loaded.next_generation();
        let rolled_back = |why: ReplaceError| {
            self.tell(module, generation, Change::RolledBack { why: why.to_string() });
            why
        };
        #[cfg(feature = "database")]
        self.migrate(&made).await.map_err(|why| rolled_back(why.into()))?;
        let old = loaded.current();
        let new = Instance::prepare(self, made, generation, Some(&old));
        let new = Arc::new(new.map_err(|why| rolled_back(why.into()))?);
        #[cfg(feature = "http")]
        let routes = self.http.prepare(&new).map_err(|why| rolled_back(why.into()))?;
        let outcome = async {
            let cell = self.start(&holder, new.child(), &new).await?;
            let healthy = tokio::select! {
                healthy = new.until_healthy(self.options.healthy) => healthy,
                // It has failed beyond what it bears.
                _ = cell.wait(None) => Err(Failure::new("it has failed")),
                () = self.stopping() => return Err(LoadError::Stopped.into()),
            };
            healthy.map_err(|why| ReplaceError::Unhealthy { module: named.clone(), why })?;
            tokio::select! {
                known = self.make_known(&new) => known?,
                _ = cell.wait(None) => {
                    return Err(LoadError::Overtaken { module: named.clone() }.into());
                }
            }
            #[cfg(not(feature = "http"))]
            let requests = Requests::default();
            #[cfg(feature = "http")]
            let before = self.http.mounted(&loaded.mount);
            #[cfg(feature = "http")]
            let requests = self.http.mount(module, &loaded.mount, routes)?;
            if loaded.switch(starts, &new, cell) {
                return Ok(requests);
            }
            #[cfg(feature = "http")]
            self.http.mount(module, &loaded.mount, before)?;
            Err(restarting())
        };
        let requests = match outcome.await {
            Ok(requests) => requests,
            Err(why) => {
                new.withdraw().await;
                drop_child(&holder, new.child_name()).await;
                // Whatever it was, that is why.
                let why = if self.is_ending() { LoadError::Stopped.into() } else { why };
                return Err(rolled_back(why));
            }
        };
        // Before the new one takes events: each is taken by one of them.
        old.withdraw().await;
        new.set_serves(true);
        self.tell(module, generation, Change::Replaced);
        let until = Instant::now() + self.options.drain;
        let has_finished = finish(&old, requests, until).await;
        self.tell_of_the_rest(&old, has_finished);
        drop_child(&holder, old.child_name()).await;
        Ok(())
    }

    /// Starts an instance, or a module with it, within the time for that.
    async fn start(
        &self,
        supervisor: &SupervisorRef,
        child: ChildSpec<()>,
        instance: &Instance,
    ) -> Result<ActorCell, LoadError> {
        let (name, within) = (child.name().to_owned(), self.options.startup);
        let outcome = tokio::select! {
            started = timeout(within, supervisor.start_child(child)) => started,
            () = self.stopping() => {
                drop_child(supervisor, name).await;
                return Err(LoadError::Stopped);
            }
        };
        match outcome {
            Ok(Ok(cell)) => Ok(cell),
            Ok(Err(source)) => Err(not_started(instance, source)),
            Err(_) => {
                // Whoever hangs in its start is called back.
                drop_child(supervisor, name).await;
                let what = match instance.start() {
                    Start::Children => "one of its children was still starting",
                    Start::Hook | Start::Failed(_) => "its on_startup had not ended",
                };
                let why = format!("{what} after {within:?}");
                Err(LoadError::Start { module: instance.name().to_owned(), why, source: None })
            }
        }
    }

    async fn make_known(&self, instance: &Instance) -> Result<(), LoadError> {
        tokio::select! {
            known = instance.make_known(self.options.healthy) => known,
            () = self.stopping() => Err(LoadError::Stopped),
        }
    }

    /// Stops, by when that was said. Whether all has ended by itself.
    pub(super) async fn shut_down(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        let end = (*self.stopping.borrow()).unwrap_or(now);
        // The rest is for the modules' hooks.
        let until = now + 3 * end.saturating_duration_since(now) / 4;
        let mut has_finished = true;
        #[cfg(feature = "http")]
        {
            has_finished &= self.http.stop_modules(until).await;
        }
        let names: Vec<_> = self.table.load().iter().map(|loaded| loaded.name.clone()).collect();
        for module in names.iter().rev() {
            let stopped = timeout_at(end, self.stop(module, until)).await;
            has_finished &= stopped.unwrap_or(false);
        }
        self.note_end(Ended::ShutDown);
        let left = end.saturating_duration_since(Instant::now());
        has_finished &= self.supervisor.stop_within(left).await.is_clean();
        self.table.store(Arc::default());
        // The last: it may be it that has asked for this.
        #[cfg(feature = "http")]
        self.http.stop_admin().await;
        #[cfg(feature = "database")]
        if self.owns_database
            && let Some(database) = &self.database
            && let Err(why) = database.close().await
        {
            tracing::warn!(target: "umbel::module", %why, "the database was not closed in order");
        }
        if self.owns_system {
            self.system.shutdown(LAST_STOP).await;
        }
        has_finished
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
    pub(super) async fn forget_all_at_the_end(self: Arc<Self>) {
        self.supervisor.ended().await;
        if self.note_end(Ended::Failed) {
            tracing::error!(target: "umbel::module", runtime = %self.name, "its supervisor has ended: its modules failed too often, or its system was shut down");
        }
        // Changes that are under way see that it has ended.
        self.stopping.send_modify(|stopping| {
            stopping.get_or_insert_with(Instant::now);
        });
        let _guard = self.changing.lock().await;
        for loaded in self.table.load().iter() {
            loaded.current().withdraw().await;
            self.unmount(loaded);
        }
        self.table.store(Arc::default());
    }

    /// Whose one of these services is already, as a reason to refuse a module.
    pub(super) fn taken(&self, module: &str, views: &[ServiceView]) -> Option<Failure> {
        let table = self.table.load();
        let others = table.iter().filter(|loaded| loaded.name != module);
        let other = others.map(|loaded| loaded.current()).find_map(|instance| {
            let is_same = |view: &&ServiceView| {
                instance.views.iter().any(|other| other.name() == view.name())
            };
            let service = views.iter().find(is_same)?.name().to_owned();
            Some((service, instance.name().to_owned()))
        });
        other.map(|(service, other)| {
            Failure::new(format!("service '{service}' is module '{other}''s: give it another name"))
        })
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

/// Waits until an instance has finished what it was given. Whether it has, before `until`.
async fn finish(instance: &Instance, requests: Requests, until: Instant) -> bool {
    let (requests, rest) = tokio::join!(requests.finish(until), instance.finish(until));
    requests && rest
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
    if let ChildError::SupervisorGone { .. } | ChildError::Cancelled { .. } = source {
        return LoadError::Overtaken { module: instance.name().to_owned() };
    }
    let why = match instance.start() {
        Start::Failed(failure) => failure.to_string(),
        Start::Children | Start::Hook => source.reason(),
    };
    LoadError::Start { module: instance.name().to_owned(), why, source: Some(source) }
}
