use std::collections::BTreeMap;

use umbel_protocol::{MemberState, NodeId};

use super::{Findings, Invariant, Snapshot};

const NAME: &str = "converges";

/// When the faults are over, all that run are linked with all others and with nobody else, take them
/// and nobody else for members that live, and have the same registry: what those that run have
/// registered.
pub(super) struct Converges;

impl Invariant for Converges {
    fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if let Some(what) = difference(snapshot) {
            findings.report(NAME, what);
        }
    }
}

/// The first difference between how things stand and how they should.
pub(super) fn difference(snapshot: &Snapshot<'_>) -> Option<String> {
    let running = &snapshot.running;
    let mut offered = BTreeMap::new();
    for node in running {
        offered.extend(node.own.iter().map(|(key, entry)| ((node.id, key), entry)));
    }
    for node in running {
        for other in running.iter().filter(|other| other.id != node.id) {
            let up = node.up.get(&other.id.name);
            if up.is_none_or(|(peer, _)| peer != other.id) {
                return Some(format!(
                    "{} is not linked with {}, but has {up:?}",
                    node.id, other.id
                ));
            }
        }
        let alive = |id: &NodeId| node.members.get(id) == Some(&MemberState::Alive);
        if let Some(other) = running.iter().find(|other| other.id != node.id && !alive(other.id)) {
            return Some(format!("{} does not take {} for alive", node.id, other.id));
        }
        if node.members.len() + 1 != running.len() {
            return Some(format!("{} knows members that do not run", node.id));
        }
        if node.up.len() + 1 != running.len() {
            return Some(format!("{} is linked with somebody who does not run", node.id));
        }
        let known = node.registry.view().entries;
        if known.len() != offered.len() {
            let (known, offered) = (known.len(), offered.len());
            return Some(format!("{} knows {known} entries, and there are {offered}", node.id));
        }
        for entry in known {
            let key = umbel_protocol::EntryKey { name: entry.name, actor: entry.actor };
            if offered.get(&(&entry.node, &key)) != Some(&&entry.entry) {
                return Some(format!("{} knows {key:?} of {} otherwise", node.id, entry.node));
            }
        }
    }
    None
}
