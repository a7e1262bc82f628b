//! What services are asked to do.

use serde::{Deserialize, Serialize};
use umbel_services::Method;

/// What a service is asked to do: to say the request's name, in a certain way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    /// Names the request.
    pub(super) request: String,
    /// How long it takes.
    pub(super) millis: u64,
    pub(super) how: How,
}

/// How a request is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum How {
    Well,
    /// It is answered that it cannot be done.
    Fails,
    /// It is answered that nothing was done, and that it may come again.
    Declines,
    Panics,
    Hangs,
    /// Well, but the service is not well afterwards.
    Sickens,
}

/// To be done once at most.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Once(pub(super) Errand);

impl Method for Once {
    const NAME: &'static str = "once";
    type Answer = String;
}

/// May be done again.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Often(pub(super) Errand);

impl Method for Often {
    const NAME: &'static str = "often";
    const IDEMPOTENT: bool = true;
    type Answer = String;
}
