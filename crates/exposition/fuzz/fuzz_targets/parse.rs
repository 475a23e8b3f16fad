//! A body is refused, or gives spec-compliant output that does not change when it is merged again.
//!
//! `cargo fuzz run parse /tmp/corpus fuzz/seeds/parse -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::parse(input));
