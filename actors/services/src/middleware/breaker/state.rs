//! When a circuit breaker opens and closes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When a circuit breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerOptions {
    /// How many of the last calls count. Default: 20.
    pub window: usize,
    /// How many there must have been before it may open. Default: 10.
    pub calls_min: usize,
    /// It opens when this share of them has failed, from 0 to 1. Default: 0.5.
    pub failed_share: f64,
    /// How long it stays open. Default: 5 s.
    pub open_for: Duration,
    /// How many calls are let through on trial; when all of them have gone well, it closes, and when
    /// one has not, it opens again. Default: 3.
    pub trials: usize,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            window: 20,
            calls_min: 10,
            failed_share: 0.5,
            open_for: Duration::from_secs(5),
            trials: 3,
        }
    }
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// All are.
    Closed = 0,
    /// Some are, on trial.
    HalfOpen = 1,
    /// None is.
    Open = 2,
}

/// How a call that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Good,
    Bad,
    /// It says nothing.
    Not,
}

/// The breaker itself: told what happens, and when.
#[derive(Debug)]
pub(super) struct Breaker {
    options: BreakerOptions,
    phase: Phase,
    /// Counts phases, so that a call that was let through in an earlier one changes nothing.
    turn: u64,
}

#[derive(Debug)]
enum Phase {
    /// Whether each of the last calls went well, the oldest first.
    Closed(VecDeque<bool>),
    Open {
        until: Instant,
    },
    HalfOpen {
        under_way: usize,
        good: usize,
    },
}

impl Breaker {
    pub(super) fn new(options: BreakerOptions) -> Self {
        let options = BreakerOptions {
            window: options.window.max(1),
            calls_min: options.calls_min.clamp(1, options.window.max(1)),
            trials: options.trials.max(1),
            ..options
        };
        Self { options, phase: Phase::Closed(VecDeque::new()), turn: 0 }
    }

    /// What it was when it was last stepped.
    pub(super) fn told(&self) -> BreakerState {
        match self.phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// What a call that came now would find.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Open { until } if until <= now => BreakerState::HalfOpen,
            _ => self.told(),
        }
    }

    /// A call comes: its turn where it is let through, else after how long one may be.
    pub(super) fn admit(&mut self, now: Instant) -> Result<u64, Duration> {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Err(until - now);
            }
            self.enter(Phase::HalfOpen { under_way: 0, good: 0 });
        }
        if let Phase::HalfOpen { under_way, good } = &mut self.phase {
            if *under_way + *good >= self.options.trials {
                return Err(self.options.open_for);
            }
            *under_way += 1;
        }
        Ok(self.turn)
    }

    /// A call that was let through at `turn` has ended.
    pub(super) fn ended(&mut self, now: Instant, turn: u64, judged: Judged) {
        if turn != self.turn {
            return;
        }
        let options = self.options;
        match (&mut self.phase, judged) {
            (Phase::Closed(last), Judged::Good | Judged::Bad) => {
                if last.len() == options.window {
                    last.pop_front();
                }
                last.push_back(judged == Judged::Good);
                let failed = last.iter().filter(|good| !**good).count();
                let is_enough = last.len() >= options.calls_min && failed > 0;
                if is_enough && failed as f64 >= options.failed_share * last.len() as f64 {
                    self.enter(Phase::Open { until: now + options.open_for });
                }
            }
            (Phase::HalfOpen { under_way, good }, judged) => {
                *under_way -= 1;
                match judged {
                    Judged::Good => *good += 1,
                    Judged::Bad => {
                        return self.enter(Phase::Open { until: now + options.open_for });
                    }
                    Judged::Not => {}
                }
                if *good >= options.trials {
                    self.enter(Phase::Closed(VecDeque::new()));
                }
            }
            (Phase::Closed(_) | Phase::Open { .. }, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn options() -> BreakerOptions {
        BreakerOptions { window: 4, calls_min: 2, trials: 2, ..BreakerOptions::default() }
    }

    fn call(breaker: &mut Breaker, now: Instant, judged: Judged) -> bool {
        let Ok(turn) = breaker.admit(now) else { return false };
        breaker.ended(now, turn, judged);
        true
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(options());
        for _ in 0..2 {
            assert!(call(&mut breaker, now, Judged::Bad));
        }
        assert_eq!(breaker.told(), BreakerState::Open);
        breaker
    }

    #[test]
    fn it_opens_when_half_of_the_last_calls_have_failed() {
        let (now, mut breaker) = (Instant::now(), Breaker::new(options()));
        for judged in [Judged::Bad, Judged::Good] {
            assert_eq!(breaker.told(), BreakerState::Closed);
            call(&mut breaker, now, judged);
        }
        assert_eq!(breaker.told(), BreakerState::Open, "one of two");
        let mut breaker = Breaker::new(options());
        for _ in 0..9 {
            for judged in [Judged::Good, Judged::Good, Judged::Good, Judged::Bad] {
                assert!(call(&mut breaker, now, judged), "one of four");
            }
        }
    }

    #[test]
    fn what_says_nothing_of_the_service_does_not_count() {
        let (now, mut breaker) = (Instant::now(), Breaker::new(options()));
        for _ in 0..9 {
            assert!(call(&mut breaker, now, Judged::Not));
        }
        assert_eq!(breaker.told(), BreakerState::Closed);
    }

    #[test]
    fn open_it_lets_none_through_until_its_time_is_over() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + 4 * SECOND), Err(SECOND));
        assert_eq!(breaker.state(now + 5 * SECOND), BreakerState::HalfOpen);
        assert!(breaker.admit(now + 5 * SECOND).is_ok());
    }

    #[test]
    fn trials_that_go_well_close_it_and_no_more_than_may_are_under_way() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 5 * SECOND;
        let turns = [breaker.admit(later).unwrap(), breaker.admit(later).unwrap()];
        assert!(breaker.admit(later).is_err());
        breaker.ended(later, turns[0], Judged::Good);
        assert!(breaker.admit(later).is_err());
        breaker.ended(later, turns[1], Judged::Good);
        assert_eq!(breaker.told(), BreakerState::Closed);
    }

    #[test]
    fn one_trial_that_goes_badly_opens_it_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 5 * SECOND;
        let turns = [breaker.admit(later).unwrap(), breaker.admit(later).unwrap()];
        breaker.ended(later, turns[0], Judged::Bad);
        assert_eq!(breaker.told(), BreakerState::Open);
        breaker.ended(later, turns[1], Judged::Good);
        assert_eq!(breaker.told(), BreakerState::Open, "it is of an earlier turn");
    }

    #[test]
    fn a_trial_that_is_given_up_makes_room_for_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 5 * SECOND;
        for _ in 0..9 {
            assert!(call(&mut breaker, later, Judged::Not));
        }
        assert_eq!(breaker.told(), BreakerState::HalfOpen);
    }
}
