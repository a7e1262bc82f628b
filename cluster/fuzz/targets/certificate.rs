//! A certificate, the names in it, a private key.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| umbel_cluster::fuzzing::certificate(bytes));
