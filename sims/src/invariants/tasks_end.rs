use super::{Findings, Invariant};
use crate::record::{Record, Recorded};

pub(crate) const NAME: &str = "tasks-end";

/// No task outlives its node.
#[derive(Default)]
pub(super) struct TasksEnd;

impl Invariant for TasksEnd {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        if let Record::Left { node, tasks } = &what.record
            && *tasks > 0
        {
            findings.report(NAME, format!("{node} has left, and {tasks} of its tasks have not"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, life};
    use super::*;

    #[test]
    fn a_task_that_is_left_is_found() {
        let left = |tasks| Record::Left { node: life("a", 1), tasks };
        assert_eq!(found::<TasksEnd>(&[left(0)]), 0);
        assert_eq!(found::<TasksEnd>(&[left(1)]), 1);
    }
}
