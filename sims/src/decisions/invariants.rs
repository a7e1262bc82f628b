//! What must hold, whatever goes wrong: one file each, pure, told what happened and how things stand.

mod converges;
mod dead_stay_dead;
mod down_is_final;
mod lives_grow;
mod living_entries;
mod one_link;

use std::collections::BTreeMap;
use std::time::Duration;

use umbel_protocol::{
    Entry, EntryKey, LinkId, MemberEvent, MemberState, NodeId, NodeName, Registry, RegistryEvent,
};

use self::converges::Converges;
use self::dead_stay_dead::DeadStayDead;
use self::down_is_final::DownIsFinal;
use self::lives_grow::LivesGrow;
pub(crate) use self::living_entries::COUNT;
use self::living_entries::LivingEntries;
use self::one_link::OneLink;
use crate::outcome::Violation;

/// What a node was told, as its shell saw it.
#[derive(Clone, Debug)]
pub(crate) enum Happening<'a> {
    Up { peer: &'a NodeId, link: LinkId },
    Down { peer: &'a NodeId, link: LinkId },
    Entry(&'a RegistryEvent),
    Member(&'a MemberEvent),
    Superseded { by: &'a NodeName },
}

/// How things stand.
pub(crate) struct Snapshot<'a> {
    pub(crate) now: Duration,
    /// Those that run, in order.
    pub(crate) running: Vec<View<'a>>,
    /// When each life that has ended ended.
    pub(crate) deaths: &'a BTreeMap<NodeId, Duration>,
}

/// One node that runs.
pub(crate) struct View<'a> {
    pub(crate) id: &'a NodeId,
    pub(crate) is_paused: bool,
    /// Since when it runs without a pause.
    pub(crate) awake_since: Duration,
    pub(crate) up: &'a BTreeMap<NodeName, (NodeId, LinkId)>,
    /// The members that it was told of and that are not over.
    pub(crate) members: &'a BTreeMap<NodeId, MemberState>,
    pub(crate) registry: &'a Registry,
    pub(crate) own: &'a BTreeMap<EntryKey, Entry>,
}

/// Where invariants put what they find.
pub(crate) struct Findings<'a> {
    pub(crate) now: Duration,
    pub(crate) found: &'a mut Vec<Violation>,
}

impl Findings<'_> {
    fn report(&mut self, invariant: &'static str, what: String) {
        let (invariant, at_seconds) = (invariant.to_owned(), self.now.as_secs_f64());
        self.found.push(Violation { invariant, at_seconds, what });
    }
}

/// One thing that must hold.
trait Invariant {
    /// `node` was told something.
    fn happened(&mut self, _node: &View<'_>, _what: &Happening<'_>, _: &mut Findings<'_>) {}

    /// Looked at several times a second.
    fn stands(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}

    /// Looked at when the faults are over and there was time to settle.
    fn settled(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}
}

/// All of them.
pub(crate) struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(crate) fn new() -> Self {
        Self(vec![
            Box::new(OneLink::default()),
            Box::new(LivesGrow::default()),
            Box::new(DeadStayDead::default()),
            Box::new(DownIsFinal::default()),
            Box::new(LivingEntries::default()),
            Box::new(Converges),
        ])
    }

    /// None of them: what stands in while the others look.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn happened(
        &mut self,
        node: &View<'_>,
        what: &Happening<'_>,
        findings: &mut Findings<'_>,
    ) {
        for invariant in &mut self.0 {
            invariant.happened(node, what, findings);
        }
    }

    pub(crate) fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.stands(snapshot, findings);
        }
    }

    pub(crate) fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.settled(snapshot, findings);
        }
    }
}

/// Whether all have settled: what [`Invariants::settled`] will ask for.
pub(crate) fn has_converged(snapshot: &Snapshot<'_>) -> bool {
    converges::difference(snapshot).is_none()
}

#[cfg(test)]
mod fixture {
    use umbel_protocol::{Incarnation, ReplicaLimits};

    use super::*;

    /// A life of a node.
    pub(super) fn life(name: &str, life: u64) -> NodeId {
        NodeId { name: name.parse().unwrap(), incarnation: Incarnation(life) }
    }

    /// A node that is linked with nobody, for histories that are made up.
    pub(super) struct Alone {
        id: NodeId,
        up: BTreeMap<NodeName, (NodeId, LinkId)>,
        members: BTreeMap<NodeId, MemberState>,
        registry: Registry,
        own: BTreeMap<EntryKey, Entry>,
    }

    impl Alone {
        pub(super) fn new() -> Self {
            let (id, up, own, members) =
                (life("a", 1), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            let registry = Registry::new(id.clone(), ReplicaLimits::default());
            Self { id, up, members, registry, own }
        }

        pub(super) fn view(&self) -> View<'_> {
            View {
                id: &self.id,
                is_paused: false,
                awake_since: Duration::ZERO,
                up: &self.up,
                members: &self.members,
                registry: &self.registry,
                own: &self.own,
            }
        }
    }
}
