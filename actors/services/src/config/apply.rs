//! What a configuration makes of what a program says.

use super::step::chain;
use super::value::{Count, Span};
use super::{HostConfig, ServiceConfig, ServicesConfig};
use crate::host::HostOptions;
use crate::services::ServiceOptions;

impl ServicesConfig {
    /// Whether it says anything of this service.
    pub(crate) fn names(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// Sets what it says of how a service is called.
    pub(crate) fn apply(&self, service: &str, options: &mut ServiceOptions) {
        self.default.apply(service, options);
        if let Some(own) = self.services.get(service) {
            own.apply(service, options);
        }
    }

    /// Sets what it says of how a service is run.
    pub(crate) fn apply_to_host(&self, service: &str, options: &mut HostOptions) {
        self.default.host.apply(service, options);
        if let Some(own) = self.services.get(service) {
            own.host.apply(service, options);
        }
    }
}

impl ServiceConfig {
    fn apply(&self, service: &str, options: &mut ServiceOptions) {
        set(&mut options.deadline, self.deadline.map(span));
        set(&mut options.retries, self.retries.map(|number| number.0));
        set(&mut options.retry_after, self.retry_after.map(span));
        set(&mut options.resolve_within, self.resolve_within.map(span));
        set(&mut options.policy, self.policy);
        set(&mut options.placement, self.placement);
        set(&mut options.middleware, self.middleware.as_deref().map(|it| chain(it, service)));
        options.attempt_deadline = self.attempt_deadline.map(span).or(options.attempt_deadline);
        options.hedge_after = self.hedge_after.map(span).or(options.hedge_after);
    }
}

impl HostConfig {
    fn apply(&self, service: &str, options: &mut HostOptions) {
        set(&mut options.workers, self.workers.map(count));
        set(&mut options.queue, self.queue.map(count));
        set(&mut options.queue_bytes, self.queue_bytes.map(count));
        set(&mut options.queue_wait, self.queue_wait.map(span));
        set(&mut options.deadline, self.deadline.map(span));
        set(&mut options.remember, self.remember.map(span));
        set(&mut options.remembered, self.remembered.map(count));
        set(&mut options.max_restarts, self.max_restarts.map(|number| number.0));
        set(&mut options.restart_period, self.restart_period.map(span));
        set(&mut options.health_interval, self.health_interval.map(span));
        set(&mut options.health_timeout, self.health_timeout.map(span));
        let failures = self.health_failures.map(count);
        set(&mut options.health_failures, failures.map(|it| u32::try_from(it).unwrap_or(u32::MAX)));
        set(&mut options.drain, self.drain.map(span));
        set(&mut options.middleware, self.middleware.as_deref().map(|it| chain(it, service)));
    }
}

fn set<T>(option: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *option = said;
    }
}

fn span(span: Span) -> std::time::Duration {
    span.0
}

fn count(count: Count) -> usize {
    count.0
}
