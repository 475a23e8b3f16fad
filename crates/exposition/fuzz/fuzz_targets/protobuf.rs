//! A protobuf body is refused, or gives output that does not change when it is merged again. Text
//! output is spec-compliant.
//!
//! `cargo fuzz run protobuf /tmp/corpus fuzz/seeds/protobuf -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::protobuf(input));
