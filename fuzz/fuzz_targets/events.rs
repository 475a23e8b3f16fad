//! Arbitrary bytes as posted events: a form, JSON, and lines of JSON.
//!
//! `cargo fuzz run events /tmp/corpus fuzz/seeds/events`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::http::events::testing::check_post(input));
