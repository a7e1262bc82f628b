use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::{Flow, Middleware};
use crate::call::Call;
use crate::error::CallError;

/// Lets so many calls a second through, and a burst at once; one more is
/// [rejected](CallError::Rejected), and told after how long it may pass. By `governor`, on tokio's
/// clock.
#[derive(Debug)]
pub struct RateLimit {
    quota: Quota,
    limiter: RateLimiter<NotKeyed, InMemoryState, Tokio, NoOpMiddleware<Since>>,
    clock: Tokio,
}

impl RateLimit {
    /// So many calls a second (one at least), and as many at once.
    #[must_use]
    pub fn per_second(calls: u32) -> Self {
        Self::of(Quota::per_second(NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN)))
    }

    /// The same with so many at once (one at least).
    #[must_use]
    pub fn burst(self, calls: u32) -> Self {
        Self::of(self.quota.allow_burst(NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN)))
    }

    fn of(quota: Quota) -> Self {
        let clock = Tokio(Arc::new(std::sync::OnceLock::new()));
        Self { quota, limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }
}

impl Middleware for RateLimit {
    async fn before(&self, _: &mut Call) -> Result<Flow, CallError> {
        match self.limiter.check() {
            Ok(()) => Ok(Flow::Continue),
            Err(until) => {
                let now = self.clock.now();
                Err(CallError::Rejected {
                    by: "rate limit".into(),
                    why: format!("{} calls a second are let through", self.per_second_now()),
                    again_after: Some(until.wait_time_from(now)),
                })
            }
        }
    }
}

impl RateLimit {
    fn per_second_now(&self) -> u32 {
        let interval = self.quota.replenish_interval();
        u32::try_from(Duration::from_secs(1).as_nanos() / interval.as_nanos().max(1))
            .unwrap_or(u32::MAX)
    }
}

/// tokio's clock, from the first look at it on: a chain may be made where no runtime is yet.
#[derive(Clone, Debug)]
struct Tokio(Arc<std::sync::OnceLock<Instant>>);

impl Clock for Tokio {
    type Instant = Since;

    fn now(&self) -> Since {
        let now = Instant::now();
        // Later than all beginnings, as governor reckons with times before now.
        let since = now.saturating_duration_since(*self.0.get_or_init(|| now));
        Since(since)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Since(Duration);

impl std::ops::Add<Nanos> for Since {
    type Output = Self;

    fn add(self, other: Nanos) -> Self {
        Self(self.0.saturating_add(other.into()))
    }
}

impl Reference for Since {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.into()))
    }
}
