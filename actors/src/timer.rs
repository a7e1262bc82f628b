//! Messages that are sent later.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::address::Address;
use crate::dead_letter::{DeadLetter, DeadLetterReason};
use crate::message::Message;
use crate::slot::{Offer, Slot};

/// A message that is to be sent later, or again and again.
///
/// [`Timer::cancel`] takes it back. Dropping the handle leaves the timer running; it ends by itself
/// when it has fired, when the actor is gone for good, or when the system shuts down.
#[derive(Clone, Debug)]
pub struct Timer {
    task: AbortHandle,
}

impl Timer {
    /// Takes the timer back. What it has already sent stays sent.
    pub fn cancel(&self) {
        self.task.abort();
    }

    /// Whether it has ended: fired for the last time, or was cancelled.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<M: Message> Address<M> {
    /// Sends `message` after `delay` (OTP's `send_after`), on tokio's clock.
    ///
    /// Should the mailbox be full or the actor be gone then, the message becomes a
    /// [dead letter](crate::DeadLetter). Only for actors of this machine: a timer belongs beside
    /// its actor.
    ///
    /// # Panics
    /// On a remote address.
    pub fn send_after(&self, delay: Duration, message: M) -> Timer {
        let slot = self.local_slot().clone();
        self.timer(async move {
            tokio::time::sleep(delay).await;
            fire(&slot, message);
        })
    }

    /// Sends what `message` makes, every `period` (OTP's `send_interval`), the first time after one
    /// period. Ticks that the mailbox had no room for are skipped, not made up for.
    ///
    /// # Panics
    /// On a remote address, and where `period` is zero.
    pub fn send_interval(
        &self,
        period: Duration,
        mut message: impl FnMut() -> M + Send + 'static,
    ) -> Timer {
        let slot = self.local_slot().clone();
        self.timer(async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                fire(&slot, message());
            }
        })
    }

    fn timer(&self, work: impl Future<Output = ()> + Send + 'static) -> Timer {
        let slot = self.local_slot().clone();
        let system = slot.system.upgrade();
        let task = tokio::spawn(async move {
            let stopped = async {
                match system {
                    Some(system) => system.stopped().await,
                    None => {}
                }
            };
            tokio::select! {
                biased;
                () = stopped => {}
                () = slot.until_gone() => {}
                () = work => {}
            }
        });
        Timer { task: task.abort_handle() }
    }
}

fn fire<M: Message>(slot: &Slot<M>, message: M) {
    let why = match slot.offer(message, Default::default) {
        Offer::Accepted => return,
        Offer::Full(..) => "the mailbox was full",
        Offer::Absent(_) => "the actor was being restarted",
        Offer::Gone(_) => "the actor was gone",
    };
    if let Some(system) = slot.system.upgrade() {
        let why = DeadLetterReason::Timer(why);
        system.dead_letter(DeadLetter::new(slot.label.clone(), M::NAME, 1, why));
    }
}
