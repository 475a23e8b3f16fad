//! A merge of several bodies in any formats loses no sample. Its output is spec-compliant, and
//! merging it again does not change it.
//!
//! `cargo fuzz run merge /tmp/corpus fuzz/seeds/merge -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::merge(input));
