//! A whole data lane, with an actor behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| umbel_cluster::fuzzing::lane(bytes));
