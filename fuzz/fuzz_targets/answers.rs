//! Arbitrary bytes are either rejected as an HTTP/1 response, or awc reads the body up to the end
//! that RFC 9112 defines.
//!
//! `cargo fuzz run answers /tmp/corpus fuzz/seeds/answers -- -max_len=4096`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| scrapebroker::net::testing::check_response(input));
