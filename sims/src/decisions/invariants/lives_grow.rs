use std::collections::BTreeMap;

use umbel_protocol::{Incarnation, NodeId, NodeName};

use super::{Findings, Happening, Invariant, View};

const NAME: &str = "lives-grow";

/// Once a node has been linked with one life of a peer, no earlier one comes up there again; and nobody
/// who runs is told that a later life of it is known.
#[derive(Default)]
pub(super) struct LivesGrow {
    latest: BTreeMap<(NodeId, NodeName), Incarnation>,
}

impl Invariant for LivesGrow {
    fn happened(&mut self, node: &View<'_>, what: &Happening<'_>, findings: &mut Findings<'_>) {
        match what {
            Happening::Up { peer, .. } => {
                let key = (node.id.clone(), peer.name.clone());
                let latest = self.latest.entry(key).or_insert(peer.incarnation);
                if peer.incarnation < *latest {
                    let what = format!("{}: {peer} came up after its life {latest}", node.id);
                    findings.report(NAME, what);
                }
                *latest = peer.incarnation.max(*latest);
            }
            Happening::Superseded { by } => {
                findings.report(NAME, format!("{by} says that {} is superseded", node.id));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use umbel_protocol::LinkId;

    use super::super::fixture::{Alone, life};
    use super::*;

    /// The peers refuse an earlier life by themselves, so this one is shown a doctored history.
    #[test]
    fn an_earlier_life_is_found() {
        let node = Alone::new();
        let mut invariant = LivesGrow::default();
        let mut found = Vec::new();
        for incarnation in [1, 1, 2, 4, 3] {
            let mut findings = Findings { now: Duration::ZERO, found: &mut found };
            let peer = life("b", incarnation);
            let what = Happening::Up { peer: &peer, link: LinkId(7) };
            invariant.happened(&node.view(), &what, &mut findings);
        }
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
