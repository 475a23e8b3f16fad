//! Arbitrary bytes as an expression, and as responses of replicas that are merged or get a warning.
//!
//! `cargo fuzz run gaps /tmp/corpus fuzz/seeds/gaps`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::query::testing::check_gaps(input));
