//! What must hold in a world, whatever goes wrong: one file each, pure, told what happened and how
//! things stand.

mod agreement;
mod asks_end;
mod bounds;
mod down_is_final;
mod executed_as_told;
mod executed_once;
mod intensity;
mod lives_grow;
mod living_entries;
mod no_leftovers;
mod no_orphans;
mod old_serves;
mod once_in_order;
mod silence;
mod sure_calls;
mod tasks_end;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::agreement::disagreement;
use self::asks_end::AsksEnd;
use self::bounds::Bounds;
pub(crate) use self::bounds::Limits;
use self::down_is_final::DownIsFinal;
use self::executed_as_told::ExecutedAsTold;
use self::executed_once::ExecutedOnce;
use self::intensity::Intensity;
use self::lives_grow::LivesGrow;
use self::living_entries::LivingEntries;
use self::no_leftovers::NoLeftovers;
use self::no_orphans::NoOrphans;
use self::old_serves::OldServes;
use self::once_in_order::OnceInOrder;
use self::silence::Silence;
use self::sure_calls::SureCalls;
use self::tasks_end::TasksEnd;
use crate::outcome::Violation;
use crate::record::Recorded;
use crate::snapshot::Snapshot;

/// Where invariants put what they find.
pub(crate) struct Findings<'a> {
    pub(crate) now: Duration,
    pub(crate) found: &'a mut Vec<Violation>,
}

impl Findings<'_> {
    pub(crate) fn report(&mut self, invariant: &str, what: String) {
        let at_seconds = self.now.as_secs_f64();
        self.found.push(Violation { invariant: invariant.to_owned(), at_seconds, what });
    }
}

/// One thing that must hold.
pub(crate) trait Invariant {
    /// Somebody saw or did something.
    fn happened(&mut self, _: &Recorded, _: &mut Findings<'_>) {}

    /// Looked at several times a second.
    fn stands(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}

    /// Looked at once, when the faults are over, all agree, and all clients are done.
    fn settled(&mut self, _: &Snapshot<'_>, _: &mut Findings<'_>) {}
}

/// All of them, and those of the user. What nobody records, they do not judge.
pub(crate) struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(crate) fn new(checks: &[Check], limits: Limits) -> Self {
        let mut all: Vec<Box<dyn Invariant>> = vec![
            Box::new(LivesGrow::default()),
            Box::new(DownIsFinal::default()),
            Box::new(OnceInOrder::default()),
            Box::new(AsksEnd::default()),
            Box::new(Silence::default()),
            Box::new(Intensity::default()),
            Box::new(NoOrphans::default()),
            Box::new(LivingEntries::default()),
            Box::new(TasksEnd),
            Box::new(ExecutedAsTold::default()),
            Box::new(ExecutedOnce::default()),
            Box::new(OldServes::default()),
            Box::new(NoLeftovers::default()),
            Box::new(SureCalls::default()),
            Box::new(Bounds(limits)),
        ];
        all.extend(checks.iter().cloned().map(|check| Box::new(check) as Box<dyn Invariant>));
        Self(all)
    }

