//! The routes of modules on one server, and the admin API on another.

mod admin;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::time::Instant;
use umbel_http::{
    Bearer, HttpOptions, HttpServer, Metrics, MountError, Mounted, Problem, Readiness, Routes,
};

use super::lifecycle::Standing;
use super::requests::Requests;
use super::{Instance, LAST_STOP, Shared};
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

/// Where a module's routes are mounted, if it has some, and which they are.
pub(crate) type Mount = Mutex<Option<(Prepared, Mounted)>>;

/// A router that is to be mounted. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Prepared {
    prefix: String,
    router: Router,
}

impl Http {
    pub(super) fn new(layering: Option<Layering>) -> Self {
        Self { layering, ..Self::default() }
    }

    /// Where modules' routes are.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        addresses(self.servers.lock().modules.as_ref())
    }

    /// Where the admin API is.
    pub(super) fn admin_addresses(&self) -> Vec<SocketAddr> {
        addresses(self.servers.lock().admin.as_ref())
    }

    /// The routes of an instance, with the runtime's layers; `None` where it has none.
    pub(super) fn prepare(&self, instance: &Instance) -> Result<Option<Prepared>, LoadError> {
        let module = instance.name().to_owned();
        let router = instance.module.routes(&instance.context);
        let router = router.map_err(|why| LoadError::Register { module, why })?;
        if !router.has_routes() {
            return Ok(None);
        }
        let standing = instance.standing().clone();
        let is_up = from_fn(move |request, next: Next| while_up(standing.clone(), request, next));
        let router = router.layer(is_up);
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
    /// The prefix cannot be had; what was mounted before is.
    pub(super) fn mount(
        &self,
        module: &str,
        mount: &Mount,
        prepared: Option<Prepared>,
    ) -> Result<Requests, LoadError> {
        let Some(new) = prepared else { return Ok(self.unmount(mount)) };
        let mut place = mount.lock();
        if let Some((old, mounted)) = place.as_mut()
            && old.prefix == new.prefix
        {
            let retired = Some(mounted.replace(new.router.clone()));
            *old = new;
            return Ok(Requests { retired });
        }
        let wrong = |why: MountError| LoadError::Mount { module: module.to_owned(), why };
        let mounted = |one: &Prepared| self.routes.mount(&one.prefix, one.router.clone());
        match mounted(&new) {
            Ok(there) => {
                let old = place.replace((new, there));
                Ok(Requests { retired: old.map(|(_, mounted)| mounted.unmount()) })
            }
            Err(MountError::Taken { by, .. })
                if place.as_ref().is_some_and(|(old, _)| old.prefix == by) =>
            {
                // What is in the way is its own: between the two nothing is there for a moment.
                let (old, there) = place.take().expect("it was just seen");
                let retired = Some(there.unmount());
                match mounted(&new) {
                    Ok(there) => *place = Some((new, there)),
                    Err(why) => {
                        // Another's is in the way as well.
                        let there = mounted(&old).expect("nobody else mounts meanwhile");
                        *place = Some((old, there));
                        return Err(wrong(why));
                    }
                }
                Ok(Requests { retired })
            }
            Err(why) => Err(wrong(why)),
        }
    }

    /// What is mounted.
    pub(super) fn mounted(&self, mount: &Mount) -> Option<Prepared> {
        mount.lock().as_ref().map(|(prepared, _)| prepared.clone())
    }

    pub(super) fn unmount(&self, mount: &Mount) -> Requests {
        Requests { retired: mount.lock().take().map(|(_, mounted)| mounted.unmount()) }
    }

    /// Lets requests for modules end, and takes in no more. Whether all have ended, before `until`.
    pub(super) async fn stop_modules(&self, until: Instant) -> bool {
        let server = self.servers.lock().modules.take();
        let Some(server) = server else { return true };
        let cut = server.shutdown(until.saturating_duration_since(Instant::now())).await;
        if cut > 0 {
            tracing::warn!(target: "umbel::module", cut, "requests were cut off");
        }
        cut == 0
    }

    pub(super) async fn stop_admin(&self) {
        let server = self.servers.lock().admin.take();
        if let Some(server) = server {
            server.shutdown(LAST_STOP).await;
        }
    }
}

fn addresses(server: Option<&HttpServer>) -> Vec<SocketAddr> {
    server.map(|server| server.addresses().to_vec()).unwrap_or_default()
}

/// A module that is being started again answers nothing but that.
async fn while_up(standing: Arc<Standing>, request: Request, next: Next) -> Response {
    if standing.is_up() {
        return next.run(request).await;
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
        .detail("the module has failed and is being started again");
    ([(header::RETRY_AFTER, "1")], problem).into_response()
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
                // A change of the modules takes its time, and its outcome is worth waiting for.
                let deadline = parts.options.deadline.max(self.options.longest_change());
                let options = HttpOptions { deadline, ..parts.options };
                Some(server.options(options).start().await?)
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
