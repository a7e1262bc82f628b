//! What a module is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use umbel_services::Failure;

use crate::context::ModuleContext;
use crate::registration::Registration;

/// A part of a program that is started, stopped and replaced as one: services, actors, handlers of
/// events, and what it offers to other modules.
///
/// A module is a supervisor; what it registers are its children. The value itself is made by a
/// factory, once for each time the module is loaded, reloaded or upgraded. Hooks are called in this order:
/// `on_register`, then, with all children up, `on_startup`; and when it is stopped `on_shutdown`, with
/// all children still up. Where the supervisor restarts the module, `on_shutdown` and `on_startup` are
/// called again, on the same value.
pub trait Module: Send + Sync + 'static {
    /// Its name, by which others require it; one of a kind in a runtime.
    fn name(&self) -> &str;

    /// The modules that must be up before it, and stay until it has stopped.
    fn requires(&self) -> &[&str] {
        &[]
    }

    /// What the runtime must have for it.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// What its part of the database needs, step by step. Run before it is registered, each step once on
    /// a database; those of the modules that it requires have run by then. While a new instance takes over,
    /// the old one works on the new schema: so add, and take away with a later version only.
    #[cfg(feature = "database")]
    fn migrations(&self) -> &[umbel_database::Migration] {
        &[]
    }

    /// What it answers on the runtime's HTTP server, under [`prefix`](Module::prefix), from when it is up
    /// until it is stopped. Nothing is mounted where it has no routes. Called after
    /// [`on_register`](Module::on_register), once for each instance.
    #[cfg(feature = "http")]
    fn routes(&self, context: &ModuleContext) -> axum::Router {
        let _ = context;
        axum::Router::new()
    }

    /// Under which path its routes are. Default: `/` and its name.
    #[cfg(feature = "http")]
    fn prefix(&self) -> String {
        format!("/{}", self.name())
    }

    /// Declares what it consists of. Nothing runs yet.
    ///
    /// # Errors
    /// Whatever the module says; it is not started then.
    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        let _ = module;
        Ok(())
    }

    /// Called when its children are up, before it is given work: its services are not found yet, and its
    /// routes are not there. (Where the module is started again after a failure, calls that wait for a service
    /// of its are taken up as soon as that is up.)
    ///
    /// # Errors
    /// Whatever the module says; it counts as not started then.
    fn on_startup(
        &self,
        context: &ModuleContext,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = context;
        async { Ok(()) }
    }

    /// Called before its children are stopped.
    ///
    /// # Errors
    /// Whatever the module says; it is logged, and the module is stopped all the same.
    fn on_shutdown(
        &self,
        context: &ModuleContext,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = context;
        async { Ok(()) }
    }

    /// Whether it can do its work. A new instance is not switched to before it can; a running one is
    /// only reported, for its services have health checks of their own.
    ///
    /// # Errors
    /// Why it cannot.
    fn health(&self, context: &ModuleContext) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = context;
        async { Ok(()) }
    }
}

/// What a module needs of its runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// A database.
    pub database: bool,
}

impl Needs {
    /// A database.
    #[must_use]
    pub fn database() -> Self {
        Self { database: true }
    }
}

/// Makes a module's value, for each time that it is loaded.
#[derive(Clone)]
pub(crate) struct Factory(Arc<dyn Fn() -> Made + Send + Sync>);

/// A module of any type.
pub(crate) type Made = Arc<dyn AnyModule>;

impl Factory {
    pub(crate) fn new<M: Module>(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Arc::new(make())))
    }

    /// A panic is a failure with its text.
    pub(crate) fn make(&self) -> Result<Made, Failure> {
        catch_unwind(AssertUnwindSafe(&*self.0)).map_err(|panic| panicked(&*panic))
    }
}

/// [`Module`] with boxed futures, and whose panics are failures.
pub(crate) trait AnyModule: Send + Sync {
    fn name(&self) -> &str;
    fn requires(&self) -> Vec<String>;
    fn needs(&self) -> Needs;
    #[cfg(feature = "database")]
    fn migrations(&self) -> &[umbel_database::Migration];
    #[cfg(feature = "http")]
    fn routes(&self, context: &ModuleContext) -> Result<axum::Router, Failure>;
    #[cfg(feature = "http")]
    fn prefix(&self) -> String;
    fn on_register(&self, module: &mut Registration) -> Result<(), Failure>;
    fn on_startup<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>>;
    fn on_shutdown<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>>;
    fn health<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>>;
}

impl dyn AnyModule {
    /// Whether it needs a database, by its own word or because it has migrations.
    pub(crate) fn needs_database(&self) -> bool {
        #[cfg(feature = "database")]
        if !self.migrations().is_empty() {
            return true;
        }
        self.needs().database
    }
}

impl<M: Module> AnyModule for M {
    fn name(&self) -> &str {
        Module::name(self)
    }

    fn requires(&self) -> Vec<String> {
        Module::requires(self).iter().map(ToString::to_string).collect()
    }

    fn needs(&self) -> Needs {
        Module::needs(self)
    }

    #[cfg(feature = "database")]
    fn migrations(&self) -> &[umbel_database::Migration] {
        Module::migrations(self)
    }

    #[cfg(feature = "http")]
    fn routes(&self, context: &ModuleContext) -> Result<axum::Router, Failure> {
        // axum panics where two routes overlap.
        catch_unwind(AssertUnwindSafe(|| Module::routes(self, context)))
            .map_err(|panic| panicked(&*panic))
    }

    #[cfg(feature = "http")]
    fn prefix(&self) -> String {
        Module::prefix(self)
    }

    fn on_register(&self, module: &mut Registration) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(|| Module::on_register(self, module)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    fn on_startup<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>> {
        caught(async move { Module::on_startup(self, context).await })
    }

    fn on_shutdown<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>> {
        caught(async move { Module::on_shutdown(self, context).await })
    }

    fn health<'a>(&'a self, context: &'a ModuleContext) -> BoxFuture<'a, Result<(), Failure>> {
        caught(async move { Module::health(self, context).await })
    }
}

fn caught<'a>(
    hook: impl Future<Output = Result<(), Failure>> + Send + 'a,
) -> BoxFuture<'a, Result<(), Failure>> {
    let hook = AssertUnwindSafe(hook).catch_unwind();
    Box::pin(async { hook.await.unwrap_or_else(|panic| Err(panicked(&*panic))) })
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is not text");
    Failure::new(format!("it panicked: {text}"))
}
