//! Arbitrary bytes are either rejected as a route message, or contain an address and routes.
//!
//! `cargo fuzz run nats /tmp/corpus fuzz/seeds/nats`

#![no_main]

libfuzzer_sys::fuzz_target!(|payload: &[u8]| scrapebroker::discovery::testing::check_registration(payload));
