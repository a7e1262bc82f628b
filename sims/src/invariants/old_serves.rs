use std::collections::BTreeSet;

use super::{Findings, Invariant};
use crate::record::{Record, Recorded, Step};

pub(crate) const NAME: &str = "old-serves";

/// Where a module is not replaced, the instance serves on that did; where it is, another does. A version
/// that is broken takes over nothing and is given no work; one that is not takes over where nothing stands
/// in its way.
#[derive(Default)]
pub(super) struct OldServes {
    /// Lives of services that must be given no work.
    broken: BTreeSet<String>,
}

impl Invariant for OldServes {
    fn happened(&mut self, what: &Recorded, findings: &mut Findings<'_>) {
        match &what.record {
            Record::Serves { life, is_broken: true, .. } => {
                self.broken.insert(life.clone());
            }
            Record::Rests { life } => {
                self.broken.remove(life);
            }
            Record::Executed { request, life, step: Step::Begun } if self.broken.contains(life) => {
                findings.report(NAME, format!("{life} is broken, and is given {request}"));
            }
            Record::Replaced { module, is_broken, is_sure, before, after, failed } => {
                let wrong = match failed {
                    None if *is_broken => format!("a broken version of {module} takes over"),
                    None if after <= before => {
                        format!("{module} was replaced, and instance {after} serves")
                    }
                    Some(why) if after != before => {
                        format!("{module} was not replaced, and instance {after} serves: {why}")
                    }
                    Some(why) if *is_sure && !is_broken => {
                        format!("{module} was not replaced, and nothing was in the way: {why}")
                    }
                    _ => return,
                };
                findings.report(NAME, wrong);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{executed, found};
    use super::*;

    fn replaced(is_broken: bool, after: u64, failed: Option<&str>) -> usize {
        let (module, failed) = ("m".into(), failed.map(str::to_owned));
        let (is_sure, before) = (true, 1);
        found::<OldServes>(&[Record::Replaced {
            module,
            is_broken,
            is_sure,
            before,
            after,
            failed,
        }])
    }

    #[test]
    fn who_serves_and_should_not_is_found() {
        assert_eq!(replaced(false, 2, None), 0);
        assert_eq!(replaced(false, 1, None), 1);
        assert_eq!(replaced(true, 1, Some("ill")), 0);
        assert_eq!(replaced(true, 2, Some("ill")), 1);
        assert_eq!(replaced(true, 2, None), 1);
        assert_eq!(replaced(false, 1, Some("late")), 1);
    }

    #[test]
    fn work_for_one_that_is_broken_is_found() {
        let (life, service) = ("s#1".to_owned(), "s".to_owned());
        let serves = |is_broken| {
            let (life, service) = (life.clone(), service.clone());
            [Record::Serves { life, service, is_broken }, executed("q", "s#1", Step::Begun)]
        };
        assert_eq!(found::<OldServes>(&serves(true)), 1);
        assert_eq!(found::<OldServes>(&serves(false)), 0);
    }
}
