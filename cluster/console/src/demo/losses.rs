//! The batches that counters did not answer for, until they are told of.

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_actors::AskError;
use umbel_protocol::NodeName;

/// How long a loss waits for others like it, so that one line tells them all: what a node has in hands
/// is lost at one moment.
const GATHERED_FOR: Duration = Duration::from_millis(250);

/// Gathers the losses, so that each cause is told once, with a count.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// What is to be told, by node and cause. As many as there are nodes and causes.
    untold: BTreeMap<(NodeName, String), u64>,
    due: Option<Duration>,
    /// The batches of each node that others count in its place.
    in_hands: BTreeMap<NodeName, u64>,
}

impl Losses {
    /// A counter of `node` did not answer for a batch.
    pub(crate) fn note(&mut self, now: Duration, node: NodeName, why: &AskError) {
        *self.in_hands.entry(node.clone()).or_default() += 1;
        // What never got there is no news: the node is known to be gone.
        if !matches!(why, AskError::Unreachable(_)) {
            *self.untold.entry((node, why.to_string())).or_default() += 1;
            self.due.get_or_insert(now + GATHERED_FOR);
        }
    }

    /// When [`Self::tell`] has something to tell at the latest.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What is to be told, a line for each node and cause.
    pub(crate) fn tell(&mut self) -> Vec<String> {
        self.due = None;
        let untold = std::mem::take(&mut self.untold).into_iter();
        let line = |((node, why), count): ((NodeName, String), u64)| match count {
            1 => format!("a batch of {node}'s is sent again: {why}"),
            _ => format!("{count} batches of {node}'s are sent again: {why}"),
        };
        untold.map(line).collect()
    }

    /// All that `node` had in hands is counted by others: how many batches that were.
    pub(crate) fn taken_over(&mut self, node: &NodeName) -> u64 {
        self.in_hands.remove(node).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_for_one_cause_is_told_once_with_its_count() {
        let node = |name: &str| NodeName::new(name).unwrap();
        let mut losses = Losses::default();
        let at = Duration::from_secs(1);
        for _ in 0..11 {
            losses.note(at, node("node-2"), &AskError::Dropped);
        }
        losses.note(at * 2, node("node-2"), &AskError::Closed);
        losses.note(at, node("node-3"), &AskError::Dropped);
        losses.note(at, node("node-2"), &AskError::Unreachable("gone".into()));
        assert_eq!(losses.due(), Some(at + GATHERED_FOR), "the first one does not wait for ever");
        let told = losses.tell();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told.iter().any(|line| line.starts_with("11 batches of node-2's are sent again:")));
        assert!(told.iter().any(|line| line.starts_with("a batch of node-3's is sent again:")));
        assert_eq!((losses.due(), losses.tell()), (None, Vec::new()));
        assert_eq!(losses.taken_over(&node("node-2")), 13);
        assert_eq!(losses.taken_over(&node("node-2")), 0);
    }
}
