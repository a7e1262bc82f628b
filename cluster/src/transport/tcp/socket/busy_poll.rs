//! Whether whoever waits for a connection stays awake.

use std::time::Duration;

use tokio::time::Instant;

/// Decides whether whoever waits for the next bytes of a connection looks for them again and again, instead
/// of sleeping until the kernel wakes it: Linux calls it busy polling, KVM halt polling.
///
/// To fall asleep and be woken takes 5 to 30 µs at either end, more where the core was halted, which is
/// most of what a question and its answer take. To look again and again takes a core, and most of another:
/// tokio wakes a second worker whenever one that had nothing to do has found something. So it is done where
/// it pays, and that shows: after [some](STREAK_MIN) waits in a row that were [short](WAIT_MAX) it is
/// tried, and goes on while the waits are [shorter still](WORTH_MAX). Where one message follows upon the
/// other, they become so: both ends stay awake then. What comes in that pace anyhow is polled for, too.
/// Each vain trial takes twice as many short waits to come to the next one, up to [`STREAK_MAX`], so they
/// cost nearly nothing.
///
/// It is soon over where the thread is kept by [other work](GAP_MAX): while that lasts nobody reads, where
/// another worker would have.
#[derive(Debug)]
pub(super) struct BusyPoll {
    mode: Mode,
    wait: Option<Wait>,
    /// The short waits in a row that lead to the next trial.
    streak_min: u32,
}

#[derive(Debug)]
enum Mode {
    /// So many waits in a row were short.
    Sleeping { streak: u32 },
    /// Until it has disappointed so many times more often than it has paid; and how often it has.
    Polling { hope: u32, paid: u32 },
    #[cfg(test)]
    Always,
}

/// Nothing is there to be read.
#[derive(Debug)]
struct Wait {
    since: Instant,
    looked: Instant,
    /// Whoever looked last is to look again at once.
    is_awake: bool,
    /// There was other work to be done between two looks.
    had_work: bool,
}

/// The longest wait that is polled through; only waits that are no longer give cause to try. As KVM's
/// `halt_poll_ns`, which is 200 µs by default. With 100 µs no trial began where cores were halted, and a
/// question took 84 to 95 µs.
const WAIT_MAX: Duration = Duration::from_micros(200);

/// Up to here a wait was worth it: some four times what a question takes when both ends stay awake (17 µs).
const WORTH_MAX: Duration = Duration::from_micros(50);

/// Where more passes between two looks, the thread had other work that took long. What 64 callers ask within
/// one wait is less: polled, they get up to half as many answers again on cores of their own (370,000 to
/// 450,000 a second, where it was 270,000 to 315,000). Where others want the cores it is as many as without,
/// and their p99 half as high again.
const GAP_MAX: Duration = WAIT_MAX;

/// The short waits in a row that lead to the first trial: soon enough for a second one of 50 questions.
const STREAK_MIN: u32 = 8;

/// A trial comes after so many at the latest: one that is vain then takes less than 1 % of the time.
const STREAK_MAX: u32 = 4096;

/// How often a trial may disappoint. The first waits of one do, for the other end still sleeps, and begins
/// its own some waits later; and a machine that is shared takes the core away now and then. With 8, half of
/// the trials failed where others used the machine.
const TRIAL: u32 = 32;

/// What has paid so often, twice as often as a trial may disappoint, is tried again soon.
const PAID: u32 = 64;

/// So many disappointments is a wait in which there was other work.
const WORK_COSTS: u32 = 4;

impl BusyPoll {
    pub(super) fn new() -> Self {
        Self { mode: Mode::Sleeping { streak: 0 }, wait: None, streak_min: STREAK_MIN }
    }

    /// Nothing is there to be read: whether to look again at once.
    pub(super) fn idle(&mut self, now: Instant) -> bool {
        let first = Wait { since: now, looked: now, is_awake: false, had_work: false };
        let is_first = self.wait.is_none();
        let wait = self.wait.get_or_insert(first);
        // By a clock that stands it would never end.
        let time_passes = is_first || now > wait.looked;
        wait.look(now);
        wait.is_awake = match self.mode {
            Mode::Sleeping { .. } => false,
            Mode::Polling { .. } => time_passes && now - wait.since < WAIT_MAX,
            #[cfg(test)]
            Mode::Always => true,
        };
        wait.is_awake
    }

    /// Whoever waits may not stay awake, whatever would pay: this wait is not judged.
    pub(super) fn forget_wait(&mut self) {
        self.wait = None;
    }

    /// Something was read.
    pub(super) fn busy(&mut self, now: impl FnOnce() -> Instant) {
        let Some(mut wait) = self.wait.take() else { return };
        let now = now();
        wait.look(now);
        let waited = now - wait.since;
        let cost = match wait.had_work {
            true => WORK_COSTS,
            false => u32::from(waited > WORTH_MAX),
        };
        match &mut self.mode {
            Mode::Sleeping { streak } if waited > WAIT_MAX => *streak = 0,
            Mode::Sleeping { streak } => {
                *streak += 1;
                if *streak >= self.streak_min {
                    self.mode = Mode::Polling { hope: TRIAL, paid: 0 };
                }
            }
            Mode::Polling { hope, paid } if cost == 0 => {
                *hope = (*hope + 1).min(TRIAL);
                *paid = paid.saturating_add(1);
            }
            Mode::Polling { hope, paid } if *hope <= cost => {
                let is_promising = *paid >= PAID;
                self.streak_min =
                    if is_promising { STREAK_MIN } else { (2 * self.streak_min).min(STREAK_MAX) };
                self.mode = Mode::Sleeping { streak: 0 };
            }
            Mode::Polling { hope, .. } => *hope -= cost,
            #[cfg(test)]
            Mode::Always => {}
        }
    }

