//! What this crate does beside the runtime service of [SAGE], feature by feature, and the test that
//! shows it. A page to read; there is no code in it.
//!
//! SAGE is as the [README] of its runtime service promises it (58780fcf), and as the sources of its
//! service task (0093dc56) and of its caller (0b5bb0fe) have it. The tests are functions in
//! `actors/services/tests` and in `cluster/services/tests`; one of them holds this page to them.
//!
//! | feature | SAGE | here | shown by |
//! |---|---|---|---|
//! | the same service local or remote | a task in the process, or a Ray actor | one service and one call; [`Placement`](crate::Placement) says where, by configuration too | `conformance::the_suite_passes_on_one_system`, `nodes::the_suite_passes_on_two_nodes`, `nodes::a_configuration_says_whether_it_is_called_here_or_there` |
//! | calls waiting and asynchronous, by service and method | both; an asynchronous call holds one of ten threads | futures, typed or by JSON; [`BlockingServices`](crate::BlockingServices) for threads | `calls::the_same_call_is_made_waiting_and_blocking_typed_and_by_json` |
//! | request queue of 10,000 | promised; a full queue keeps the caller for 5 s, then fails | one more is [`Busy`](crate::CallError::Busy) at once; bytes have a bound, too | `host::ten_thousand_wait_behind_ten_workers_and_one_more_is_busy` |
//! | queue timeout of 30 s | promised; how long a request has waited is not looked at | [`queue_wait`](crate::HostOptions::queue_wait), and those that would come too late are refused when they come | `host::what_waits_longer_than_it_may_is_told_that_it_was_not_executed`, `host::under_overload_nearly_all_that_can_be_done_is_done_in_time` |
//! | 10 workers | promised; one thread takes one request after the other | [`workers`](crate::HostOptions::workers) | `host::ten_thousand_wait_behind_ten_workers_and_one_more_is_busy` |
//! | batches | promised | methods of [`HandleBatch`](crate::HandleBatch) | `host::requests_of_a_batch_method_that_wait_are_executed_together`, `middleware::a_batch_is_executed_without_those_that_middleware_refuses` |
//! | timeout of a call, 30 s | the caller stops waiting; the request is executed all the same | expired work is not begun, or dropped at the server | `host::what_runs_beyond_its_deadline_is_dropped_at_the_server`, `host::what_its_caller_has_given_up_is_never_begun` |
//! | 3 retries, 1 s apart | promised; there are none | they are; only what is idempotent after it may have been executed, and an instance executes one request once | `calls::it_is_tried_three_times_again_a_second_apart`, `lives::what_may_have_been_executed_is_not_tried_again_unless_it_is_idempotent`, `host::a_request_that_comes_again_is_executed_once` |
//! | errors | a text | [`CallError`](crate::CallError), which says whether the request was executed | `promises::each_call_ends_and_says_the_truth_of_its_request` |
//! | middleware before and after a call | promised | [`Middleware`](crate::Middleware), on errors too, and any tower layer; at callers and at hosts | `middleware::before_goes_in_order_and_after_and_on_error_the_other_way`, `middleware::any_tower_layer_can_be_used`, `middleware::the_same_middleware_works_at_the_host_for_batches_too` |
//! | requests, errors, last activity | counted | [`Figures`](crate::Figures), in which each request counts once | `host::the_figures_are_exact` |
//! | response times and load | with a collector that must be switched on | always | `host::the_figures_are_exact` |
//! | health checks, detection and recovery | promised | [`Service::health`](crate::Service::health); who is not well is given no work, then started anew | `lives::a_service_that_is_not_well_is_started_anew_and_serves_again`, `lives::of_two_instances_the_one_that_is_not_well_is_given_no_work` |
//! | at most 3 restarts | Ray's | a supervisor's, on each node | `lives::one_that_stays_unwell_is_given_up_after_three_restarts` |
//! | graceful degradation | advised | [`Fallback`](crate::Fallback), [`CircuitBreaker`](crate::CircuitBreaker), [`Bulkhead`](crate::Bulkhead) | `middleware::a_fallback_answers_where_the_service_does_not`, `middleware::a_circuit_breaker_opens_tries_and_closes_and_tells_so`, `middleware::a_bulkhead_refuses_beyond_those_under_way_and_those_that_may_wait` |
//! | rate limits, concurrency limits, caches | advised | [`RateLimit`](crate::RateLimit), [`Chain::concurrency_limit`](crate::Chain::concurrency_limit), [`Cache`](crate::Cache) | `middleware::a_rate_limit_lets_a_burst_through_and_then_so_many_a_second`, `middleware::whatever_holds_a_call_up_holds_it_for_its_deadline_at_most`, `middleware::a_cache_answers_what_was_asked_before_until_it_is_too_old` |
//! | queues cached, idle ones cleaned up | cached; the clean-up is promised | handles, until they are idle or their node goes | `calls::handles_are_kept_while_they_are_used_and_instances_while_they_live`, `nodes::when_a_node_goes_its_handles_go_and_others_take_over` |
//! | configuration in YAML | promised | [`ServicesConfig`](crate::ServicesConfig): YAML, TOML and environment, errors with file and line | `config::toml_and_yaml_say_the_same_and_all_of_it_is_used`, `config::what_is_wrong_is_refused_with_its_line_and_what_was_expected`, `config::the_environment_goes_before_the_file` |
//! | stop | the listener stops; what waits is left | what was taken in is executed, within a bound, and nobody is left untold | `lives::stopped_in_order_a_service_executes_what_it_has_taken_in`, `lives::what_does_not_end_within_the_drain_is_lost_and_told_so` |
//! | a new version in place of the old | | a new instance beside the old, which finishes | `lives::no_call_fails_while_instances_take_over_from_one_another` |
//! | traces | | one, through all services | `traces::one_trace_goes_through_all_services_and_no_other_request_is_in_it` |
//!
//! [SAGE]: https://github.com/intellistream/SAGE
//! [README]: https://github.com/intellistream/SAGE/blob/main/packages/sage-kernel/src/sage/kernel/runtime/service/README.md
