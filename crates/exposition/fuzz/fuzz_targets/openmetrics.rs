//! Any body in OpenMetrics is refused, or comes out in a strict form in each format.
//!
//! `cargo fuzz run openmetrics /tmp/corpus fuzz/seeds/openmetrics -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::openmetrics(input));
