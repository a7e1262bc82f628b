use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ledger() -> Ledger<&'static str, char> {
    Ledger::new(2)
}

#[test]
fn a_full_ledger_gives_the_batch_back() {
    let mut ledger = ledger();
    assert_eq!(ledger.accept("a"), Ok(0));
    assert_eq!(ledger.accept("b"), Ok(1));
    assert_eq!(ledger.accept("c"), Err("c"));
    ledger.acknowledge(0);
    assert_eq!(ledger.accept("c"), Ok(2));
}

#[test]
fn an_attempt_that_failed_makes_the_batch_wait_and_is_counted_when_resent() {
    let mut ledger = ledger();
    ledger.accept("a").unwrap();
    assert_eq!(ledger.hand_out(0, 'x'), Some((1, &"a")));
    assert_eq!(ledger.hand_out(0, 'y'), None, "it is with x");
    assert_eq!((ledger.left_by(|holder| *holder == 'x'), ledger.resent()), (1, 0));
    assert!(ledger.fail(0, 1));
    assert_eq!(ledger.waiting(), [(0, 1)]);
    assert_eq!(ledger.left_by(|holder| *holder == 'x'), 1, "nobody has taken it over");
    assert_eq!(ledger.hand_out(0, 'y'), Some((2, &"a")));
    assert_eq!((ledger.left_by(|holder| *holder == 'x'), ledger.resent()), (0, 1));
    assert_eq!(ledger.acknowledge(0), Some("a"));
    assert_eq!((ledger.resent(), ledger.merged()), (1, 1));
    assert!(ledger.is_settled());
}

#[test]
fn a_late_answer_of_an_attempt_that_was_given_up_counts_once() {
    let mut ledger = ledger();
    ledger.accept("a").unwrap();
    ledger.hand_out(0, 'x');
    ledger.fail(0, 1);
    ledger.hand_out(0, 'y');
    assert_eq!(ledger.acknowledge(0), Some("a"), "x was alive after all");
    assert_eq!(ledger.acknowledge(0), None, "y counted it as well");
    assert!(!ledger.fail(0, 2));
    assert!(ledger.is_settled());
}

#[test]
fn the_failure_of_an_old_attempt_does_not_take_the_batch_from_its_present_holder() {
    let mut ledger = ledger();
    ledger.accept("a").unwrap();
    ledger.hand_out(0, 'x');
    ledger.fail(0, 1);
    ledger.hand_out(0, 'y');
    assert!(!ledger.fail(0, 1));
    assert_eq!(ledger.waiting(), []);
}

#[derive(Clone, Debug)]
enum Step {
    Accept,
    HandOut(prop::sample::Index, u8),
    /// The answer of any attempt ever made, in any order, any number of times.
    Answer(prop::sample::Index),
    /// Any attempt ever made fails, though it may have been answered before.
    Fail(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        Just(Step::Accept),
        (index(), 0..3_u8).prop_map(|(which, holder)| Step::HandOut(which, holder)),
        index().prop_map(Step::Answer),
        index().prop_map(Step::Fail),
    ]
}

proptest! {
    #[test]
    fn every_batch_is_merged_exactly_once_whatever_is_lost_late_or_repeated(
        steps in prop::collection::vec(step(), 0..200),
        open_max in 1..6_usize,
    ) {
        let mut ledger = Ledger::new(open_max);
        let (mut accepted, mut handed_out) = (0_u64, Vec::new());
        let mut merged: BTreeMap<u64, u32> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Accept => {
                    let had_room = ledger.has_room();
                    prop_assert_eq!(ledger.accept(accepted).is_ok(), had_room);
                    accepted += u64::from(had_room);
                }
                Step::HandOut(which, holder) => {
                    let waiting = ledger.waiting();
                    if !waiting.is_empty() {
                        let (id, before) = *which.get(&waiting);
                        let (attempt, batch) = ledger.hand_out(id, holder).unwrap();
                        prop_assert_eq!((attempt, *batch), (before + 1, id));
                        handed_out.push((id, attempt));
                    }
                }
                Step::Answer(which) if !handed_out.is_empty() => {
                    if let Some(batch) = ledger.acknowledge(which.get(&handed_out).0) {
                        *merged.entry(batch).or_default() += 1;
                    }
                }
                Step::Fail(which) if !handed_out.is_empty() => {
                    let (id, attempt) = *which.get(&handed_out);
                    ledger.fail(id, attempt);
                }
                Step::Answer(_) | Step::Fail(_) => {}
            }
            prop_assert!(ledger.open.len() <= open_max);
            prop_assert_eq!(ledger.merged(), merged.len() as u64);
            let again = handed_out.iter().filter(|(_, attempt)| *attempt > 1).count();
            prop_assert_eq!(ledger.resent(), again as u64);
        }
        // Whatever is still out fails, and then all goes well.
        for (id, attempt) in handed_out.clone() {
            ledger.fail(id, attempt);
        }
        for (id, _) in ledger.waiting() {
            ledger.hand_out(id, 9);
            *merged.entry(ledger.acknowledge(id).unwrap()).or_default() += 1;
        }
        prop_assert!(ledger.is_settled());
        prop_assert_eq!(merged, (0..accepted).map(|id| (id, 1)).collect());
    }
}
