//! Several bodies in any formats lose no sample in a merge, and what comes out is strict and
//! does not change any more.
//!
//! `cargo fuzz run merge /tmp/corpus fuzz/seeds/merge -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::merge(input));
