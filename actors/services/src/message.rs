//! What a service's actor is told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use umbel_actors::{Message, Reply};

use crate::call::RequestId;
use crate::figures::Figures;
use crate::payload::Payload;
use crate::service::Outcome;

/// What the actor of a service is told, on one machine and over links. Callers use a
/// [`ServiceHandle`](crate::ServiceHandle), which says it for them.
#[derive(Debug, Message, Serialize, Deserialize)]
#[message(remote, name = "umbel.ServiceMessage")]
pub enum ServiceMessage {
    /// A request.
    Call(Box<Request>),
    /// How it does.
    Figures(Reply<Figures>),
    /// To look whether its service is well. It ends where its own checks found that it is not.
    Look,
}

/// A request as it travels.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub(crate) method: Cow<'static, str>,
    pub(crate) id: RequestId,
    pub(crate) attempt: u32,
    pub(crate) is_idempotent: bool,
    /// Whether it may come again, so that its outcome is to be remembered.
    pub(crate) is_repeatable: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Payload,
    pub(crate) reply: Reply<Outcome>,
}

impl fmt::Debug for Request {
    /// Without payload and headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
