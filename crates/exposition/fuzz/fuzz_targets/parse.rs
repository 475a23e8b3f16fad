//! Any body is refused, or comes out in a strict form that does not change any more.
//!
//! `cargo fuzz run parse /tmp/corpus fuzz/seeds/parse -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::parse(input));
