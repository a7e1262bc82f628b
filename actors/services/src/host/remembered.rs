//! Requests that may come again, and what came of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::call::RequestId;

/// How many may wait for the outcome of one request, beside the first.
const JOINED_MAX: usize = 16;

/// Requests by their ids: those that are under way, and the outcomes of those that are done, each for
/// as long as it was said, and no more than there may be. `W` is one who waits, `O` an outcome.
#[derive(Debug)]
pub(crate) struct Remembered<W, O> {
    kept: BTreeMap<RequestId, Kept<W, O>>,
    /// When which is forgotten, the next first.
    ends: VecDeque<(Instant, RequestId)>,
    within: Duration,
    max: usize,
}

#[derive(Debug)]
enum Kept<W, O> {
    Running(Vec<W>),
    Done(O),
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted<W, O> {
    /// It is new.
    New(W),
    /// The same is under way: who waits is told what comes of that.
    Joined,
    /// The same is under way, and too many wait for it.
    TooMany(W),
    /// It is done already.
    Known(W, O),
}

impl<W, O: Clone> Remembered<W, O> {
    pub(crate) fn new(within: Duration, max: usize) -> Self {
        Self { kept: BTreeMap::new(), ends: VecDeque::new(), within, max }
    }

    /// Somebody asks for `id`.
    pub(crate) fn admit(&mut self, now: Instant, id: RequestId, who: W) -> Admitted<W, O> {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_oldest();
        }
        match self.kept.get_mut(&id) {
            None => {
                self.kept.insert(id, Kept::Running(Vec::new()));
                Admitted::New(who)
            }
            Some(Kept::Running(joined)) if joined.len() < JOINED_MAX => {
                joined.push(who);
                Admitted::Joined
            }
            Some(Kept::Running(_)) => Admitted::TooMany(who),
            Some(Kept::Done(outcome)) => Admitted::Known(who, outcome.clone()),
        }
    }

    /// `id` is done; who else waits for it. Where nothing is to be remembered, the next one who asks
    /// is the first again.
    pub(crate) fn done(&mut self, now: Instant, id: RequestId, outcome: Option<O>) -> Vec<W> {
        let before = match outcome {
            Some(outcome) if !self.within.is_zero() && self.max > 0 => {
                while self.ends.len() >= self.max {
                    self.forget_oldest();
                }
                self.ends.push_back((now + self.within, id));
                self.kept.insert(id, Kept::Done(outcome))
            }
            _ => self.kept.remove(&id),
        };
        match before {
            Some(Kept::Running(joined)) => joined,
            Some(Kept::Done(_)) | None => Vec::new(),
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.ends.pop_front() {
            self.kept.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn id(number: u128) -> RequestId {
        RequestId(number)
    }

    #[test]
    fn a_repeat_joins_what_runs_and_is_told_what_came_of_what_is_done() {
        let (now, mut of) = (Instant::now(), Remembered::new(MINUTE, 10));
        assert_eq!(of.admit(now, id(1), "first"), Admitted::New("first"));
        assert_eq!(of.admit(now, id(1), "second"), Admitted::Joined);
        assert_eq!(of.done(now, id(1), Some(7)), ["second"]);
        assert_eq!(of.admit(now, id(1), "third"), Admitted::Known("third", 7));
    }

    #[test]
    fn what_is_not_to_be_remembered_is_new_again() {
        let (now, mut of) = (Instant::now(), Remembered::<_, u8>::new(MINUTE, 10));
        of.admit(now, id(1), "first");
        of.admit(now, id(1), "second");
        assert_eq!(of.done(now, id(1), None), ["second"]);
        assert_eq!(of.admit(now, id(1), "third"), Admitted::New("third"));
    }

    #[test]
    fn an_outcome_is_forgotten_after_its_time() {
        let (now, mut of) = (Instant::now(), Remembered::new(MINUTE, 10));
        of.admit(now, id(1), ());
        of.done(now, id(1), Some(7));
        let before = now + MINUTE - Duration::from_nanos(1);
        assert_eq!(of.admit(before, id(1), ()), Admitted::Known((), 7));
        assert_eq!(of.admit(now + MINUTE, id(1), ()), Admitted::New(()));
    }

    #[test]
    fn no_more_are_remembered_than_may_be_and_the_oldest_goes_first() {
        let (now, mut of) = (Instant::now(), Remembered::new(MINUTE, 3));
        for number in 1..=4 {
            of.admit(now, id(number), ());
            of.done(now, id(number), Some(number));
        }
        assert_eq!((of.kept.len(), of.ends.len()), (3, 3));
        assert_eq!(of.admit(now, id(1), ()), Admitted::New(()));
        assert_eq!(of.admit(now, id(2), ()), Admitted::Known((), 2));
    }

    #[test]
    fn no_more_wait_for_one_than_may() {
        let (now, mut of) = (Instant::now(), Remembered::<_, u8>::new(MINUTE, 3));
        of.admit(now, id(1), 0);
        for who in 1..=JOINED_MAX {
            assert_eq!(of.admit(now, id(1), who), Admitted::Joined);
        }
        assert_eq!(of.admit(now, id(1), 99), Admitted::TooMany(99));
    }
}
