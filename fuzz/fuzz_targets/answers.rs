//! Any bytes are refused as an answer of HTTP/1, or awc reads the body to the end that RFC 9112 gives it.
//!
//! `cargo fuzz run answers /tmp/corpus fuzz/seeds/answers -- -max_len=4096`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::net::testing::check_response(input));
