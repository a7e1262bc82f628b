//! No calls for a while to a service that does not do well.

mod state;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use umbel_actors::{Subscription, Topic};

use self::state::{Breaker, Judged};
pub use self::state::{BreakerOptions, BreakerState};
use crate::call::Call;
use crate::chain::{Chain, Link};
use crate::error::CallError;
use crate::service::Outcome;

/// Lets no calls through for a while to a service that does not do well, so that they fail at once
/// and the service can recover.
///
/// Closed, it watches the last calls; when too many of them were [the service's](
/// CallError::is_the_services) failures, it opens. Open, it rejects all. After a while it is half open:
/// some calls are let through on trial, and as they do, it closes or opens again.
///
/// Its state is told by [events](CircuitBreaker::events), and by the gauge
/// `umbel_service_breaker_state` (0 closed, 1 half open, 2 open) and the counter
/// `umbel_service_breaker_changes_total`. Add it by [`Chain::circuit_breaker`].
///
/// (`tower-resilience` has one; it reads the operating system's clock, so it can neither be tested
/// with paused time nor simulated.)
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

/// The state of a circuit breaker has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// The breaker's name.
    pub name: Arc<str>,
    /// What it is now.
    pub to: BreakerState,
}

struct Shared {
    name: Arc<str>,
    breaker: Mutex<Breaker>,
    changes: Topic<BreakerChange>,
}

impl CircuitBreaker {
    /// A breaker that is closed. `name` is what it is called in events and figures, usually the
    /// service's.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, options: BreakerOptions) -> Self {
        let (breaker, changes) = (Mutex::new(Breaker::new(options)), Topic::new("umbel.breaker"));
        Self { shared: Arc::new(Shared { name: name.into(), breaker, changes }) }
    }

    /// What it is now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.shared.breaker.lock().state(Instant::now())
    }

    /// Its changes, from now on.
    #[must_use]
    pub fn events(&self) -> Subscription<BreakerChange> {
        self.shared.changes.subscribe()
    }
}

impl Shared {
    /// Steps the breaker, and tells of what has changed.
    fn step<T>(&self, step: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let now = Instant::now();
        let mut breaker = self.breaker.lock();
        let before = breaker.told();
        let stepped = step(&mut breaker, now);
        let to = breaker.told();
        if to != before {
            // Under the lock, so that changes are told in their order.
            let name = self.name.clone();
            self.changes.publish(BreakerChange { name, to });
            let labels = [("service", self.name.to_string())];
            metrics::gauge!("umbel_service_breaker_state", &labels).set(f64::from(to as u8));
            metrics::counter!("umbel_service_breaker_changes_total", &labels).increment(1);
            tracing::info!(target: "umbel::service", service = %self.name, ?to, "circuit breaker");
        }
        stepped
    }
}

impl Chain {
    /// Adds a circuit breaker, inside of what was added before.
    #[must_use]
    pub fn circuit_breaker(mut self, breaker: &CircuitBreaker) -> Self {
        self.breakers.push(breaker.clone());
        let shared = breaker.shared.clone();
        self.link(move |next| Arc::new(Broken { shared: shared.clone(), next }))
    }
}

struct Broken {
    shared: Arc<Shared>,
    next: Arc<dyn Link>,
}

/// A call that was let through; judged when it has ended, or dropped.
struct Passing<'a> {
    shared: &'a Shared,
    /// In which of the breaker's states it was let through.
    turn: u64,
    judged: Judged,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let (turn, judged) = (self.turn, self.judged);
        self.shared.step(|breaker, now| breaker.ended(now, turn, judged));
    }
}

impl Link for Broken {
    fn call(&self, call: Call) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let turn = match self.shared.step(Breaker::admit) {
                Ok(turn) => turn,
                Err(again_after) => return Err(self.rejected(again_after)),
            };
            let mut passing = Passing { shared: &self.shared, turn, judged: Judged::Not };
            let outcome = self.next.call(call).await;
            passing.judged = match &outcome {
                Err(why) if why.is_the_services() => Judged::Bad,
                // It says nothing of the service: something between has refused.
                Err(CallError::Rejected { .. }) => Judged::Not,
                _ => Judged::Good,
            };
            drop(passing);
            outcome
        })
    }
}

impl Broken {
    fn rejected(&self, again_after: Duration) -> CallError {
        let service = self.shared.name.to_string();
        metrics::counter!("umbel_service_breaker_rejected_total", "service" => service)
            .increment(1);
        let (by, why) = ("circuit breaker".into(), "the service does not do well".into());
        CallError::Rejected { by, why, again_after: Some(again_after) }
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.shared.name)
            .field("state", &self.shared.breaker.lock().told())
            .finish()
    }
}
