//! A time of peace: all must be well within a time, and stay so.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bounds::STAYS;
use super::node::name;

/// A time of peace. All is well when it looks so from outside, and all nodes, asked to ask everybody, have
/// been answered.
#[derive(Debug, Default)]
pub(super) struct Peace {
    pub(super) since: Duration,
    within: Duration,
    nodes: usize,
    orders: u64,
    /// Who has been answered, of those who were told to ask.
    asked: Option<BTreeSet<usize>>,
    /// Why that did not succeed the last time.
    trouble: Option<String>,
    well_since: Option<Duration>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All are to ask everybody, under this number.
    Ask(u64),
    /// All is well, and has to stay so.
    Wait,
    /// Something is not well yet.
    NotYet(String),
    /// All is well, and was for a while; how long it took.
    Well(Duration),
    /// It has taken too long.
    TooLong(String),
}

impl Peace {
    /// Peace among so many nodes from now on, in which all must be well within a time. Answers to orders
    /// up to the number `orders` are of another time.
    pub(super) fn new(nodes: usize, since: Duration, within: Duration, orders: u64) -> Self {
        Self { since, within, nodes, orders, ..Self::default() }
    }

    /// The number of the last order.
    pub(super) fn orders(&self) -> u64 {
        self.orders
    }

    /// A node has been answered by everybody, or there is trouble.
    pub(super) fn hear(&mut self, node: usize, order: u64, trouble: Option<String>) {
        let Some(answered) = self.asked.as_mut().filter(|_| order == self.orders) else { return };
        if trouble.is_none() {
            answered.insert(node);
        } else {
            (self.asked, self.trouble) = (None, trouble);
        }
    }

    /// Looks at how it goes, with what is wrong as seen from outside.
    pub(super) fn step(&mut self, now: Duration, trouble: Option<String>) -> Step {
        let trouble = match (trouble, &self.asked) {
            (Some(trouble), _) => {
                (self.asked, self.well_since) = (None, None);
                trouble
            }
            (None, Some(answered)) if answered.len() == self.nodes => {
                let since = *self.well_since.get_or_insert(now);
                let stays = now >= since + STAYS;
                return if stays { Step::Well(since - self.since) } else { Step::Wait };
            }
            (None, Some(answered)) => {
                let waits = (0..self.nodes).find(|node| !answered.contains(node));
                format!("{} waits for answers", name(waits.unwrap_or_default()))
            }
            (None, None) if now < self.since + self.within => {
                self.orders += 1;
                self.asked = Some(BTreeSet::new());
                return Step::Ask(self.orders);
            }
            (None, None) => "not all were answered".to_owned(),
        };
        if now < self.since + self.within {
            return Step::NotYet(trouble);
        }
        let last = self.trouble.as_ref().map(|last| format!("; before that: {last}"));
        Step::TooLong(trouble + &last.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peace() -> Peace {
        Peace::new(2, SECOND, 10 * SECOND, 7)
    }

    #[test]
    fn all_is_well_when_it_looks_so_and_all_were_answered_and_it_stays_so() {
        let mut peace = peace();
        let down = || "a node is down".to_owned();
        assert_eq!(peace.step(2 * SECOND, Some(down())), Step::NotYet(down()));
        assert_eq!(peace.step(2 * SECOND, None), Step::Ask(8));
        peace.hear(0, 8, None);
        peace.hear(1, 7, None);
        let waits = Step::NotYet("n1 waits for answers".to_owned());
        assert_eq!(peace.step(3 * SECOND, None), waits);
        peace.hear(1, 8, None);
        assert_eq!(peace.step(4 * SECOND, None), Step::Wait);
        assert_eq!(peace.step(4 * SECOND + STAYS, None), Step::Well(3 * SECOND));
    }

    #[test]
    fn trouble_in_between_has_all_asked_again() {
        let mut peace = peace();
        assert_eq!(peace.step(2 * SECOND, None), Step::Ask(8));
        peace.hear(0, 8, Some("no answer".to_owned()));
        assert_eq!(peace.step(2 * SECOND, None), Step::Ask(9));
        peace.hear(0, 9, None);
        peace.hear(1, 9, None);
        assert_eq!(peace.step(3 * SECOND, None), Step::Wait);
        let disagree = || "they disagree".to_owned();
        assert_eq!(peace.step(3 * SECOND, Some(disagree())), Step::NotYet(disagree()));
        assert_eq!(peace.step(9 * SECOND, None), Step::Ask(10));
        assert_eq!(peace.orders(), 10);
    }

    #[test]
    fn what_is_not_well_in_time_is_told_with_what_was_wrong_before() {
        let mut peace = peace();
        assert_eq!(peace.step(2 * SECOND, None), Step::Ask(8));
        peace.hear(0, 8, Some("no answer".to_owned()));
        let told = Step::TooLong("they disagree; before that: no answer".to_owned());
        assert_eq!(peace.step(11 * SECOND, Some("they disagree".to_owned())), told);
        let told = Step::TooLong("not all were answered; before that: no answer".to_owned());
        assert_eq!(peace.step(11 * SECOND, None), told);
    }
}
