use std::collections::BTreeMap;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded, Step};

pub(crate) const NAME: &str = "executed-once";

/// No request is executed more often than it may be, and one that a life of a service has in hand, or has
/// answered, is not begun by it again. Those that its execution has declined were not executed.
#[derive(Default)]
pub(super) struct ExecutedOnce {
    requests: BTreeMap<String, Request>,
}

#[derive(Default)]
struct Request {
    executions_max: u32,
    executions: u32,
    /// How far each life has come that has not declined it, nor was cut off.
    by: BTreeMap<String, Step>,
}

impl Request {
    fn comes(&mut self, life: &str, step: Step) -> Option<String> {
        match step {
            Step::Begun => {
                self.executions += 1;
                let before = self.by.insert(life.to_owned(), step);
                let (count, max) = (self.executions, self.executions_max);
                let too_often = (count > max)
                    .then(|| format!("is executed {count} times, where {max} are allowed"));
                before.map(|before| format!("is begun again by {life}: {before:?}")).or(too_often)
            }
            Step::Answered => {
                self.by.insert(life.to_owned(), step);
                None
            }
            Step::Declined => {
                self.executions -= 1;
                self.by.remove(life);
                None
            }
            Step::CutOff => {
                self.by.remove(life);
                None
            }
        }
    }
}

impl Invariant for ExecutedOnce {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Called { request, executions_max, .. } => {
                let known = self.requests.entry(request.clone()).or_default();
                known.executions_max = *executions_max;
            }
            Record::Executed { request, life, step } => {
                let Some(known) = self.requests.get_mut(request) else {
                    return findings.report(NAME, format!("{request} was never made"));
                };
                if let Some(wrong) = known.comes(life, *step) {
                    findings.report(NAME, format!("{request} {wrong}"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{called, executed, found};
    use super::*;

    fn by(life: &str, step: Step) -> Record {
        executed("q", life, step)
    }

    #[test]
    fn one_execution_too_many_is_found() {
        let twice = [by("s#1", Step::Begun), by("s#1", Step::CutOff), by("s#2", Step::Begun)];
        assert_eq!(found::<ExecutedOnce>(&[&[called("q", "q", 2)], &twice[..]].concat()), 0);
        assert_eq!(found::<ExecutedOnce>(&[&[called("q", "q", 1)], &twice[..]].concat()), 1);
        let declined = [by("s#1", Step::Begun), by("s#1", Step::Declined), by("s#2", Step::Begun)];
        assert_eq!(found::<ExecutedOnce>(&[&[called("q", "q", 1)], &declined[..]].concat()), 0);
        assert_eq!(found::<ExecutedOnce>(&twice[..1]), 1, "it was never made");
    }

    #[test]
    fn one_that_a_life_has_in_hand_or_has_answered_is_found_when_it_begins_it_again() {
        let again = |step| {
            [called("q", "q", 9), by("s#1", Step::Begun), by("s#1", step), by("s#1", Step::Begun)]
        };
        assert_eq!(found::<ExecutedOnce>(&again(Step::Answered)), 1);
        assert_eq!(found::<ExecutedOnce>(&again(Step::CutOff)), 0);
        let in_hand = [called("q", "q", 9), by("s#1", Step::Begun), by("s#1", Step::Begun)];
        assert_eq!(found::<ExecutedOnce>(&in_hand), 1);
    }
}
