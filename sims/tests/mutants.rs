//! An invariant that catches nothing is not one: each bug on purpose is found, and by whom.

use std::collections::BTreeMap;

use umbel_sims::decisions::{Decisions, Mutant};
use umbel_sims::{Options, Scenario};

/// Within so many seeds each must be found.
const SEEDS: u64 = 100;

/// And each in a world of whole nodes within so many.
const WORLD_SEEDS: u64 = 30;

/// The first seed in which this invariant catches a mutant: others may catch it before.
fn found(mutant: Mutant, invariant: &str) -> Option<u64> {
    (0..SEEDS).find(|seed| {
        let outcome = Decisions::new().mutant(mutant).run(*seed);
        outcome.violations.iter().any(|one| one.invariant == invariant)
    })
}

#[test]
fn every_mutant_is_caught_by_the_invariant_that_is_there_for_it() {
    let expected = BTreeMap::from([
        ("KeepsEntries", "living-entries"),
        ("Ghost", "dead-stay-dead"),
        ("LosesMessages", "converges"),
        ("NeverWakes", "dead-stay-dead"),
        ("ForgetsDown", "one-link"),
    ]);
    // Chance that is not the seed's breaks no invariant: it has a test of its own.
    for mutant in Mutant::ALL.into_iter().filter(|mutant| *mutant != Mutant::HashOrder) {
        let invariant = expected[format!("{mutant:?}").as_str()];
        let seed = found(mutant, invariant);
        let seed = seed.unwrap_or_else(|| panic!("{mutant:?} is never caught by {invariant}"));
        println!("{mutant:?}: {invariant}, seed {seed}");
    }
}

/// The first seed in which the invariant that is there for a mutant of whole nodes catches it.
fn caught(scenario: &str, mutant: umbel_sims::Mutant) -> Option<u64> {
    let scenario = Scenario::named(scenario).expect("it is in the list");
    let scenario = scenario.mutant(&format!("{mutant:?}")).expect("it has it");
    (0..WORLD_SEEDS).find(|seed| {
        let outcome = scenario.run_once(*seed, &Options::default());
        outcome.violations.iter().any(|one| one.invariant == mutant.caught_by())
    })
}

fn all_are_caught(scenario: &str, mutants: &[umbel_sims::Mutant]) {
    for mutant in mutants {
        let (name, seed) = (mutant.caught_by(), caught(scenario, *mutant));
        let seed = seed.unwrap_or_else(|| panic!("{mutant:?} is never caught by {name}"));
        println!("{mutant:?}: {name}, after {} seeds of {scenario}", seed + 1);
    }
}

#[test]
fn every_mutant_in_a_world_is_caught_by_the_invariant_that_is_there_for_it() {
    all_are_caught("standard", &umbel_sims::Mutant::ALL);
}

#[cfg(feature = "command")]
#[test]
fn every_mutant_in_the_office_is_caught_by_the_invariant_that_is_there_for_it() {
    all_are_caught("services", &umbel_sims::Mutant::OF_SERVICES);
    all_are_caught("reload", &umbel_sims::Mutant::OF_MODULES);
}

#[test]
fn planted_chance_is_caught_by_running_a_seed_twice_and_the_first_difference_is_told() {
    let scenario = Decisions::new().mutant(Mutant::HashOrder);
    let differs = (0..SEEDS).map(|seed| scenario.run_twice(seed)).find(|outcome| !outcome.ok);
    let outcome = differs.expect("two runs differ");
    let what = &outcome.violations[0].what;
    assert!(outcome.has_parted() && what.contains("part at event"), "{outcome}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for seed in 0..20 {
        let (one, again) = (Decisions::new().run(seed), Decisions::new().run(seed));
        assert_eq!((&one.trace, one.events), (&again.trace, again.events));
        assert!(Decisions::new().run_twice(seed).ok);
        assert_ne!(one.trace, Decisions::new().run(seed + 1).trace);
    }
}
