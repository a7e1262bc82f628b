use std::sync::Arc;

use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use super::{Brood, Overdue};
use crate::{Event, Happening};

/// What a supervisor has from those above it.
#[derive(Clone)]
pub(crate) struct Lineage {
    /// The names from the root down to itself, joined by `/`.
    pub(crate) path: Arc<str>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) overdue: Overdue,
    /// When the root was started.
    origin: Instant,
    /// Turns true when the supervisor should no longer try to start.
    call_back: Option<watch::Receiver<bool>>,
    /// Where the supervisor above sees who lives, if there is one.
    pub(super) brood: Option<Brood>,
}

impl Lineage {
    pub(super) fn root(name: Arc<str>, events_kept: usize) -> Self {
        let (events, _) = broadcast::channel(events_kept);
        Self {
            path: name,
            events,
            overdue: Overdue::default(),
            origin: Instant::now(),
            call_back: None,
            brood: None,
        }
    }

    pub(super) fn below(
        &self,
        child: &str,
        call_back: watch::Receiver<bool>,
        brood: Option<Brood>,
    ) -> Self {
        Self {
            path: self.path_of(child),
            events: self.events.clone(),
            overdue: self.overdue.clone(),
            origin: self.origin,
            call_back: Some(call_back),
            brood,
        }
    }

    pub(super) fn path_of(&self, child: &str) -> Arc<str> {
        format!("{}/{child}", self.path).into()
    }

    /// Waits until the supervisor should no longer try to start: perhaps for ever.
    pub(super) async fn called_back(&self) {
        if let Some(mut call_back) = self.call_back.clone()
            && call_back.wait_for(|called_back| *called_back).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    pub(super) fn tell<'a>(
        &self,
        child: impl FnOnce() -> Option<&'a Arc<str>>,
        what: impl FnOnce() -> Happening,
    ) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let event = Event {
            at: self.origin.elapsed(),
            supervisor: self.path.clone(),
            child: child().cloned(),
            what: what(),
        };
        // The last reader may just have gone.
        let _ = self.events.send(event);
    }
}
