use std::collections::BTreeMap;

use super::{Findings, Invariant};
use crate::record::{Conclusion, Record, Recorded, Step};

pub(crate) const NAME: &str = "executed-as-told";

/// What is said of a request's execution is so: one that is answered was executed, and answered by who
/// executed it; of which it is said that it was executed, it was; of which it is said that it was not, it
/// was not, and never will be.
#[derive(Default)]
pub(super) struct ExecutedAsTold {
    /// Which request each call makes that is open.
    open: BTreeMap<String, Call>,
    requests: BTreeMap<String, Request>,
}

struct Call {
    request: String,
    /// Whether its request was that of another call.
    is_repeat: bool,
}

/// What has become of a request.
#[derive(Default)]
struct Request {
    was_begun: bool,
    /// And whoever has begun it has not declined it.
    was_executed: bool,
    was_answered: bool,
    /// It was said that it was not executed.
    told_not: bool,
}

impl Request {
    /// False where it was told that this would not be.
    fn comes(&mut self, step: Step) -> bool {
        self.was_begun = true;
        // One that has only been begun may be declined yet.
        let is_executed = matches!(step, Step::Answered | Step::CutOff);
        self.was_executed |= is_executed;
        self.was_answered |= step == Step::Answered;
        !(self.told_not && is_executed)
    }
}

impl Invariant for ExecutedAsTold {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Called { call, request, .. } => {
                let is_repeat = call != request;
                if is_repeat {
                    self.requests.entry(request.clone()).or_default().told_not = false;
                }
                self.open.insert(call.clone(), Call { request: request.clone(), is_repeat });
            }
            Record::Executed { request, life, step } => {
                let is_as_told = self.requests.entry(request.clone()).or_default().comes(*step);
                if !is_as_told {
                    let what = format!("{life} executes {request}, which was told not to be");
                    findings.report(NAME, what);
                }
            }
            Record::Returned { call, outcome, executed } => {
                let Some(Call { request, is_repeat }) = self.open.remove(call) else { return };
                let known = self.requests.entry(request).or_default();
                let wrong = match (outcome, executed) {
                    (Conclusion::Answered, _) if !known.was_answered => {
                        Some("is answered, and nobody has answered it")
                    }
                    (_, Some(true)) if !known.was_begun => {
                        Some("is told to be executed, and was not")
                    }
                    (_, Some(false)) if !is_repeat && known.was_executed => {
                        Some("is told not to be executed, and was")
                    }
                    _ => None,
                };
                known.told_not |= *executed == Some(false) && !is_repeat;
                if let Some(wrong) = wrong {
                    findings.report(NAME, format!("{call} {wrong}: {outcome:?}"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{called, executed, found, returned};
    use super::*;

    #[test]
    fn one_that_is_executed_though_it_is_told_not_to_be_is_found_before_and_after() {
        let not = || returned("q", Conclusion::Failed("busy".into()), Some(false));
        let (begun, done) = (executed("q", "s#1", Step::Begun), executed("q", "s#1", Step::CutOff));
        assert_eq!(found::<ExecutedAsTold>(&[called("q", "q", 1), not()]), 0);
        let before = [called("q", "q", 1), begun.clone(), done.clone(), not()];
        assert_eq!(found::<ExecutedAsTold>(&before), 1);
        let after = [called("q", "q", 1), not(), begun.clone(), done];
        assert_eq!(found::<ExecutedAsTold>(&after), 1);
        let declined = executed("q", "s#1", Step::Declined);
        assert_eq!(found::<ExecutedAsTold>(&[called("q", "q", 1), begun, declined, not()]), 0);
    }

    #[test]
    fn one_that_is_told_to_be_executed_and_was_not_is_found() {
        let failed = || returned("q", Conclusion::Failed("no".into()), Some(true));
        assert_eq!(found::<ExecutedAsTold>(&[called("q", "q", 1), failed()]), 1);
        let begun = executed("q", "s#1", Step::Begun);
        assert_eq!(found::<ExecutedAsTold>(&[called("q", "q", 1), begun, failed()]), 0);
    }

    #[test]
    fn an_answer_that_nobody_has_given_is_found() {
        let answered = || returned("q", Conclusion::Answered, Some(true));
        let by = |step| executed("q", "s#1", step);
        let given = [called("q", "q", 1), by(Step::Begun), by(Step::Answered), answered()];
        assert_eq!(found::<ExecutedAsTold>(&given), 0);
        let lost = [called("q", "q", 1), by(Step::Begun), by(Step::CutOff), answered()];
        assert_eq!(found::<ExecutedAsTold>(&lost), 1);
    }
}
