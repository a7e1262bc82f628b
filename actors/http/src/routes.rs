//! What is mounted where, while it changes.

mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use table::Table;
pub use table::{PREFIX_BYTES_MAX, ROUTES_MAX};

/// The paths that a server answers itself.
pub const RESERVED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The table of what is mounted. Clones are the same table; one may serve several servers, and none.
///
/// A router that is mounted at `/catalog` gets `/catalog/tea` as `/tea`, and both `/catalog` and
/// `/catalog/` as `/`, as axum's `nest_service` hands them on. No prefix lies within another, so one look
/// finds whose a request is.
///
/// ```
/// use axum::{Router, routing::get};
/// use umbel_http::Routes;
///
/// let routes = Routes::new();
/// let v1 = Router::new().route("/tea", get(|| async { "250" }));
/// let mut catalog = routes.mount("/catalog", v1)?;
/// assert!(routes.mount("/catalog/tea", Router::new()).is_err());
///
/// let v2 = Router::new().route("/tea", get(|| async { "260" }));
/// let retired = catalog.replace(v2);          // no request sees neither
/// assert!(retired.is_idle());
/// catalog.unmount();
/// assert_eq!(routes.prefixes().len(), 0);
/// # Ok::<(), umbel_http::MountError>(())
/// ```
#[derive(Clone, Default)]
pub struct Routes {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: ArcSwap<Table<Arc<Generation>>>,
    /// Held by who changes the table.
    changing: Mutex<()>,
}

/// One router at its prefix. Who handles a request of it holds it, so that its end tells that all
/// requests have ended.
pub(crate) struct Generation {
    pub(crate) router: Router,
    pub(crate) prefix: Arc<str>,
    /// Dropped last: when nothing is left of the router.
    _gone: watch::Sender<()>,
}

/// Why a router was not mounted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MountError {
    /// That is no prefix.
    #[error("{prefix:?} is not a prefix: {why}; write it like /catalog or /shop/catalog")]
    NotAPrefix {
        /// What was given.
        prefix: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another router has it, or lies within it, or has it within.
    #[error("{prefix} cannot be mounted: {by} is; unmount that first, or replace it")]
    Taken {
        /// What was given.
        prefix: String,
        /// The prefix that it would overlap with.
        by: String,
    },
    /// The server answers there itself.
    #[error("{prefix} cannot be mounted: the server itself answers {by}")]
    Reserved {
        /// What was given.
        prefix: String,
        /// The server's path.
        by: &'static str,
    },
    /// As many are mounted as can be.
    #[error("{prefix} cannot be mounted: {ROUTES_MAX} routers are, and more cannot be")]
    Full {
        /// What was given.
        prefix: String,
    },
}

impl Routes {
    /// A table without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Mounts `router` under `prefix`, until what is returned is dropped.
    ///
    /// A prefix is one or more segments of letters, digits, `-`, `.`, `_` and `~`, each after a slash.
    ///
    /// # Errors
    /// It is none, or overlaps with one that is mounted or that is the server's own.
    pub fn mount(&self, prefix: &str, router: Router) -> Result<Mounted, MountError> {
        table::check(prefix)?;
        let reserved = RESERVED.into_iter().find(|reserved| table::overlap(reserved, prefix));
        if let Some(by) = reserved {
            return Err(MountError::Reserved { prefix: prefix.into(), by });
        }
        let prefix: Arc<str> = prefix.into();
        let generation = Generation::new(&prefix, router);
        // A router may own what is mounted elsewhere: it is not dropped while the table is changed.
        self.change(|table| table.insert(prefix.clone(), generation.clone()))?;
        Ok(Mounted { routes: self.clone(), prefix, is_kept: false })
    }

    /// The prefixes that are mounted, in order.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Arc<str>> {
        self.shared.table.load().prefixes().cloned().collect()
    }

    /// Whose the path is.
    pub(crate) fn find(&self, path: &str) -> Option<Arc<Generation>> {
        // What is swapped out while this guard is held stays until it is dropped.
        self.shared.table.load().find(path).cloned()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table<Arc<Generation>>) -> T) -> T {
        let _changing = self.shared.changing.lock();
        let mut table = Table::clone(&self.shared.table.load());
        let outcome = change(&mut table);
        self.shared.table.store(Arc::new(table));
        outcome
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routes").field(&self.prefixes()).finish()
    }
}

impl Generation {
    fn new(prefix: &Arc<str>, router: Router) -> Arc<Self> {
        // By itself the router has its own fallbacks, with the layers that guard them.
        let router = Router::new().nest_service(prefix, router);
        Arc::new(Self { router, prefix: prefix.clone(), _gone: watch::channel(()).0 })
    }

    fn retired(self: Arc<Self>) -> Retired {
        Retired { prefix: self.prefix.clone(), gone: self._gone.subscribe() }
    }
}

/// A router that is mounted. Dropped, it is unmounted.
#[must_use = "a router is unmounted when this is dropped; see `Mounted::keep`"]
pub struct Mounted {
    routes: Routes,
    prefix: Arc<str>,
    is_kept: bool,
}

impl Mounted {
    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Mounts `router` in the place of what was there, in one step: each request goes to the one or to
    /// the other. Those that are under way end where they began.
    pub fn replace(&mut self, router: Router) -> Retired {
        let generation = Generation::new(&self.prefix, router);
        let old = self.routes.change(|table| table.replace(&self.prefix, generation));
        old.expect("what is mounted is in the table until it is unmounted").retired()
    }

    /// Takes the router away. What is asked from now on is answered 404, and what is under way ends.
    pub fn unmount(mut self) -> Retired {
        self.is_kept = true;
        self.remove().expect("what is mounted is in the table until it is unmounted").retired()
    }

    /// Leaves it mounted as long as the table lives.
    pub fn keep(mut self) {
        self.is_kept = true;
    }

    fn remove(&self) -> Option<Arc<Generation>> {
        self.routes.change(|table| table.remove(&self.prefix))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.is_kept {
            self.remove();
        }
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mounted").field(&self.prefix).finish()
    }
}

/// A router that gets no more requests.
#[derive(Clone)]
pub struct Retired {
    prefix: Arc<str>,
    gone: watch::Receiver<()>,
}

impl Retired {
    /// Waits until all requests that it had have ended, for `within` at most; whether they have. One
    /// ends when the last of its answer has been handed on to the connection, which may yet be sending it. Then the router is dropped, unless its owner has a clone.
    ///
    /// Connections that were upgraded (WebSockets) are not waited for.
    pub async fn idle(&self, within: Duration) -> bool {
        let mut gone = self.gone.clone();
        let all = async { while gone.changed().await.is_ok() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Whether they have ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.gone.has_changed().is_err()
    }

    /// Where it was mounted.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Debug for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Retired");
        told.field("prefix", &self.prefix).field("is_idle", &self.is_idle()).finish()
    }
}
