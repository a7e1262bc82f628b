use std::collections::BTreeSet;

use umbel_protocol::NodeId;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "down-is-final";

/// Whoever was told that a life is down, or has said goodbye, is never told anything else of it, and is
/// linked with it no more.
#[derive(Default)]
pub(super) struct DownIsFinal {
    /// Who was told, and of whom.
    over: BTreeSet<(NodeId, NodeId)>,
}

impl Invariant for DownIsFinal {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        let Record::Member { at, of, state } = &what.record else { return };
        let key = (at.clone(), of.clone());
        if state.is_over() {
            self.over.insert(key);
        } else if self.over.contains(&key) {
            findings.report(NAME, format!("{at} is told that {of} is {state:?} after its end"));
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in snapshot.nodes {
            let members = node.members.iter().map(|event| &event.member.node);
            for peer in node.linked.iter().chain(members) {
                if self.over.contains(&(node.node.clone(), peer.clone())) {
                    let what = format!("{} still has {peer}, whose end it was told", node.node);
                    findings.report(NAME, what);
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
    fn a_link_with_one_who_is_over_is_found() {
        let mut node = standing(0, "a", 1);
        node.linked = vec![life("b", 2)];
        let over = [told(1, 1, MemberState::Down)];
        assert_eq!(looked::<DownIsFinal>(&over, std::slice::from_ref(&node), &[1]), 0);
        let over = [told(1, 2, MemberState::Left)];
        assert_eq!(looked::<DownIsFinal>(&over, &[node], &[1]), 1);
    }
}
