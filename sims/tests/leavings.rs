//! What a world leaves behind in its process: nothing. Alone in its file, for it looks at tables that
//! are one for the process.

use umbel_actors::ractor::{pg, registry};
use umbel_sims::{Options, Scenario};

#[test]
fn nothing_stays_in_ractors_tables_when_a_world_has_ended() {
    let scenario = Scenario::named("standard").expect("it is the first of the list");
    for seed in 0..4 {
        let outcome = scenario.run_once(seed, &Options::default());
        assert!(outcome.ok, "{outcome}");
        let actors: Vec<_> = registry::get_all_pids().iter().map(|actor| actor.get_id()).collect();
        assert_eq!(actors, []);
        assert_eq!(registry::registered(), Vec::<String>::new());
        assert!(pg::which_groups().is_empty() && pg::which_scopes().is_empty());
    }
}
