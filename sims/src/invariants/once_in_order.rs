use std::collections::BTreeMap;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "once-in-order";

/// What a sender sends to a receiver is received at most once, in the order in which it was sent, over
/// all lives of the receiver; nobody receives what is another's; and in the end, nothing was received
/// that was never sent.
#[derive(Default)]
pub(super) struct OnceInOrder {
    ways: BTreeMap<(String, String), Way>,
    /// Whose messages each life of a receiver takes.
    receivers: BTreeMap<String, String>,
}

/// From a sender to a receiver: the last number each way.
#[derive(Default)]
struct Way {
    sent: u64,
    received: u64,
}

impl Invariant for OnceInOrder {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Sent { from, to, number } => {
                let way = self.ways.entry((from.clone(), to.clone())).or_default();
                way.sent = way.sent.max(*number);
            }
            Record::Received { from, to, number, life } => {
                let way = self.ways.entry((from.clone(), to.clone())).or_default();
                if *number <= way.received {
                    let last = way.received;
                    let what = format!("{life} got number {number} of {from} after {last}");
                    findings.report(NAME, what);
                }
                way.received = way.received.max(*number);
                let known = self.receivers.entry(life.clone()).or_insert_with(|| to.clone());
                if known != to {
                    let what = format!("{life}, which is {known}, got what is for {to}");
                    findings.report(NAME, what);
                }
            }
            _ => {}
        }
    }

    fn settled(&mut self, _: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for ((from, to), Way { sent, received }) in &self.ways {
            if received > sent {
                let what = format!("{to} got number {received} of {from}, who sent {sent}");
                findings.report(NAME, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, settled};
    use super::*;

    fn sent(number: u64) -> Record {
        Record::Sent { from: "a".into(), to: "b".into(), number }
    }

    fn received(number: u64, to: &str, life: &str) -> Record {
        Record::Received { from: "a".into(), to: to.into(), number, life: life.into() }
    }

    #[test]
    fn what_comes_again_or_late_is_found_and_what_is_lost_is_not() {
        let well = [sent(1), sent(2), sent(3), received(1, "b", "b#1"), received(3, "b", "b#2")];
        assert_eq!(settled::<OnceInOrder>(&well), 0);
        for number in [3, 2] {
            let again = [&well[..], &[received(number, "b", "b#3")]].concat();
            assert_eq!(found::<OnceInOrder>(&again), 1);
        }
    }

    #[test]
    fn what_is_anothers_or_was_never_sent_is_found() {
        assert_eq!(found::<OnceInOrder>(&[received(1, "b", "b#1"), received(1, "c", "b#1")]), 1);
        assert_eq!(settled::<OnceInOrder>(&[sent(1), received(2, "b", "b#1")]), 1);
    }
}
