//! An OpenMetrics body is refused, or gives spec-compliant output in each format.
//!
//! `cargo fuzz run openmetrics /tmp/corpus fuzz/seeds/openmetrics -- -dict=fuzz/exposition.dict`

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| exposition::testing::openmetrics(input));
