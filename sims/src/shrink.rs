//! Makes the faults of a failing run as few and as mild as it takes.

use crate::fault::{Faults, Planned};
use crate::outcome::Outcome;
use crate::world::World;

/// How many runs shrinking takes at most.
const RUNS_MAX: usize = 60;

/// What is said where a run is not determined by its seed, and holds when it is looked at again.
const NOT_REPEATED: &str = "; the run could not be repeated, so something in it depends on more than the seed: \
                            `World::run_twice` tells what";

/// The smallest run found in which the same thing does not hold as in `failed`, with its lines.
pub(crate) fn shrink(world: &World, mut failed: Outcome) -> Outcome {
    let Some(violated) = failed.violations.first().map(|one| one.invariant.clone()) else {
        return failed;
    };
    let fails = |plan: &[Planned]| {
        let outcome = world.clone().faults(Faults::Planned(plan.to_vec())).run_once();
        outcome.violations.first().is_some_and(|one| one.invariant == violated)
    };
    let smallest = smallest(failed.faults.clone(), RUNS_MAX, fails);
    let told = world.clone().faults(Faults::Planned(smallest)).keep_lines().run_once();
    if !told.ok {
        return told;
    }
    // The first is the better witness.
    if let Some(first) = failed.violations.first_mut() {
        first.what += NOT_REPEATED;
    }
    failed
}

/// The smallest plan that still fails, as far as so many tries find it: without whole halves, then
/// without single faults, then with milder ones.
fn smallest(
    mut plan: Vec<Planned>,
    mut tries: usize,
    fails: impl Fn(&[Planned]) -> bool,
) -> Vec<Planned> {
    let mut try_out = |plan: &mut Vec<Planned>, smaller: Vec<Planned>| {
        let better = tries > 0 && fails(&smaller);
        tries = tries.saturating_sub(1);
        if better {
            *plan = smaller;
        }
        better
    };
    let mut length = plan.len();
    while length > 0 {
        let mut from = 0;
        while from < plan.len() {
            let to = (from + length).min(plan.len());
            let without = [&plan[..from], &plan[to..]].concat();
            if !try_out(&mut plan, without) {
                from = to;
            }
        }
        length /= 2;
    }
    let mut index = 0;
    while index < plan.len() {
        let milder = plan[index].fault.milder().into_iter().any(|fault| {
            let mut milder = plan.clone();
            milder[index].fault = fault;
            try_out(&mut plan, milder)
        });
        if !milder {
            index += 1;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn kill(at_ms: u64, node: usize, down_ms: u64) -> Planned {
        Planned { at_ms, fault: Fault::Kill { node, down_ms } }
    }

    #[test]
    fn only_the_faults_that_matter_are_left_and_as_mild_as_they_may_be() {
        let plan = (0..20).map(|number| kill(number, number as usize % 3, 1000)).collect();
        let matters = |plan: &[Planned]| {
            let down = |at: u64| {
                plan.iter().any(|it| matches!(it.fault, Fault::Kill { down_ms, .. } if it.at_ms == at && down_ms >= 100))
            };
            down(7) && down(13)
        };
        assert_eq!(smallest(plan, 200, matters), [kill(7, 1, 125), kill(13, 1, 125)]);
    }

    #[test]
    fn a_plan_that_does_not_matter_at_all_shrinks_to_nothing() {
        assert_eq!(smallest(vec![kill(1, 0, 5), kill(2, 1, 5)], 10, |_| true), []);
    }
}
