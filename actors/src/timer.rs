//! Messages that are sent later.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::address::{Address, TellError};
use crate::dead_letter::{DeadLetter, DeadLetterReason};
use crate::message::Message;
use crate::system::System;

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

impl System {
    /// Sends `message` after `delay` (OTP's `send_after`), on tokio's clock.
    ///
    /// A timer does not wait: should there be no room for the message then, or no actor, it becomes
    /// a [dead letter](DeadLetter).
    pub fn send_after<M: Message>(&self, delay: Duration, to: &Address<M>, message: M) -> Timer {
        let (system, target) = (self.clone(), to.clone());
        self.timer(to, async move {
            tokio::time::sleep(delay).await;
            system.fire(&target, message);
        })
    }

    /// Sends what `message` makes, every `period` (OTP's `send_interval`), the first time after one
    /// period. A zero period counts as a millisecond, the finest that tokio's timers tell apart.
    ///
    /// A tick for which there is no room, or no actor, becomes a [dead letter](DeadLetter); ticks
    /// that the process was too busy for are not made up for.
    pub fn send_interval<M: Message>(
        &self,
        period: Duration,
        to: &Address<M>,
        mut message: impl FnMut() -> M + Send + 'static,
    ) -> Timer {
        let (system, target) = (self.clone(), to.clone());
        let period = period.max(Duration::from_millis(1));
        self.timer(to, async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                system.fire(&target, message());
            }
        })
    }

    fn timer<M: Message>(
        &self,
        to: &Address<M>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Timer {
        let (system, to) = (self.clone(), to.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = system.stopped() => {}
                () = to.until_gone() => {}
                () = work => {}
            }
        });
        Timer { task: task.abort_handle() }
    }

    fn fire<M: Message>(&self, to: &Address<M>, message: M) {
        let why = match to.try_tell(message) {
            Ok(()) => return,
            Err(TellError::Full(_)) => "there was no room",
            Err(TellError::Restarting(_)) => "the actor was being restarted",
            Err(TellError::Closed(_)) => "the actor was gone",
            Err(TellError::Unreachable { .. }) => "its node could not be reached",
            Err(TellError::Unencodable { .. } | TellError::TooManyAsks { .. }) => {
                "it could not be encoded"
            }
        };
        let why = DeadLetterReason::Timer(why);
        self.dead_letter(DeadLetter::new(to.to_string(), M::NAME, 1, why));
    }
}
