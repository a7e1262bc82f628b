use std::collections::BTreeMap;

use umbel_protocol::NodeId;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "no-leftovers";

/// In the end each service that a process has had lives there once, and each node's registry has it once of
/// each node: nothing is left of instances that were replaced.
#[derive(Default)]
pub(super) struct NoLeftovers {
    /// By machine.
    processes: BTreeMap<usize, Process>,
}

/// What lives in the process on one machine.
#[derive(Default)]
struct Process {
    process: u32,
    /// Each life's service.
    lives: BTreeMap<String, String>,
    /// How many lives each service has.
    services: BTreeMap<String, usize>,
}

impl Process {
    fn leaves(&mut self, life: &str) {
        if let Some(service) = self.lives.remove(life) {
            *self.services.entry(service).or_default() -= 1;
        }
    }
}

impl Invariant for NoLeftovers {
    fn happened(&mut self, what: &Recorded, _: &mut Findings<'_>) {
        let (Record::Serves { .. } | Record::Rests { .. }) = &what.record else { return };
        let process = self.processes.entry(what.machine).or_default();
        if what.process > process.process {
            *process = Process { process: what.process, ..Process::default() };
        }
        match &what.record {
            Record::Serves { life, service, .. } => {
                process.lives.insert(life.clone(), service.clone());
                *process.services.entry(service.clone()).or_default() += 1;
            }
            Record::Rests { life } => process.leaves(life),
            _ => {}
        }
    }

    fn settled(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for Process { lives, services, .. } in self.processes.values() {
            for (service, count) in services.iter().filter(|(_, count)| **count != 1) {
                let of = lives.iter().filter(|(_, of)| *of == service).map(|(life, _)| life);
                let of: Vec<_> = of.collect();
                findings.report(NAME, format!("{service} has {count} lives in the end: {of:?}"));
            }
        }
        let services = self.processes.values().flat_map(|process| process.services.keys());
        let services: std::collections::BTreeSet<_> = services.collect();
        for node in snapshot.nodes {
            let mut entries = BTreeMap::<(&str, &NodeId), usize>::new();
            for entry in &node.registry.entries {
                let name = entry.name.as_str();
                if services.iter().any(|service| **service == name) {
                    *entries.entry((name, &entry.node)).or_default() += 1;
                }
            }
            for ((name, of), count) in entries.into_iter().filter(|(_, count)| *count != 1) {
                let what = format!("{} has {count} entries of {name} on {of}", node.node);
                findings.report(NAME, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settled;
    use super::*;

    fn serves(life: &str) -> Record {
        Record::Serves { life: life.into(), service: "s".into(), is_broken: false }
    }

    fn rests(life: &str) -> Record {
        Record::Rests { life: life.into() }
    }

    #[test]
    fn a_second_life_and_none_at_all_are_found_in_the_end() {
        assert_eq!(settled::<NoLeftovers>(&[serves("s#1"), serves("s#2"), rests("s#1")]), 0);
        assert_eq!(settled::<NoLeftovers>(&[serves("s#1"), serves("s#2")]), 1);
        assert_eq!(settled::<NoLeftovers>(&[serves("s#1"), rests("s#1")]), 1);
    }
}
