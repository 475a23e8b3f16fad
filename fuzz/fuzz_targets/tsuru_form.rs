//! Arbitrary bytes are either rejected as a form of Tsuru, or result in parameters of limited
//! depth. Parameters that are encoded like Tsuru encodes them are parsed unchanged.
//!
//! `cargo fuzz run tsuru_form /tmp/corpus fuzz/seeds/tsuru_form`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::http::tsuru::testing::check_form(input));
