//! A message of an actor.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| umbel_cluster::fuzzing::codec(bytes));
