use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{interval, sleep, timeout};

use crate::connection::{Serving, Stage};
use crate::dispatch::{AskReadiness, Dispatch};
use crate::metrics::{Metrics, UPKEEP};
use crate::options::HttpOptions;
use crate::readiness::Readiness;
use crate::routes::Routes;

/// How long nothing is accepted after the system could not, for want of files, say.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it may take to cut off who is still there, before their handlers count as blocked.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// A server of HTTP/1.1 over [`Routes`], which come and go while it runs. Dropped, it ends at once;
/// [`HttpServer::shutdown`] lets requests end first.
///
/// Beside the routes it answers `/healthz` (200 while the process lives), `/readyz` (200, or 503 with the
/// parts that are not ready) and `/metrics` (Prometheus' text). Whatever goes wrong is answered as a
/// [`Problem`](crate::Problem). It has no TLS: what other machines are to reach stands behind a proxy that has.
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    stage: watch::Sender<Stage>,
    places: Arc<Semaphore>,
    places_max: usize,
    serving: Arc<Serving>,
}

/// Declares an [`HttpServer`].
#[must_use = "nothing listens before `start`"]
pub struct HttpServerBuilder {
    routes: Routes,
    addresses: Vec<String>,
    ready: Option<AskReadiness>,
    metrics: Option<Metrics>,
    options: HttpOptions,
}

/// Why a server was not started. It listens nowhere.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was not said where.
    #[error("the server has no address: say where it listens, at 127.0.0.1:8080 for instance")]
    NoAddress,
    /// It cannot listen there.
    #[error("the server cannot listen at {address}: {why}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        why: io::Error,
    },
}

impl HttpServerBuilder {
    /// Where it listens: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; port 0 is any that is free.
    /// Several are allowed. Without a name or `127.0.0.1` before it, other machines can reach it.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// What `/readyz` asks, each time. No answer within 5 s is one: not ready. Without it the process is
    /// ready as soon as it listens.
    pub fn ready<F, R>(mut self, ready: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Readiness> + Send + 'static,
    {
        self.ready = Some(Arc::new(move || ready().boxed()));
        self
    }

    /// What `/metrics` tells. Without it there is nothing.
    pub fn metrics(mut self, metrics: impl Into<Metrics>) -> Self {
        self.metrics = Some(metrics.into());
        self
    }

    /// Other bounds than the default ones.
    pub fn options(mut self, options: HttpOptions) -> Self {
        self.options = options;
        self
    }

    /// Listens. When this returns, clients can connect.
    ///
    /// # Errors
    /// There is no address, or one at which it cannot listen.
    pub async fn start(self) -> Result<HttpServer, StartError> {
        if self.addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in self.addresses {
            let bound = TcpListener::bind(&address).await;
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (bound, listener) =
                bound.map_err(|why| StartError::Listen { address: address.clone(), why })?;
            addresses.push(bound);
            listeners.push(listener);
        }
        let options = self.options.sane();
        let (stage, watching) = watch::channel(Stage::Serving);
        if let Some(metrics) = self.metrics.clone() {
            tokio::spawn(tidy_up(metrics, watching.clone()));
        }
        let places_max = options.connections;
        let places = Arc::new(Semaphore::new(places_max));
        let dispatch = Dispatch {
            routes: self.routes,
            ready: self.ready,
            metrics: self.metrics,
            deadline: options.deadline,
        };
        let serving = Arc::new(Serving { dispatch, options, cut: AtomicUsize::new(0) });
        for listener in listeners {
            let door = Door {
                listener,
                serving: serving.clone(),
                places: places.clone(),
                stage: watching.clone(),
            };
            tokio::spawn(door.keep());
        }
        tracing::info!(?addresses, "http server listens");
        Ok(HttpServer { addresses, stage, places, places_max, serving })
    }
}

impl std::fmt::Debug for HttpServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut told = f.debug_struct("HttpServerBuilder");
        told.field("routes", &self.routes).field("addresses", &self.addresses);
        told.field("options", &self.options).finish_non_exhaustive()
    }
}

impl HttpServer {
    /// A server over `routes`, to be told where it listens.
    pub fn builder(routes: Routes) -> HttpServerBuilder {
        let (addresses, options) = (Vec::new(), HttpOptions::default());
        HttpServerBuilder { routes, addresses, ready: None, metrics: None, options }
    }

    /// Where it listens, in the order in which it was told to.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections it has.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.places_max - self.places.available_permits()
    }

    /// Takes no more connections, lets requests end that are under way for `within` at most, and cuts off
    /// the rest. How many were, those included whose handlers block their threads and cannot be ended.
    ///
    /// Connections that were upgraded (WebSockets) are their handlers' to end.
    pub async fn shutdown(self, within: Duration) -> usize {
        self.stage.send_replace(Stage::Ending);
        if timeout(within, self.stage.closed()).await.is_err() {
            // Whoever still listens drops its connection now, and with it what it was doing.
            self.stage.send_replace(Stage::Cut);
        }
        let is_blocked = timeout(CUT_WITHIN, self.stage.closed()).await.is_err();
        let blocked = if is_blocked { self.stage.receiver_count() } else { 0 };
        let cut = self.serving.cut.load(Ordering::SeqCst) + blocked;
        tracing::info!(addresses = ?self.addresses, cut, "http server has ended");
        cut
    }
}

/// One address and who knocks at it.
struct Door {
    listener: TcpListener,
    serving: Arc<Serving>,
    places: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

impl Door {
    async fn keep(self) {
        let mut stage = self.stage.clone();
        tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => {}
            () = self.let_in() => {}
        }
    }

    async fn let_in(&self) {
        let mut has_failed = false;
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                // The client's matter, not ours.
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(why) => {
                    if !has_failed {
                        tracing::warn!(%why, "no connection could be accepted; trying on");
                    }
                    has_failed = true;
                    sleep(PAUSE).await;
                    continue;
                }
            };
            has_failed = false;
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            self.serve(stream, peer, place);
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        if let Err(why) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %why, "answers may be delayed");
        }
        let serving = self.serving.clone();
        tokio::spawn(serving.serve(stream, peer, self.stage.clone(), place));
    }
}

async fn tidy_up(metrics: Metrics, mut stage: watch::Receiver<Stage>) {
    let mut interval = interval(UPKEEP);
    loop {
        tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => return,
            _ = interval.tick() => metrics.tidy_up(),
        }
    }
}
