//! What this crate does beside the runtime module of [Bento], feature by feature, and the test that shows
//! it. A page to read; there is no code in it.
//!
//! Bento is as the [README] (9fd33658) and the sources of its runtime have it: its registry and its start
//! (2e027000), and what loads, reloads and unloads modules (efa259e3). The tests are functions in
//! `actors/modules/tests`, `cluster/modules/tests` (`nodes`), `actors/database/tests` (`conformance`) and
//! `examples/shop/tests` (`layouts`, `traces`); one of them holds this page to them.
//!
//! | feature | Bento | here | shown by |
//! |---|---|---|---|
//! | a module has a name, and requires others | class attributes | [`Module::name`](crate::Module::name), [`Module::requires`](crate::Module::requires) | `runtime::modules_are_started_after_what_they_require_and_stopped_the_other_way` |
//! | missing and duplicate modules, circles | refused when the order is worked out; of a circle one module is named | refused by [`build`](crate::RuntimeBuilder::build), before anything runs; a circle is printed as a path | `runtime::modules_that_do_not_fit_together_are_refused_before_anything_runs` |
//! | hooks `on_register`, `on_startup`, `on_shutdown` | all are registered, then all are started | one module after the other, so that each finds running what it requires; each hook has a time | `runtime::modules_are_started_after_what_they_require_and_stopped_the_other_way`, `trouble::a_child_that_hangs_in_its_start_has_a_time_and_blocks_nobody_beyond_it` |
//! | a start that fails | what was started before is left as it is | is stopped again, the last first; the error names the module and its reason | `runtime::when_a_module_does_not_start_those_before_it_are_stopped_again` |
//! | a shutdown hook that fails | is logged, the rest still run | the same; one that panics or hangs as well | `runtime::a_shutdown_hook_that_fails_keeps_no_other_module_from_stopping` |
//! | what a module fails of while it runs | | it is supervised: its actors are restarted, then the module, with those that were started after it | `runtime::an_actor_that_fails_is_restarted_and_beyond_that_its_module_and_those_after_it`, `trouble::a_module_that_cannot_start_again_for_a_while_does_not_end_the_runtime` |
//! | load while it runs | registers it; `on_startup` is not called, its routes are not added | started, and given work; the routes appear | `runtime::a_module_can_be_loaded_that_nobody_knew`, `http::routes_appear_and_disappear_with_their_module` |
//! | unload | whoever requires it is not looked at; routes stay | refused with the names of those who require it, or they are unloaded first; what was begun is finished | `runtime::a_module_that_others_require_is_not_unloaded_unless_they_are`, `replace::the_old_instance_finishes_what_it_was_given` |
//! | hot reload | takes away what the module has put into the container and registers the same object again: in between, calls find nothing, and the state is not fresh | a new instance beside the old one, switched to when it is healthy; no call fails | `replace::a_hundred_reloads_under_a_thousand_calls_a_second_fail_none_of_them`, `http::no_request_fails_while_a_module_is_reloaded`, `nodes::no_call_from_another_node_fails_while_a_module_is_reloaded` |
//! | a reload that fails | leaves the module without its services | leaves the old instance serving | `replace::one_that_cannot_take_over_leaves_the_old_one_serving`, `trouble::a_new_instance_that_fails_before_it_serves_concerns_nobody_else` |
//! | another version of a module | | [`upgrade`](crate::Runtime::upgrade), rolled back when it is not healthy | `replace::an_upgrade_is_what_runs_from_then_on`, `trouble::a_new_instance_is_not_switched_to_before_its_services_are_well` |
//! | container | any object under any key, for all; a wrong key is a `KeyError` | by key and type, from modules that are required; a wrong type is told with both types | `runtime::what_a_module_offers_is_had_by_key_and_type_from_what_is_required` |
//! | factories, scopes in the container | lifetimes by name | no: offer a function, or a service, which has a life of its own | |
//! | calls between modules | through objects, in one process | through services, which are the same in one process and over nodes | `nodes::a_module_calls_another_on_another_node_as_if_it_were_here` |
//! | retries of calls | advised | made: see the page of `umbel-services` | |
//! | events between modules | a bus in the process, or a broker | typed topics, over all nodes; handled once over a reload | `runtime::events_reach_the_handlers_of_all_modules`, `nodes::an_event_is_handled_by_the_modules_of_all_nodes`, `replace::each_event_is_handled_by_one_instance_over_any_number_of_reloads` |
//! | monolith, or a process for each module | described | one program, by configuration | `layouts::the_suite_passes_on_the_monolith`, `layouts::the_suite_passes_on_microservices`, `layouts::the_suite_passes_on_the_mixed_layout` |
//! | while another service is down | described | what needs it says so, the rest answers, and it is whole again soon | `layouts::catalog_answers_while_ordering_is_down_and_the_shop_is_whole_again_soon`, `layouts::ordering_answers_as_degraded_while_catalog_is_down_and_finishes_the_order_when_it_is_back` |
//! | routes | FastAPI's routers, gathered once | axum's, which come and go with their module, on one server with bounds | `http::routes_appear_and_disappear_with_their_module`, `http::a_module_whose_routes_cannot_be_had_is_not_loaded` |
//! | health | an endpoint of one's own | `/healthz`, `/readyz` over all modules and the database, `/metrics` | `http::it_is_ready_when_all_modules_are_well` |
//! | management | by code | by code, and by an admin API with a token, off unless it is configured | `http::modules_are_listed_loaded_unloaded_and_reloaded_by_the_admin_api`, `http::the_admin_api_lets_nobody_in_without_its_token_and_is_not_where_the_modules_are` |
//! | database | engine and session factory in the container, SQLite or PostgreSQL | one by URL, both under one suite | `conformance::the_suite_passes_on_sqlite`, `conformance::the_suite_passes_on_postgres` |
//! | migrations | a tool beside it | of each module, once, in the order of the modules | `database::migrations_run_once_and_after_those_of_what_is_required`, `database::after_an_upgrade_that_was_rolled_back_the_old_version_can_be_reloaded` |
//! | configuration | in code, and from the environment | from TOML or YAML and the environment, which wins; errors with line, secrets hidden | `config::a_file_and_the_environment_say_what_runs_and_how` |
//! | service discovery | environment, Consul or Kubernetes, cached for a time | the registry of the cluster, which tells of changes; peers by list or DNS | `nodes::what_is_unloaded_on_one_node_is_not_found_from_the_other` |
//! | traces | within a process, by OpenTelemetry | one over all processes, by OpenTelemetry | `traces::an_order_is_one_trace_over_three_processes` |
//! | contracts checked at start | files of schemas | no: types are checked by the compiler, messages by their fingerprints between nodes | |
//! | mocks | modules made of a name and objects | a module of the same name; and simulation of whole nodes | |
//! | times of a start | measured | no: what becomes of each module is logged by `tracing` | |
//!
//! [Bento]: https://github.com/idpxyz/bento
//! [README]: https://github.com/idpxyz/bento/blob/main/src/bento/runtime/README.md
