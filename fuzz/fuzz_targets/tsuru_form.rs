//! Any bytes are refused as a form of Tsuru, or parameters of limited depth come out, and parameters
//! that are written as Tsuru writes them are read back.
//!
//! `cargo fuzz run tsuru_form /tmp/corpus fuzz/seeds/tsuru_form`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::http::tsuru::testing::check_form(input));
