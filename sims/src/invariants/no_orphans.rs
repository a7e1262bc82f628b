use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "no-orphans";

/// How long a life may outlast its supervisor's: whoever is left is killed, and then dropped by the
/// runtime.
const OUTLASTS_MAX: Duration = Duration::from_secs(1);

/// How long a supervised child may be without a life: its back-off, or the one of those above it, or as
/// long as a node that leaves takes for it.
const ABSENT_MAX: Duration = Duration::from_secs(6);

/// Supervised children live one life at a time, under a supervisor that lives, and are never gone for long.
/// What a process leaves behind when it ends is over.
#[derive(Default)]
pub(super) struct NoOrphans {
    /// By machine.
    houses: BTreeMap<usize, House>,
}

/// What lives on one machine.
#[derive(Default)]
struct House {
    process: u32,
    lives: BTreeMap<String, Life>,
    /// Supervisors that have ended, and when.
    ended: BTreeMap<String, Duration>,
    /// Children without a life, and since when.
    absent: BTreeMap<String, Duration>,
}

struct Life {
    child: String,
    supervisor: String,
}

impl House {
    fn begins(&mut self, actor: &str, life: Life) -> Option<String> {
        let child = life.child.clone();
        self.absent.remove(&child);
        let other = self.lives.iter().find(|(_, other)| other.child == child);
        let other = other.map(|(other, _)| format!("{actor} lives beside {other}"));
        self.lives.insert(actor.to_owned(), life);
        other
    }

    fn is_over(&mut self, actor: &str, at: Duration) -> Option<String> {
        let Some(life) = self.lives.remove(actor) else {
            return Some(format!("{actor} has ended, and did not live"));
        };
        self.absent.insert(life.child, at);
        None
    }

    /// What has stood so for too long, where nothing before `awake_since` counts.
    fn overdue(&self, now: Duration, awake_since: Duration) -> Vec<String> {
        let since = |at: &Duration| now.saturating_sub((*at).max(awake_since));
        let orphans = self.lives.iter().filter_map(|(actor, life)| {
            let ago = since(self.ended.get(&life.supervisor)?);
            let Life { supervisor, .. } = life;
            (ago > OUTLASTS_MAX).then(|| format!("{actor} lives {ago:?} after {supervisor}"))
        });
        let absent = self.absent.iter().filter_map(|(child, at)| {
            let ago = since(at);
            (ago > ABSENT_MAX).then(|| format!("{child} has not lived for {ago:?}"))
        });
        orphans.chain(absent).collect()
    }
}

impl Invariant for NoOrphans {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        let Recorded { at, machine, process, record } = what;
        let house = self.houses.entry(*machine).or_default();
        if *process > house.process {
            *house = House { process: *process, ..House::default() };
        }
        match record {
            Record::Lives { actor, child, supervisor } => {
                let life = Life { child: child.clone(), supervisor: supervisor.clone() };
                let wrong = house.begins(actor, life);
                wrong.into_iter().for_each(|what| findings.report(NAME, what));
            }
            Record::Died { actor } => {
                let wrong = house.is_over(actor, *at);
                wrong.into_iter().for_each(|what| findings.report(NAME, what));
            }
            Record::Ended { supervisor } => {
                house.ended.insert(supervisor.clone(), *at);
                // Only those of the living matter.
                let above: BTreeSet<_> =
                    house.lives.values().map(|life| life.supervisor.clone()).collect();
                house.ended.retain(|one, ended| above.contains(one) || *ended + ABSENT_MAX > *at);
            }
            Record::Left { node, .. } => {
                for actor in house.lives.keys() {
                    findings.report(NAME, format!("{actor} outlives {node}"));
                }
                *house = House { process: *process, ..House::default() };
            }
            _ => {}
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in snapshot.nodes.iter().filter(|node| !node.is_paused) {
            let Some(house) = self.houses.get(&node.machine) else { continue };
            for what in house.overdue(snapshot.now, node.awake_since) {
                findings.report(NAME, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, judged, life, looked, recorded, standing};
    use super::*;

    fn lives(actor: &str, supervisor: &str) -> Record {
        let child = actor.split('#').next().unwrap().to_owned();
        Record::Lives { actor: actor.into(), child, supervisor: supervisor.into() }
    }

    fn died(actor: &str) -> Record {
        Record::Died { actor: actor.into() }
    }

    #[test]
    fn two_lives_of_one_child_at_once_are_found() {
        let well = [lives("a#1", "s"), lives("b#1", "s"), died("a#1"), lives("a#2", "s")];
        assert_eq!(found::<NoOrphans>(&well), 0);
        assert_eq!(found::<NoOrphans>(&[lives("a#1", "s"), lives("a#2", "s")]), 1);
        assert_eq!(found::<NoOrphans>(&[lives("a#1", "s"), died("a#1"), died("a#1")]), 1);
    }

    #[test]
    fn who_outlives_a_supervisor_or_a_node_is_found() {
        let node = [standing(0, "a", 1)];
        let ended = Record::Ended { supervisor: "s".into() };
        let orphan = [lives("a#1", "s"), ended.clone()];
        assert_eq!(looked::<NoOrphans>(&orphan, &node, &[1]), 0);
        assert_eq!(looked::<NoOrphans>(&orphan, &node, &[2]), 1);
        let well = [lives("a#1", "s"), ended, died("a#1"), lives("a#2", "t")];
        assert_eq!(looked::<NoOrphans>(&well, &node, &[2, 9]), 0);
        let left = Record::Left { node: life("a", 1), tasks: 0 };
        assert_eq!(found::<NoOrphans>(&[lives("a#1", "s"), left]), 1);
    }

    #[test]
    fn a_child_that_does_not_come_back_is_found_unless_its_process_is_another() {
        let node = [standing(0, "a", 1)];
        let gone = [lives("a#1", "s"), died("a#1")];
        assert_eq!(looked::<NoOrphans>(&gone, &node, &[5]), 0);
        assert_eq!(looked::<NoOrphans>(&gone, &node, &[7]), 1);
        let mut other = recorded(&[&gone[..], &[lives("b#1", "s")]].concat());
        other[2].process = 2;
        assert_eq!(judged::<NoOrphans>(&other, &node, &[7]), 0);
    }
}
