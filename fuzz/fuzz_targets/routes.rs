//! Arbitrary bytes are either rejected as a route table, or each app in the table can be found by
//! its GUID. Nothing panics.
//!
//! `cargo fuzz run routes /tmp/corpus fuzz/seeds/routes`

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| scrapebroker::discovery::testing::check_document(body));
