use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::call::Call;
use crate::chain::{Chain, Link};
use crate::error::CallError;
use crate::service::Outcome;

/// How much of what there is one service may take: so many calls at once, and so many that wait for
/// so long. One more is [rejected](CallError::Rejected), so that a service that has become slow does
/// not bind all of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// How many are under way at once (one at least). Default: 25.
    pub concurrent_max: usize,
    /// How many wait for that at most. Default: none.
    pub waiting_max: usize,
    /// How long they wait at most. Default: 1 s.
    pub wait: Duration,
}

impl Default for Bulkhead {
    fn default() -> Self {
        Self { concurrent_max: 25, waiting_max: 0, wait: Duration::from_secs(1) }
    }
}

impl Chain {
    /// Adds a bulkhead, inside of what was added before.
    #[must_use]
    pub fn bulkhead(self, options: Bulkhead) -> Self {
        let places = Places {
            options,
            free: Semaphore::new(options.concurrent_max.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
        };
        let places = Arc::new(places);
        self.link(move |next| Arc::new(Walled { places: places.clone(), next }))
    }

    /// Adds a bound on how many calls are under way at once (one at least), inside of what was added
    /// before: tower's `GlobalConcurrencyLimitLayer`. Others wait for their turn, within their
    /// deadlines; to bound how many, take a [bulkhead](Chain::bulkhead).
    #[must_use]
    pub fn concurrency_limit(self, calls: usize) -> Self {
        let calls = calls.clamp(1, Semaphore::MAX_PERMITS);
        self.layer(GlobalConcurrencyLimitLayer::new(calls))
    }
}

struct Places {
    options: Bulkhead,
    free: Semaphore,
    waiting: AtomicUsize,
}

struct Walled {
    places: Arc<Places>,
    next: Arc<dyn Link>,
}

/// One who waits; counted until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Link for Walled {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let Places { options, free, waiting } = &*self.places;
            let rejected = |why: String| {
                let service = call.context.service.to_string();
                metrics::counter!("umbel_service_bulkhead_rejected_total", "service" => service)
                    .increment(1);
                CallError::Rejected { by: "bulkhead".into(), why, again_after: None }
            };
            let place = match free.try_acquire() {
                Ok(place) => place,
                Err(_) => {
                    let before = waiting.fetch_add(1, Ordering::AcqRel);
                    let _waiting = Waiting(waiting);
                    if before >= options.waiting_max {
                        let Bulkhead { concurrent_max, waiting_max, .. } = options;
                        return Err(rejected(format!(
                            "{concurrent_max} calls are under way, and {waiting_max} may wait"
                        )));
                    }
                    let wait = options.wait.min(call.context.remaining());
                    match timeout(wait, free.acquire()).await {
                        Ok(place) => place.expect("it is never closed"),
                        Err(_) => return Err(rejected(format!("no place within {wait:?}"))),
                    }
                }
            };
            let outcome = self.next.call(call).await;
            drop(place);
            outcome
        })
    }
}
