//! A call on its way, as middleware and methods see it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use umbel_actors::System;

use crate::host::Gather;
use crate::payload::Payload;
use crate::services::Manner;

/// Which request this is: the same in all attempts of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u128);

impl RequestId {
    /// One that nobody else has, by the system's seeded generator.
    #[must_use]
    pub fn new(system: &System) -> Self {
        Self(u128::from(system.random()) << 64 | u128::from(system.random()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What is known of a call beside its request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The service that is called.
    pub service: Arc<str>,
    /// Its method.
    pub method: Cow<'static, str>,
    /// Which request it is.
    pub id: RequestId,
    /// Which attempt it is, from 1. Middleware around a whole call sees 1.
    pub attempt: u32,
    /// When nobody waits for its answer any more.
    pub deadline: Instant,
    /// When it was begun here: by its caller, or when the service got it.
    pub begun: Instant,
    /// Whether it may be executed more than once.
    pub is_idempotent: bool,
    /// What travels with it, beside the request: a tenant, a token.
    pub headers: BTreeMap<String, String>,
}

impl Context {
    /// How long its caller still waits.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// A call on its way, as middleware sees it.
#[derive(Debug)]
pub struct Call {
    /// What is known of it.
    pub context: Context,
    /// Its request.
    pub request: Payload,
    /// The batch that it is to be executed in.
    pub(crate) gather: Option<Arc<Gather>>,
    /// How its caller wants it.
    pub(crate) manner: Option<Manner>,
}

impl Call {
    pub(crate) fn new(context: Context, request: Payload) -> Self {
        Self { context, request, gather: None, manner: None }
    }
}
