use std::collections::BTreeSet;

use umbel_protocol::NodeId;

use super::{Findings, Happening, Invariant, View};

const NAME: &str = "down-is-final";

/// Who was declared down, or has said goodbye, is never again a member in that life, as far as the one
/// knows that was told so; and nobody comes up that is down.
#[derive(Default)]
pub(super) struct DownIsFinal {
    over: BTreeSet<(NodeId, NodeId)>,
}

impl Invariant for DownIsFinal {
    fn happened(&mut self, node: &View<'_>, what: &Happening<'_>, findings: &mut Findings<'_>) {
        let member = match what {
            Happening::Member(event) if event.state.is_over() => {
                self.over.insert((node.id.clone(), event.member.node.clone()));
                return;
            }
            Happening::Member(event) => &event.member.node,
            Happening::Up { peer, .. } => *peer,
            _ => return,
        };
        if self.over.contains(&(node.id.clone(), member.clone())) {
            findings.report(NAME, format!("{}: {member} is back after its end", node.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbel_protocol::{Member, MemberEvent, MemberState, Profile};

    use super::super::fixture::{Alone, life};
    use super::*;

    /// The members refuse it by themselves, so this one is shown a doctored history.
    #[test]
    fn who_is_back_in_the_same_life_is_found_and_in_another_is_not() {
        let node = Alone::new();
        let mut invariant = DownIsFinal::default();
        let mut found = Vec::new();
        let told = [
            (1, MemberState::Alive),
            (1, MemberState::Down),
            (2, MemberState::Alive),
            (1, MemberState::Suspect),
        ];
        for (number, state) in told {
            assert!(found.is_empty());
            let mut findings = Findings { now: Duration::ZERO, found: &mut found };
            let member = Member { node: life("b", number), profile: Profile::default() };
            let event = MemberEvent { member, state };
            invariant.happened(&node.view(), &Happening::Member(&event), &mut findings);
        }
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].invariant, NAME);
    }
}
