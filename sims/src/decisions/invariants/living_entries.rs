use std::collections::BTreeMap;

use umbel_protocol::{Entry, EntryKey, NodeId, ReplicaEventKind};

use super::{Findings, Happening, Invariant, Snapshot, View};

const NAME: &str = "living-entries";

/// The metadata key under which the workload counts what a life has registered.
pub(crate) const COUNT: &str = "count";

/// A node's registry holds entries of itself and of the lives that are up there, and of nobody else;
/// and what it learns of one entry is never older than what it knew.
#[derive(Default)]
pub(super) struct LivingEntries {
    newest: BTreeMap<(NodeId, NodeId, EntryKey), u64>,
}

fn count(entry: &Entry) -> u64 {
    let mut details = entry.metadata().iter();
    let count = details.find(|(key, _)| key.as_str() == COUNT);
    count.and_then(|(_, count)| count.as_str().parse().ok()).unwrap_or(0)
}

impl Invariant for LivingEntries {
    fn happened(&mut self, node: &View<'_>, what: &Happening<'_>, findings: &mut Findings<'_>) {
        let Happening::Entry(event) = what else { return };
        let (ReplicaEventKind::Added { value } | ReplicaEventKind::Changed { value, .. }) =
            &event.kind
        else {
            return;
        };
        let origin = &event.origin;
        let is_up = node.up.get(&origin.name).is_some_and(|(peer, _)| peer == origin);
        if origin != node.id && !is_up {
            let what = format!("{} learned {:?} of {origin}, which is not up", node.id, event.key);
            findings.report(NAME, what);
        }
        let key = (node.id.clone(), origin.clone(), event.key.clone());
        let (newest, count) = (self.newest.entry(key).or_default(), count(value));
        if count < *newest {
            let what = format!(
                "{} went from version {newest} to {count} of {:?} of {origin}",
                node.id, event.key
            );
            findings.report(NAME, what);
        }
        *newest = count.max(*newest);
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in &snapshot.running {
            for entry in node.registry.view().entries {
                let is_up =
                    node.up.get(&entry.node.name).is_some_and(|(peer, _)| *peer == entry.node);
                if entry.node != *node.id && !is_up {
                    let what = format!(
                        "{} holds {} of {}, which is not up there",
                        node.id, entry.name, entry.node
                    );
                    findings.report(NAME, what);
                }
            }
        }
    }
}
