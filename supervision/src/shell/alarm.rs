use std::time::Duration;

use ractor::ActorRef;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::Request;

/// The one timer of a supervisor: all back-offs share it.
#[derive(Default)]
pub(super) struct Alarm {
    set: Option<(Duration, AbortHandle)>,
}

impl Alarm {
    /// Has a `Tick` sent at this time of the engine's, and at no other.
    pub(super) fn set(
        &mut self,
        at: Option<Duration>,
        origin: Instant,
        myself: &ActorRef<Request>,
        tasks: &mut JoinSet<()>,
    ) {
        if self.set.as_ref().map(|(at, _)| *at) == at {
            return;
        }
        if let Some((_, task)) = self.set.take() {
            task.abort();
        }
        self.set = at.map(|at| {
            let myself = myself.clone();
            let task = tasks.spawn(async move {
                tokio::time::sleep_until(origin + at).await;
                // Refused by a supervisor that is on its way out: it starts nothing any more.
                let _ = myself.send_message(Request::Tick);
            });
            (at, task)
        });
    }

    /// The `Tick` has come.
    pub(super) fn rang(&mut self) {
        self.set = None;
    }
}
