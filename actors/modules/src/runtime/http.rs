//! The routes of modules on one server, and the admin API on another.

mod admin;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use umbel_http::{
    Bearer, HttpOptions, HttpServer, Metrics, MountError, Mounted, Readiness, Retired, Routes,
};

use super::{Instance, Shared};
use crate::config::HttpConfig;
use crate::error::{LoadError, StartRuntimeError};

/// What is done with the routes of each module before they are mounted.
pub(crate) type Layering = Arc<dyn Fn(Router) -> Router + Send + Sync>;

/// What the servers are made of.
#[derive(Clone, Default)]
pub(crate) struct HttpParts {
    pub(crate) config: Option<HttpConfig>,
    pub(crate) options: HttpOptions,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) layering: Option<Layering>,
}

/// The table of routes, and the servers over it.
#[derive(Default)]
pub(crate) struct Http {
    routes: Routes,
    layering: Option<Layering>,
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    modules: Option<HttpServer>,
    admin: Option<HttpServer>,
}

/// Where a module's routes are mounted, if it has some.
pub(crate) type Mount = Mutex<Option<Mounted>>;

/// A router that is to be mounted.
pub(crate) struct Prepared {
    prefix: String,
    router: Router,
}

impl Http {
    pub(super) fn new(layering: Option<Layering>) -> Self {
        Self { layering, ..Self::default() }
    }

    /// The addresses at which modules' routes are, and at which the admin API is.
    pub(super) fn addresses(&self) -> [Vec<std::net::SocketAddr>; 2] {
        let servers = self.servers.lock();
        [&servers.modules, &servers.admin]
            .map(|server| server.as_ref().map(|one| one.addresses().to_vec()).unwrap_or_default())
    }

    /// The routes of an instance, with the runtime's layers; `None` where it has none.
    pub(super) fn prepare(&self, instance: &Instance) -> Result<Option<Prepared>, LoadError> {
        let module = instance.name().to_owned();
        let router = instance.module.routes(&instance.context);
        let router = router.map_err(|why| LoadError::Register { module, why })?;
        if !router.has_routes() {
            return Ok(None);
        }
        let router = match &self.layering {
            Some(layering) => layering(router),
            None => router,
        };
        Ok(Some(Prepared { prefix: instance.module.prefix(), router }))
    }

    /// Mounts what an instance has, in the place of what was mounted before. What was retired may have
    /// requests under way.
    ///
    /// # Errors
    /// The prefix cannot be had; nothing was changed.
    pub(super) fn mount(
        &self,
        module: &str,
        mount: &Mount,
        prepared: Option<Prepared>,
    ) -> Result<Option<Retired>, LoadError> {
        let mut mounted = mount.lock();
        let Some(Prepared { prefix, router }) = prepared else {
            return Ok(mounted.take().map(Mounted::unmount));
        };
        match mounted.as_mut() {
            Some(mounted) if mounted.prefix() == prefix => Ok(Some(mounted.replace(router))),
            _ => {
                let wrong = |why: MountError| LoadError::Mount { module: module.to_owned(), why };
                let new = self.routes.mount(&prefix, router).map_err(wrong)?;
                Ok(mounted.replace(new).map(Mounted::unmount))
            }
        }
    }

    /// Lets requests end, for `within` at most, and serves no more.
    pub(super) async fn shut_down(&self, within: Duration) {
        let Servers { modules, admin } = std::mem::take(&mut *self.servers.lock());
        let stop = async |server: Option<HttpServer>| match server {
            Some(server) => server.shutdown(within).await,
            None => 0,
        };
        // Not the admin API's: it may be it that asks for this.
        let cut = stop(modules).await;
        if cut > 0 {
            tracing::warn!(target: "umbel::module", cut, "requests were cut off");
        }
        stop(admin).await;
    }
}

impl Shared {
    /// Listens, where that is configured.
    pub(super) async fn serve(self: &Arc<Self>, parts: HttpParts) -> Result<(), StartRuntimeError> {
        let Some(config) = parts.config else { return Ok(()) };
        // Before anything is listened at.
        let guard = match &config.admin {
            Some(admin) => Some((admin, Bearer::new(admin.token.clone())?)),
            None => None,
        };
        let (ready, asked) = (Arc::downgrade(self), Arc::downgrade(self));
        let mut server = HttpServer::builder(self.http.routes.clone())
            .listen(config.listen.as_str())
            .options(parts.options.clone())
            .ready(move || readiness(ready.clone()));
        if let Some(metrics) = parts.metrics {
            server = server.metrics(metrics);
        }
        let modules = server.start().await?;
        let admin = match guard {
            Some((admin, guard)) => {
                let routes = Routes::new();
                let mounted = routes.mount(admin::PREFIX, admin::router(asked).layer(guard));
                mounted.expect("nothing else is mounted there").keep();
                let server = HttpServer::builder(routes).listen(admin.listen.as_str());
                Some(server.options(parts.options).start().await?)
            }
            None => None,
        };
        *self.http.servers.lock() = Servers { modules: Some(modules), admin };
        Ok(())
    }
}

/// Whether all modules can do their work, and the database.
async fn readiness(runtime: Weak<Shared>) -> Readiness {
    let Some(runtime) = runtime.upgrade() else {
        return Readiness::new().unready("runtime", "it has stopped");
    };
    let mut readiness = Readiness::new().part("runtime", runtime.is_ready());
    for health in runtime.health().await {
        readiness = readiness.part(health.module, health.why.map_or(Ok(()), Err));
    }
    #[cfg(feature = "database")]
    if let Some(database) = &runtime.database {
        let health = database.health().await;
        readiness = readiness.part("database", health.map(drop).map_err(|why| why.to_string()));
    }
    readiness
}
