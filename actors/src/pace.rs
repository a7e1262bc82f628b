//! How much of its turn a row of messages takes.

use std::time::Duration;

use tokio::time::Instant;

/// What the messages of a row behind the first, which ractor counts, take of tokio's budget of 128.
///
/// For each 128 units tokio looks at epoll and wakes another worker, which finds nothing to do and sleeps
/// again: with a unit for each small message that was a fifth of what a node did that received them. So
/// [`Self::MESSAGES`] of them share one if they are [brief](Self::BRIEF) together.
pub(crate) struct Pace {
    since: Instant,
    messages: usize,
}

impl Pace {
    const MESSAGES: usize = 32;

    /// With this, an actor that never waits lets others run after 1.3 ms, or after the 128 messages after
    /// which one does that handles one at a time.
    const BRIEF: Duration = Duration::from_micros(10);

    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), messages: 0 }
    }

    /// One more was handled; or it was the last one. The units that are to be taken now.
    pub(crate) fn units(&mut self, is_last: bool) -> usize {
        self.messages += 1;
        if self.messages < Self::MESSAGES && !is_last {
            return 0;
        }
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.since, now);
        let messages = std::mem::take(&mut self.messages);
        if took < Self::BRIEF { 1 } else { messages }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// What 64 messages take that are handled in so long each.
    async fn units(each: Duration) -> usize {
        let mut pace = Pace::begin();
        let mut units = 0;
        for number in 1..=64 {
            advance(each).await;
            units += pace.units(number == 64);
        }
        units
    }

    #[tokio::test(start_paused = true)]
    async fn brief_messages_share_a_unit_and_others_take_one_each() {
        assert_eq!(units(Duration::from_nanos(100)).await, 2);
        assert_eq!(units(Duration::from_micros(1)).await, 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_ends_early_is_counted() {
        let mut pace = Pace::begin();
        assert_eq!([pace.units(false), pace.units(false)], [0, 0]);
        advance(Duration::from_millis(1)).await;
        assert_eq!(pace.units(true), 3);
    }
}
