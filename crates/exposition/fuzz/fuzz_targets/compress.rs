//! Decompressed output equals the plain output.
//!
//! `cargo fuzz run compress /tmp/corpus fuzz/seeds/merge -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::compress(input));
