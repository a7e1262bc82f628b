use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use umbel_protocol::NodeId;

use super::down_is_final::parts_within;
use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "living-entries";

/// Past `silence_max`: a ping's interval, and a second for what is under way.
const SLACK: Duration = Duration::from_secs(2);

/// The registry entries of a life that is over are gone everywhere in time, and stay so: in the time in
/// which it is noticed, and sooner where a node was told of its end.
#[derive(Default)]
pub(super) struct LivingEntries {
    /// Lives that became others, and when.
    renewed: BTreeMap<NodeId, Duration>,
    /// The last life on each machine.
    last: BTreeMap<usize, NodeId>,
    /// Who was told that a life is over, which, and when.
    told: BTreeMap<(NodeId, NodeId), Duration>,
    /// The longest that any node has had.
    silence_max: Duration,
}

impl Invariant for LivingEntries {
    fn happened(&mut self, what: &Recorded, _: &mut Findings<'_>) {
        match &what.record {
            Record::Started { node } => {
                self.last.insert(what.machine, node.clone());
            }
            Record::Renewed { node } => {
                if let Some(before) = self.last.insert(what.machine, node.clone()) {
                    self.renewed.insert(before, what.at);
                }
            }
            Record::Member { at, of, state } if state.is_over() => {
                self.told.entry((at.clone(), of.clone())).or_insert(what.at);
            }
            _ => {}
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        self.silence_max = self.silence_max.max(snapshot.silence_max());
        let (gone_within, parts_within) =
            (self.silence_max + SLACK, parts_within(self.silence_max));
        for node in snapshot.nodes.iter().filter(|node| !node.is_paused) {
            let me = &node.node;
            let origins: BTreeSet<_> =
                node.registry.entries.iter().map(|entry| &entry.node).collect();
            for origin in origins {
                let over = self.renewed.get(origin).or_else(|| snapshot.deaths.get(origin));
                let told = self.told.get(&(me.clone(), origin.clone()));
                let ago = |at: &Duration| snapshot.now.saturating_sub((*at).max(node.awake_since));
                if let Some(ago) = over.map(ago).filter(|ago| *ago > gone_within) {
                    let what = format!("{me} has entries of {origin} {ago:?} after its end");
                    findings.report(NAME, what);
                }
                if let Some(ago) = told.map(ago).filter(|ago| *ago > parts_within) {
                    let what = format!("{me} has entries of {origin} {ago:?} after it was told");
                    findings.report(NAME, format!("{what} of its end"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use umbel_protocol::MemberState;

    use super::super::tests::{entry, judged, life, looked, recorded, standing};
    use super::*;

    #[test]
    fn entries_of_one_who_became_another_are_found_after_a_while() {
        let mut node = standing(0, "a", 1);
        node.registry.entries = vec![entry("b", 1)];
        let mut told = recorded(&[
            Record::Started { node: life("b", 1) },
            Record::Renewed { node: life("b", 2) },
        ]);
        told[1].at = Duration::from_secs(1);
        assert_eq!(judged::<LivingEntries>(&told, &[node.clone()], &[8]), 0);
        assert_eq!(judged::<LivingEntries>(&told, &[node.clone()], &[9]), 1);
        node.silence_max = Duration::from_secs(10);
        assert_eq!(judged::<LivingEntries>(&told, &[node.clone()], &[13]), 0);
        assert_eq!(judged::<LivingEntries>(&told, &[node.clone()], &[14]), 1);
        node.silence_max = Duration::from_secs(5);
        node.awake_since = Duration::from_secs(5);
        assert_eq!(judged::<LivingEntries>(&told, &[node], &[9]), 0);
    }

    #[test]
    fn entries_of_one_whose_end_was_told_are_found_sooner() {
        let mut node = standing(0, "a", 1);
        node.registry.entries = vec![entry("b", 1), entry("b", 1)];
        let told =
            |of| Record::Member { at: life("a", 1), of: life("b", of), state: MemberState::Down };
        assert_eq!(looked::<LivingEntries>(&[told(2)], &[node.clone()], &[3]), 0);
        assert_eq!(looked::<LivingEntries>(&[told(1)], &[node.clone()], &[2]), 0);
        assert_eq!(looked::<LivingEntries>(&[told(1)], &[node], &[3]), 1);
    }
}
