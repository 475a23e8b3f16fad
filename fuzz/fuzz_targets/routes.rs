//! Any bytes are refused as a route table, or every app in it can be found by
//! its GUID, and nothing of it panics.
//!
//! `cargo fuzz run routes /tmp/corpus fuzz/seeds/routes`

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| scrapebroker::discovery::testing::check_document(body));
