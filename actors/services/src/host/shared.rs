//! What all lives of a service share.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::Instant;
use umbel_actors::Clock;

use super::options::HostOptions;
use crate::figures::{Figures, Tally};

/// What all lives of a service share.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) options: HostOptions,
    epoch: (Duration, Instant),
    tally: Mutex<Tally>,
    is_well: AtomicBool,
    /// Told when `is_well` has changed. (Which is read for each call: a look at this would be a lock.)
    wellness: watch::Sender<()>,
    /// Told when nothing waits or runs any more.
    idle: Notify,
    last: Mutex<Option<Remains>>,
}

impl Shared {
    pub(crate) fn new(name: Arc<str>, options: HostOptions, clock: &dyn Clock) -> Self {
        let epoch = (clock.now(), Instant::now());
        Self {
            name,
            options,
            epoch,
            tally: Mutex::new(Tally::new()),
            is_well: AtomicBool::new(false),
            wellness: watch::Sender::new(()),
            idle: Notify::new(),
            last: Mutex::new(None),
        }
    }

    /// What may be left of the life before.
    pub(crate) fn take_last(&self) -> Option<Remains> {
        self.last.lock().take()
    }

    pub(crate) fn set_last(&self, remains: Remains) {
        *self.last.lock() = Some(remains);
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    /// A request has come.
    pub(crate) fn came(&self, now: Instant) {
        let mut tally = self.tally();
        tally.requests += 1;
        tally.last_activity = Some(now);
    }

    /// One came that was there before.
    pub(crate) fn repeated(&self) {
        self.tally().repeats += 1;
    }

    /// One was refused before it was taken in.
    pub(crate) fn refused(&self, kind: &'static str) {
        self.tally().ended(None, Some(kind));
    }

    /// One that was taken in has ended, so long after it came if it was begun.
    pub(crate) fn ended(&self, now: Instant, took: Option<Duration>, error: Option<&'static str>) {
        let mut tally = self.tally();
        match took {
            Some(_) => tally.running -= 1,
            None => tally.waiting -= 1,
        }
        tally.ended(took, error);
        tally.last_activity = Some(now);
        let is_idle = tally.waiting + tally.running == 0;
        drop(tally);
        if is_idle {
            self.idle.notify_waiters();
        }
    }

    /// Ends when nothing waits or runs.
    pub(crate) async fn until_idle(&self) {
        loop {
            let mut told = std::pin::pin!(self.idle.notified());
            told.as_mut().enable();
            if self.is_idle() {
                return;
            }
            told.await;
        }
    }

    fn is_idle(&self) -> bool {
        let tally = self.tally();
        tally.waiting + tally.running == 0
    }

    pub(crate) fn set_well(&self, is_well: bool) {
        if self.is_well.swap(is_well, Ordering::AcqRel) != is_well {
            self.wellness.send_replace(());
        }
    }

    /// Tells of each change of [`Shared::is_well`] from now on.
    pub(crate) fn wellness(&self) -> watch::Receiver<()> {
        self.wellness.subscribe()
    }

    pub(crate) fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Acquire)
    }

    pub(crate) fn figures(&self) -> Figures {
        self.tally().figures(&self.name, self.options.workers, self.epoch)
    }
}

/// What may be left of a life.
pub(crate) struct Remains {
    /// Its sender is dropped with the life.
    life: watch::Receiver<()>,
    service: Weak<dyn Any + Send + Sync>,
}

impl Remains {
    pub(crate) fn new(life: watch::Receiver<()>, service: &Arc<impl Any + Send + Sync>) -> Self {
        let service: Arc<dyn Any + Send + Sync> = service.clone();
        Self { life, service: Arc::downgrade(&service) }
    }

    /// Waits until nothing is left. Its tasks were told to end; one that blocks keeps the next life waiting, which
    /// would else find locked what the service's value owns.
    pub(crate) async fn gone(mut self) {
        while self.life.changed().await.is_ok() {}
        // A batch may hold the value for a moment more.
        while self.service.strong_count() > 0 {
            yield_now().await;
        }
    }
}
