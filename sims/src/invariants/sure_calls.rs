use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, Invariant};
use crate::record::{Conclusion, Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "sure-calls";

/// A call that must be answered is: one that meets no fault, though instances are replaced meanwhile. Where
/// its own node stands still, leaves or goes, it need not.
#[derive(Default)]
pub(super) struct SureCalls {
    /// By machine.
    processes: BTreeMap<usize, Process>,
}

#[derive(Default)]
struct Process {
    process: u32,
    is_leaving: bool,
    /// When each was begun that must be answered.
    open: BTreeMap<String, Duration>,
    /// What was not answered since it was looked, and when that was begun.
    failed: Vec<(String, Duration)>,
}

impl Invariant for SureCalls {
    fn happened(&mut self, what: &Recorded, _: &mut Findings<'_>) {
        let known = self.processes.entry(what.machine).or_default();
        if what.process > known.process {
            *known = Process { process: what.process, ..Process::default() };
        }
        match &what.record {
            Record::Called { call, is_sure: true, .. } => {
                known.open.insert(call.clone(), what.at);
            }
            Record::Returned { call, outcome, .. } => {
                let Some(begun) = known.open.remove(call) else { return };
                if *outcome != Conclusion::Answered && !known.is_leaving {
                    known.failed.push((format!("{call} is not answered: {outcome:?}"), begun));
                }
            }
            Record::Leaves { .. } => known.is_leaving = true,
            _ => {}
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for (machine, process) in &mut self.processes {
            let failed = std::mem::take(&mut process.failed);
            let node = snapshot.nodes.iter().find(|node| node.machine == *machine);
            let Some(node) = node.filter(|node| !node.is_paused) else { continue };
            for (what, _) in failed.into_iter().filter(|(_, begun)| *begun >= node.awake_since) {
                findings.report(NAME, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{judged, recorded, returned, standing};
    use super::*;

    fn sure() -> Record {
        let (call, request, deadline) = ("q".to_owned(), "q".to_owned(), Duration::from_secs(1));
        Record::Called { call, request, deadline, executions_max: 1, is_sure: true }
    }

    fn looked(told: &[Record], change: impl FnOnce(&mut crate::standing::Standing)) -> usize {
        let mut node = standing(0, "a", 1);
        change(&mut node);
        judged::<SureCalls>(&recorded(told), &[node], &[1])
    }

    #[test]
    fn one_that_is_not_answered_is_found_unless_its_node_stands_still_or_leaves() {
        let lost = || returned("q", Conclusion::Failed("lost".into()), None);
        let well = || returned("q", Conclusion::Answered, Some(true));
        assert_eq!(looked(&[sure(), well()], |_| {}), 0);
        assert_eq!(looked(&[sure(), lost()], |_| {}), 1);
        assert_eq!(looked(&[lost()], |_| {}), 0, "nobody was sure of it");
        assert_eq!(looked(&[sure(), lost()], |node| node.is_paused = true), 0);
        let woken =
            |node: &mut crate::standing::Standing| node.awake_since = Duration::from_secs(1);
        assert_eq!(looked(&[sure(), lost()], woken), 0);
        let leaves = Record::Leaves { node: standing(0, "a", 1).node };
        assert_eq!(looked(&[sure(), leaves, lost()], |_| {}), 0);
    }
}