    /// One that polls from the first wait on, and for ever.
    #[cfg(test)]
    pub(super) fn always() -> Self {
        Self { mode: Mode::Always, ..Self::new() }
    }
}

impl Wait {
    fn look(&mut self, now: Instant) {
        self.had_work |= self.is_awake && now - self.looked > GAP_MAX;
        self.looked = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Waits, and what was said of them.
    struct Waits {
        busy_poll: BusyPoll,
        now: Instant,
    }

    impl Waits {
        fn new() -> Self {
            Self { busy_poll: BusyPoll::new(), now: Instant::now() }
        }

        /// Waits for so long; says how long of that it was polled.
        fn wait(&mut self, micros: u64) -> u64 {
            self.wait_at_work(micros, 0)
        }

        /// As `wait`; for the first `work` there is something else to be done.
        fn wait_at_work(&mut self, micros: u64, work: u64) -> u64 {
            let end = self.now + Duration::from_micros(micros);
            let mut polled = 0;
            while self.now < end && self.busy_poll.idle(self.now) {
                let step = if polled == 0 { work.max(1) } else { 1 };
                self.now += Duration::from_micros(step);
                polled += step;
            }
            self.now = end;
            self.busy_poll.busy(|| end);
            polled
        }
    }

    #[test]
    fn what_comes_seldom_is_slept_for() {
        let mut waits = Waits::new();
        assert!((0..1000).all(|_| waits.wait(201) == 0));
    }

    #[test]
    fn what_follows_upon_the_other_is_polled_for() {
        let mut waits = Waits::new();
        // Both ends sleep; then both stay awake.
        assert!((0..STREAK_MIN).all(|_| waits.wait(90) == 0));
        assert_eq!([60, 40, 15].map(|wait| waits.wait(wait)), [60, 40, 15]);
        assert!((0..10_000).all(|_| waits.wait(15) == 15));
        // Now and then one takes longer.
        assert!((0..10_000).all(|number| waits.wait(if number % 3 == 0 { 80 } else { 15 }) > 0));
    }

    #[test]
    fn a_pause_is_slept_through_and_is_forgiven() {
        let mut waits = Waits::new();
        for _ in 0..100 {
            waits.wait(15);
        }
        assert_eq!([1_000_000, 15, 15].map(|wait| waits.wait(wait)), [200, 15, 15]);
    }

    #[test]
    fn what_has_paid_is_tried_again_soon() {
        let mut waits = Waits::new();
        for _ in 0..100 {
            waits.wait(15);
        }
        assert!((0..TRIAL).all(|_| waits.wait(1_000_000) == 200));
        assert!((0..1000).all(|_| waits.wait(1_000_000) == 0));
        assert!((0..STREAK_MIN).all(|_| waits.wait(90) == 0));
        assert_eq!(waits.wait(15), 15);
    }

    #[test]
    fn what_comes_at_a_pace_of_its_own_is_hardly_ever_polled_for() {
        let mut waits = Waits::new();
        let mut polled = |count| (0..count).map(|_| waits.wait(100)).sum::<u64>();
        polled(STREAK_MAX * 2 + TRIAL * 10);
        let share = polled(100_000) * 1000 / 10_000_000;
        assert!((1..=10).contains(&share), "{share} per mille");
    }

    #[test]
    fn who_is_kept_by_other_work_soon_stops_polling() {
        let mut waits = Waits::new();
        for _ in 0..100 {
            waits.wait(15);
        }
        assert!((0..TRIAL / WORK_COSTS).all(|_| waits.wait_at_work(5_000, 5_000) > 0));
        assert_eq!(waits.wait_at_work(5_000, 5_000), 0);
        // What others do within a wait is no reason to stop.
        let mut waits = Waits::new();
        for _ in 0..STREAK_MIN {
            waits.wait(40);
        }
        assert!((0..1000).all(|_| waits.wait_at_work(40, 30) > 0));
    }

    #[test]
    fn a_wait_that_may_not_be_polled_is_not_taken_for_other_work() {
        let mut waits = Waits::new();
        for _ in 0..100 {
            waits.wait(15);
        }
        for _ in 0..1000 {
            assert!(waits.busy_poll.idle(waits.now));
            waits.busy_poll.forget_wait();
            waits.now += Duration::from_millis(5);
            waits.busy_poll.busy(|| waits.now);
        }
        assert_eq!(waits.wait(15), 15);
    }

    #[test]
    fn what_comes_within_50_us_at_a_pace_of_its_own_is_polled_for_all_the_same() {
        let mut waits = Waits::new();
        assert!((0..STREAK_MIN).all(|_| waits.wait(40) == 0));
        assert!((0..10_000).all(|_| waits.wait(40) == 40));
    }

    #[test]
    fn by_a_clock_that_stands_nobody_looks_twice() {
        let mut waits = Waits::new();
        for _ in 0..1000 {
            waits.busy_poll.idle(waits.now);
            assert!(!waits.busy_poll.idle(waits.now));
            waits.busy_poll.busy(|| waits.now);
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_polled_for_longer_than_200_us(
            all in prop::collection::vec(prop_oneof![1..60_u64, 1..300_u64, 1..2_000_u64], 0..300),
        ) {
            let mut waits = Waits::new();
            for wait in all {
                prop_assert!(waits.wait(wait) <= 200);
            }
        }
    }
}
