use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::NodeId;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "down-is-final";

/// After the time that a peer has to learn that it is over.
const SLACK: Duration = Duration::from_millis(500);

/// Within which time a link with a peer ends whose life is over: two fifths of `silence_max`, for its
/// goodbye may be under way, or the news of its end.
pub(super) fn parts_within(silence_max: Duration) -> Duration {
    silence_max * 2 / 5 + SLACK
}

/// Whoever was told that a life is down, or has said goodbye, is never told anything else of it, counts it
/// among the members no more, and is not linked with it for long.
#[derive(Default)]
pub(super) struct DownIsFinal {
    /// Who was told, of whom, and when.
    over: BTreeMap<(NodeId, NodeId), Duration>,
    /// The longest that any node has had.
    silence_max: Duration,
}

impl Invariant for DownIsFinal {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        let Record::Member { at, of, state } = &what.record else { return };
        let key = (at.clone(), of.clone());
        if state.is_over() {
            self.over.entry(key).or_insert(what.at);
        } else if self.over.contains_key(&key) {
            findings.report(NAME, format!("{at} is told that {of} is {state:?} after its end"));
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        self.silence_max = self.silence_max.max(snapshot.silence_max());
        let parts_within = parts_within(self.silence_max);
        for node in snapshot.nodes {
            let me = &node.node;
            let told = |peer: &NodeId| self.over.get(&(me.clone(), peer.clone()));
            let members = node.members.iter().map(|event| &event.member.node);
            for peer in members.filter(|peer| told(peer).is_some()) {
                findings.report(NAME, format!("{me} has the member {peer}, whose end it was told"));
            }
            for peer in node.linked.iter().filter(|_| !node.is_paused) {
                let Some(told) = told(peer) else { continue };
                let ago = snapshot.now.saturating_sub((*told).max(node.awake_since));
                if ago > parts_within {
                    let what = format!("{me} is linked with {peer} {ago:?} after it was told");
                    findings.report(NAME, format!("{what} of its end"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use umbel_protocol::MemberState;

    use super::super::tests::{found, life, looked, standing};
    use super::*;

    fn told(at: u64, of: u64, state: MemberState) -> Record {
        Record::Member { at: life("a", at), of: life("b", of), state }
    }

    #[test]
    fn who_is_back_in_the_same_life_is_found_and_in_another_is_not() {
        let well = [
            told(1, 1, MemberState::Alive),
            told(1, 1, MemberState::Down),
            told(1, 2, MemberState::Alive),
            told(2, 1, MemberState::Alive),
        ];
        assert_eq!(found::<DownIsFinal>(&well), 0);
        let back = [&well[..], &[told(1, 1, MemberState::Suspect)]].concat();
        assert_eq!(found::<DownIsFinal>(&back), 1);
    }

    #[test]
    fn a_link_with_one_who_is_over_is_found_after_a_while() {
        let mut node = standing(0, "a", 1);
        node.linked = vec![life("b", 2)];
        let over = [told(1, 1, MemberState::Down)];
        assert_eq!(looked::<DownIsFinal>(&over, std::slice::from_ref(&node), &[3]), 0);
        let over = [told(1, 2, MemberState::Left)];
        assert_eq!(looked::<DownIsFinal>(&over, std::slice::from_ref(&node), &[2]), 0);
        assert_eq!(looked::<DownIsFinal>(&over, std::slice::from_ref(&node), &[3]), 1);
        let mut patient = standing(1, "c", 1);
        patient.silence_max = Duration::from_secs(10);
        let nodes = [node.clone(), patient];
        assert_eq!(looked::<DownIsFinal>(&over, &nodes, &[4]), 0, "its silence is longer");
        assert_eq!(looked::<DownIsFinal>(&over, &nodes, &[5]), 1);
        node.awake_since = Duration::from_secs(2);
        assert_eq!(looked::<DownIsFinal>(&over, &[node], &[3]), 0);
    }
}
