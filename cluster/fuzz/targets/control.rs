//! What follows on a control lane.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| umbel_cluster::fuzzing::control(bytes));