    pub(crate) fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        for invariant in &mut self.0 {
            invariant.happened(what, findings);
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

/// What a user's invariant says: what does not hold.
type Holds = dyn Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync;

/// An invariant of the user's.
#[derive(Clone)]
pub(crate) struct Check {
    name: String,
    in_the_end: bool,
    holds: Arc<Holds>,
}

impl Check {
    pub(crate) fn always(
        name: String,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { name, in_the_end: false, holds: Arc::new(holds) }
    }

    pub(crate) fn finally(
        name: String,
        holds: impl Fn(&Snapshot<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { in_the_end: true, ..Self::always(name, holds) }
    }

    fn look(&self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if let Err(what) = (self.holds)(snapshot) {
            findings.report(&self.name, what);
        }
    }
}

impl Invariant for Check {
    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if !self.in_the_end {
            self.look(snapshot, findings);
        }
    }

    fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        if self.in_the_end {
            self.look(snapshot, findings);
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use umbel_protocol::{
        Entry, Incarnation, InterestView, NodeId, PeersConfig, RegisteredView, RegistryView,
    };

    use super::*;
    use crate::record::{Conclusion, Record, Step};
    use crate::standing::Standing;

    pub(super) fn life(name: &str, number: u64) -> NodeId {
        let name = name.parse().expect("tests use names that are ones");
        NodeId { name, incarnation: Incarnation(number) }
    }

    pub(super) fn standing(machine: usize, name: &str, number: u64) -> Standing {
        Standing {
            machine,
            node: life(name, number),
            awake_since: Duration::ZERO,
            is_paused: false,
            silence_max: PeersConfig::default().silence_max,
            linked: Vec::new(),
            members: Vec::new(),
            registry: RegistryView { entries: Vec::new() },
            topics: InterestView { topics: Vec::new() },
            open_asks: 0,
            unread: Vec::new(),
            unsent: Vec::new(),
            top_level_actors: 0,
            tasks: None,
        }
    }

    pub(super) fn entry(name: &str, number: u64) -> RegisteredView {
        let entry = Entry::new("schema".try_into().expect("a short text is one"));
        let (name, node) = ("text".try_into().expect("a short text is one"), life(name, number));
        RegisteredView { name, node, actor: 1, entry }
    }

    pub(super) fn called(call: &str, request: &str, executions_max: u32) -> Record {
        let (call, request, deadline) = (call.into(), request.into(), Duration::from_secs(1));
        Record::Called { call, request, deadline, executions_max, is_sure: false }
    }

    pub(super) fn returned(call: &str, outcome: Conclusion, executed: Option<bool>) -> Record {
        Record::Returned { call: call.into(), outcome, executed }
    }

    pub(super) fn executed(request: &str, life: &str, step: Step) -> Record {
        Record::Executed { request: request.into(), life: life.into(), step }
    }

    /// All at the start, by the first process on the first machine.
    pub(super) fn recorded(told: &[Record]) -> Vec<Recorded> {
        let told = told.iter().cloned();
        let at = Duration::ZERO;
        told.map(|record| Recorded { at, machine: 0, process: 1, record }).collect()
    }

    /// How many violations are found in what is told, and then in how things stand, at these seconds.
    pub(super) fn judged<I: Invariant + Default>(
        told: &[Recorded],
        nodes: &[Standing],
        looks: &[u64],
    ) -> usize {
        let (mut invariant, mut found) = (I::default(), Vec::new());
        for recorded in told {
            let mut findings = Findings { now: recorded.at, found: &mut found };
            invariant.happened(recorded, &mut findings);
        }
        for seconds in looks {
            let (now, deaths) = (Duration::from_secs(*seconds), BTreeMap::new());
            let snapshot = Snapshot { now, nodes, deaths: &deaths, shared: None };
            invariant.stands(&snapshot, &mut Findings { now, found: &mut found });
        }
        found.len()
    }

    pub(super) fn looked<I: Invariant + Default>(
        told: &[Record],
        nodes: &[Standing],
        looks: &[u64],
    ) -> usize {
        judged::<I>(&recorded(told), nodes, looks)
    }

    pub(super) fn found<I: Invariant + Default>(told: &[Record]) -> usize {
        judged::<I>(&recorded(told), &[], &[])
    }

    /// How many violations are found when all is over.
    pub(super) fn settled<I: Invariant + Default>(told: &[Record]) -> usize {
        let (mut invariant, mut found) = (I::default(), Vec::new());
        let (now, deaths) = (Duration::ZERO, BTreeMap::new());
        for recorded in recorded(told) {
            invariant.happened(&recorded, &mut Findings { now, found: &mut found });
        }
        let snapshot = Snapshot { now, nodes: &[], deaths: &deaths, shared: None };
        invariant.settled(&snapshot, &mut Findings { now, found: &mut found });
        found.len()
    }
}
