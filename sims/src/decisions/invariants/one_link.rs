use std::collections::BTreeMap;

use umbel_protocol::{LinkId, NodeId, NodeName};

use super::{Findings, Happening, Invariant, Snapshot, View};

const NAME: &str = "one-link";

/// A node has one link with a peer at a time; what goes down was up; and in the end both ends mean the
/// same link.
#[derive(Default)]
pub(super) struct OneLink {
    up: BTreeMap<(NodeId, NodeName), (NodeId, LinkId)>,
}

impl Invariant for OneLink {
    fn happened(&mut self, node: &View<'_>, what: &Happening<'_>, findings: &mut Findings<'_>) {
        match what {
            Happening::Up { peer, link } => {
                let key = (node.id.clone(), peer.name.clone());
                if let Some((held, before)) = self.up.insert(key, ((*peer).clone(), *link)) {
                    let what = format!(
                        "{}: {peer} came up by {link} while {held} was up by {before}",
                        node.id
                    );
                    findings.report(NAME, what);
                }
            }
            Happening::Down { peer, link } => {
                let before = self.up.remove(&(node.id.clone(), peer.name.clone()));
                if before.as_ref() != Some(&((*peer).clone(), *link)) {
                    let what =
                        format!("{}: {peer} went down by {link}, but {before:?} was up", node.id);
                    findings.report(NAME, what);
                }
            }
            _ => {}
        }
    }

    fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in &snapshot.running {
            for (peer, link) in node.up.values() {
                let other = snapshot.running.iter().find(|other| other.id == peer);
                let back = other.and_then(|other| other.up.get(&node.id.name));
                if back.map(|(_, back)| back) != Some(link) {
                    let what =
                        format!("{} means {link} with {peer}, which means {back:?}", node.id);
                    findings.report(NAME, what);
                }
            }
        }
    }
}
