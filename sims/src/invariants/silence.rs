use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "silence";

/// A subscriber hears nothing before it has subscribed, and nothing after it was told that it does no
/// more; of each publisher it hears nothing twice or late; and in the end, nobody has heard what was never
/// published.
#[derive(Default)]
pub(super) struct Silence {
    open: BTreeSet<String>,
    /// What each subscription has heard last of each publisher.
    heard: BTreeMap<(String, String), u64>,
    published: BTreeMap<String, u64>,
}

impl Invariant for Silence {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Published { publisher, number } => {
                let last = self.published.entry(publisher.clone()).or_default();
                *last = (*last).max(*number);
            }
            Record::Subscribed { subscription } => {
                self.open.insert(subscription.clone());
            }
            Record::Unsubscribed { subscription } => {
                self.open.remove(subscription);
            }
            Record::Heard { subscription, publisher, number } => {
                if !self.open.contains(subscription) {
                    let what = format!("{subscription} hears number {number} of {publisher}");
                    findings.report(NAME, format!("{what}, and is no subscription"));
                }
                let key = (subscription.clone(), publisher.clone());
                let last = self.heard.entry(key).or_default();
                if *number <= *last {
                    let what = format!("{subscription} hears number {number} of {publisher}");
                    findings.report(NAME, format!("{what} after {last}"));
                }
                *last = (*last).max(*number);
            }
            _ => {}
        }
    }

    fn settled(&mut self, _: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for ((subscription, publisher), heard) in &self.heard {
            let published = self.published.get(publisher).copied().unwrap_or(0);
            if *heard > published {
                let what = format!("{subscription} has heard number {heard} of {publisher}");
                findings.report(NAME, format!("{what}, who published {published}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, settled};
    use super::*;

    fn published(number: u64) -> Record {
        Record::Published { publisher: "p".into(), number }
    }

    fn subscribed() -> Record {
        Record::Subscribed { subscription: "s".into() }
    }

    fn heard(number: u64) -> Record {
        Record::Heard { subscription: "s".into(), publisher: "p".into(), number }
    }

    #[test]
    fn what_is_heard_too_early_too_late_or_again_is_found() {
        let over = Record::Unsubscribed { subscription: "s".into() };
        let well = [published(1), published(2), subscribed(), heard(2), over];
        assert_eq!(settled::<Silence>(&well), 0);
        assert_eq!(found::<Silence>(&[&well[..], &[heard(3)]].concat()), 1);
        assert_eq!(found::<Silence>(&[heard(1), subscribed()]), 1);
        assert_eq!(found::<Silence>(&[subscribed(), heard(2), heard(2)]), 1);
        assert_eq!(found::<Silence>(&[subscribed(), heard(2), heard(1)]), 1);
    }

    #[test]
    fn what_was_never_published_is_found_in_the_end() {
        assert_eq!(settled::<Silence>(&[published(1), subscribed(), heard(2)]), 1);
    }
}
