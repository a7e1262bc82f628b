//! How services are called.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::RequestId;
use crate::chain::Chain;
use crate::policy::{Placement, Policy};

/// How a service is called.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// How long a call may take in all, its retries and waits included. Default: 30 s.
    pub deadline: Duration,
    /// How long one attempt may take; after that, it has failed as one of which nothing is known.
    /// Default: as long as the call.
    pub attempt_deadline: Option<Duration>,
    /// How often a call is tried again at most. Default: 3.
    pub retries: u32,
    /// How long after it has failed. Default: 1 s. One that a stopped or unreachable instance has not
    /// executed is tried at another one at once.
    pub retry_after: Duration,
    /// After how long a call without an answer is sent to a second instance, if the method is
    /// idempotent; the first answer counts. Default: never.
    pub hedge_after: Option<Duration>,
    /// How long is waited for an instance. Default: 5 s, as [`umbel_actors::ASK_DEADLINE`].
    pub resolve_within: Duration,
    /// Which instance is called. Default: one after the other.
    pub policy: Policy,
    /// Where the instances may be. Default: anywhere.
    pub placement: Placement,
    /// What each call goes through, all its attempts together. Default: nothing.
    pub middleware: Chain,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            attempt_deadline: None,
            retries: 3,
            retry_after: Duration::from_secs(1),
            hedge_after: None,
            resolve_within: umbel_actors::ASK_DEADLINE,
            policy: Policy::default(),
            placement: Placement::default(),
            middleware: Chain::new(),
        }
    }
}

/// What is to be different for one call.
///
/// ```
/// use std::time::Duration;
/// use umbel_services::CallOptions;
///
/// let options = CallOptions::new().deadline(Duration::from_secs(2)).retries(0).key("ada");
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(crate) deadline: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) hedge_after: Option<Duration>,
    pub(crate) is_idempotent: Option<bool>,
    pub(crate) id: Option<RequestId>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl CallOptions {
    /// As the service's options have it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take in all.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How often it is tried again at most.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// How long after it has failed.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// After how long without an answer it is sent to a second instance.
    #[must_use]
    pub fn hedge_after(mut self, hedge_after: Duration) -> Self {
        self.hedge_after = Some(hedge_after);
        self
    }

    /// Whether it may be executed more than once, whatever its [method](crate::Method) says; for
    /// calls by JSON, of whose method nothing is known, this is the only word on it.
    #[must_use]
    pub fn idempotent(mut self, is_idempotent: bool) -> Self {
        self.is_idempotent = Some(is_idempotent);
        self
    }

    /// Which request it is. Another call with the same id that comes to the same instance while it
    /// [remembers](crate::HostOptions::remember) is not executed, but told what came of the first.
    #[must_use]
    pub fn id(mut self, id: RequestId) -> Self {
        self.id = Some(id);
        self
    }

    /// What it is about, for [`Policy::ByKey`].
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sends a header along, for middleware and the method.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }
}
