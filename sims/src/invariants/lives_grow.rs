use std::collections::BTreeMap;

use umbel_protocol::{Incarnation, NodeId, NodeName};

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};

pub(crate) const NAME: &str = "lives-grow";

/// A node that goes on as another life goes on as a later one, no two processes are the same life, and
/// nobody is told that an earlier life of a node lives after a later one did.
///
/// Not that a process starts as a later life than the one before it: a machine's clock may have been set
/// back. Then the others refuse it, until its clock has caught up.
#[derive(Default)]
pub(super) struct LivesGrow {
    /// The last life of the process on each machine.
    last: BTreeMap<usize, NodeId>,
    /// All lives so far.
    lived: BTreeMap<NodeId, usize>,
    /// The latest life that each life of a node was told of, by name.
    told: BTreeMap<(NodeId, NodeName), Incarnation>,
}

impl LivesGrow {
    fn lives(&mut self, node: &NodeId, machine: usize, findings: &mut Findings<'_>) {
        if let Some(before) = self.lived.insert(node.clone(), machine) {
            let what = format!("{node} begins on machine {machine}, and lived on {before} before");
            findings.report(NAME, what);
        }
        self.last.insert(machine, node.clone());
    }
}

impl Invariant for LivesGrow {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Started { node } => self.lives(node, what.machine, findings),
            Record::Renewed { node } => {
                if let Some(before) = self.last.get(&what.machine)
                    && before.incarnation >= node.incarnation
                {
                    findings.report(NAME, format!("{before} goes on as {node}, which is earlier"));
                }
                self.lives(node, what.machine, findings);
            }
            Record::Member { at, of, state } if !state.is_over() => {
                let key = (at.clone(), of.name.clone());
                let latest = self.told.entry(key).or_insert(of.incarnation);
                if of.incarnation < *latest {
                    let what = format!("{at} is told that {of} is {state:?}, after {latest}");
                    findings.report(NAME, what);
                }
                *latest = of.incarnation.max(*latest);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use umbel_protocol::MemberState;

    use super::super::tests::{found, life};
    use super::*;

    fn member(of: NodeId, state: MemberState) -> Record {
        Record::Member { at: life("a", 1), of, state }
    }

    #[test]
    fn an_earlier_life_among_the_members_is_found() {
        let told = [
            member(life("b", 1), MemberState::Alive),
            member(life("b", 2), MemberState::Alive),
            member(life("b", 1), MemberState::Down),
            member(life("b", 2), MemberState::Suspect),
        ];
        assert_eq!(found::<LivesGrow>(&told), 0);
        let back = [&told[..], &[member(life("b", 1), MemberState::Joining)]].concat();
        assert_eq!(found::<LivesGrow>(&back), 1);
    }

    #[test]
    fn a_life_that_is_lived_again_is_found_and_so_is_one_that_goes_on_as_an_earlier_one() {
        let started = |number| Record::Started { node: life("a", number) };
        let renewed = |number| Record::Renewed { node: life("a", number) };
        assert_eq!(found::<LivesGrow>(&[started(5), renewed(6), started(3), renewed(7)]), 0);
        assert_eq!(found::<LivesGrow>(&[started(5), started(6), started(5)]), 1);
        assert_eq!(found::<LivesGrow>(&[started(5), renewed(4)]), 1);
    }
}
