//! Any bytes are refused as protobuf, or come out in a form that does not change any more, and
//! strict in each text format.
//!
//! `cargo fuzz run protobuf /tmp/corpus fuzz/seeds/protobuf -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::protobuf(input));
