use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, Invariant};
use crate::record::{Conclusion, Record, Recorded};
use crate::snapshot::Snapshot;

pub(crate) const NAME: &str = "asks-end";

/// How long after its deadline a question may still be open, where its process has time to run: for
/// clocks that are a hundredth too slow, and machines that are busy.
const OVERDUE_MAX: Duration = Duration::from_secs(1);

/// Every question ends by its deadline, and once; and no answer is another question's. Calls of services are
/// questions. Those of a process that has ended are over.
#[derive(Default)]
pub(super) struct AsksEnd {
    /// By machine.
    asked: BTreeMap<usize, Asked>,
}

/// What the process on one machine has asked.
#[derive(Default)]
struct Asked {
    process: u32,
    /// When each open question is due.
    open: BTreeMap<String, Duration>,
}

impl Invariant for AsksEnd {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        let Asked { process, open } = self.asked.entry(what.machine).or_default();
        if what.process > *process {
            (*process, *open) = (what.process, BTreeMap::new());
        }
        match &what.record {
            Record::Asked { question, deadline }
            | Record::Called { call: question, deadline, .. } => {
                open.insert(question.clone(), what.at + *deadline);
            }
            Record::Concluded { question, outcome }
            | Record::Returned { call: question, outcome, .. } => {
                if open.remove(question).is_none() {
                    let what = format!("{question} ends once more: {outcome:?}");
                    findings.report(NAME, what);
                }
                if let Conclusion::Wrong(answer) = outcome {
                    let what =
                        format!("{question} is answered {answer:?}, which is not its answer");
                    findings.report(NAME, what);
                }
            }
            Record::Left { .. } => open.clear(),
            _ => {}
        }
    }

    fn stands(&mut self, snapshot: &Snapshot<'_>, findings: &mut Findings<'_>) {
        for node in snapshot.nodes.iter().filter(|node| !node.is_paused) {
            let asked = self.asked.get(&node.machine);
            for (question, due) in asked.into_iter().flat_map(|asked| &asked.open) {
                let overdue = snapshot.now.saturating_sub((*due).max(node.awake_since));
                if overdue > OVERDUE_MAX {
                    let what = format!("{question} is open {overdue:?} after its deadline");
                    findings.report(NAME, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, judged, looked, recorded, standing};
    use super::*;

    fn asked() -> Record {
        Record::Asked { question: "q".into(), deadline: Duration::from_secs(1) }
    }

    fn concluded(outcome: Conclusion) -> Record {
        Record::Concluded { question: "q".into(), outcome }
    }

    #[test]
    fn a_second_end_and_a_wrong_answer_are_found() {
        let failed = || concluded(Conclusion::Failed("late".into()));
        assert_eq!(found::<AsksEnd>(&[asked(), failed()]), 0);
        assert_eq!(found::<AsksEnd>(&[asked(), failed(), failed()]), 1);
        assert_eq!(found::<AsksEnd>(&[asked(), concluded(Conclusion::Wrong("p".into()))]), 1);
    }

    #[test]
    fn one_that_stays_open_is_found_unless_its_process_stands_still_or_is_over() {
        let mut node = standing(0, "a", 1);
        assert_eq!(looked::<AsksEnd>(&[asked()], std::slice::from_ref(&node), &[1, 2]), 0);
        assert_eq!(looked::<AsksEnd>(&[asked()], std::slice::from_ref(&node), &[3]), 1);
        let mut other = recorded(&[asked(), asked()]);
        (other[1].process, other[1].at) = (2, Duration::from_secs(3));
        assert_eq!(judged::<AsksEnd>(&other, std::slice::from_ref(&node), &[3]), 0);
        node.awake_since = Duration::from_secs(2);
        assert_eq!(looked::<AsksEnd>(&[asked()], std::slice::from_ref(&node), &[3]), 0);
        node.is_paused = true;
        assert_eq!(looked::<AsksEnd>(&[asked()], &[node], &[9]), 0);
    }
}
