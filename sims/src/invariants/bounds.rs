use std::collections::BTreeMap;

use umbel_cluster::Unsent;
use umbel_protocol::NodeId;

use super::{Findings, Invariant};
use crate::snapshot::Snapshot;
use crate::standing::Standing;

pub(crate) const NAME: &str = "bounds";

/// Nothing at any node grows beyond its bound: mailboxes, what waits for peers, questions, the registry,
/// topics, members, links, actors, tasks. And of each name, a node is linked with one life.
pub(super) struct Bounds(pub(super) Limits);

/// How much there may be at each node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages in one mailbox.
    pub(crate) unread: u64,
    /// What waits on one link of what nodes say to one another.
    pub(crate) control_bytes: u64,
    /// What waits on one link of messages and answers.
    pub(crate) data_bytes: u64,
    /// Questions over one link, both ways.
    pub(crate) asks_per_link: u64,
    /// Registry entries of one life.
    pub(crate) entries_per_life: u64,
    pub(crate) topics: u64,
    pub(crate) members: u64,
    pub(crate) links: u64,
    pub(crate) top_level_actors: u64,
    pub(crate) tasks: u64,
}

impl Limits {
    /// What is documented of every node: how many messages a mailbox takes, how many actors and tasks
    /// there are, is for the application to say.
    pub(crate) const ANY: Self = Self {
        unread: u64::MAX,
        // `Unsent` says so. A message may go beyond it, and then the link is given up.
        control_bytes: (64 + 4) << 20,
        data_bytes: (2 * 16 + 16 + 1) << 20,
        asks_per_link: 2 << 16,
        entries_per_life: 65_536,
        topics: 1024 * 65_536,
        members: 1024,
        links: 1024,
        top_level_actors: u64::MAX,
        tasks: u64::MAX,
    };

    /// What there is too much of.
    fn excess(&self, node: &Standing) -> Vec<String> {
        let mut entries = BTreeMap::<&NodeId, u64>::new();
        for entry in &node.registry.entries {
            *entries.entry(&entry.node).or_default() += 1;
        }
        let unsent = |bytes: fn(&Unsent) -> usize| {
            node.unsent.iter().map(|(_, unsent)| bytes(unsent)).max().unwrap_or(0) as u64
        };
        let links = node.linked.len() as u64;
        let counts = [
            ("unread messages", most(node.unread.iter().map(|(_, count)| *count)), self.unread),
            ("bytes of control", unsent(|it| it.control_bytes), self.control_bytes),
            ("bytes of data", unsent(|it| it.data_bytes), self.data_bytes),
            ("questions", node.open_asks as u64, links * self.asks_per_link),
            ("entries of one life", most(entries.into_values()), self.entries_per_life),
            ("topics", node.topics.topics.len() as u64, self.topics),
            ("members", node.members.len() as u64, self.members),
            ("links", links, self.links),
            ("actors at the top", node.top_level_actors as u64, self.top_level_actors),
            ("tasks", node.tasks.unwrap_or(0) as u64, self.tasks),
        ];
        let excess = counts.into_iter().filter(|(_, count, limit)| count > limit);
        excess
            .map(|(what, count, limit)| format!("{count} {what}, where {limit} is much"))
            .collect()
    }
}

fn most(counts: impl Iterator<Item = u64>) -> u64 {
    counts.max().unwrap_or(0)
}

impl Default for Limits {
    fn default() -> Self {
        Self::ANY
    }
}

impl Invariant for Bounds {
    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in snapshot.nodes {
            for what in self.0.excess(node) {
                findings.report(NAME, format!("{} has {what}", node.node));
            }
            for pair in node.linked.windows(2).filter(|pair| pair[0].name == pair[1].name) {
                let what = format!("{} is linked with {} and {}", node.node, pair[0], pair[1]);
                findings.report(NAME, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, life, looked, standing};
    use super::*;

    impl Default for Bounds {
        fn default() -> Self {
            let (unread, data_bytes, entries_per_life, tasks) = (3, 100, 1, 5);
            Self(Limits { unread, data_bytes, entries_per_life, tasks, ..Limits::ANY })
        }
    }

    fn excess(change: impl FnOnce(&mut Standing)) -> usize {
        let mut node = standing(0, "a", 1);
        change(&mut node);
        looked::<Bounds>(&[], &[node], &[1])
    }

    #[test]
    fn each_thing_that_is_too_much_is_found() {
        let name = || "text".try_into().expect("a short text is one");
        assert_eq!(excess(|node| node.unread = vec![(name(), 3), (name(), 2)]), 0);
        assert_eq!(excess(|node| node.unread = vec![(name(), 4), (name(), 2)]), 1);
        assert_eq!(excess(|node| node.tasks = Some(5)), 0);
        assert_eq!(excess(|node| node.tasks = Some(6)), 1);
        assert_eq!(excess(|node| node.open_asks = 1), 1);
        assert_eq!(excess(|node| node.registry.entries = vec![entry("b", 1), entry("b", 2)]), 0);
        assert_eq!(excess(|node| node.registry.entries = vec![entry("b", 1), entry("b", 1)]), 1);
    }

    #[test]
    fn two_links_with_one_name_are_found() {
        assert_eq!(excess(|node| node.linked = vec![life("b", 1), life("c", 1)]), 0);
        assert_eq!(excess(|node| node.linked = vec![life("b", 1), life("b", 2)]), 1);
    }
}
