//! Replays the seeds of the fuzz targets, including inputs that once failed.

use exposition::testing::{self, replay};

#[test]
fn bodies() {
    replay("fuzz/seeds/parse", testing::parse);
}

#[test]
fn bodies_in_openmetrics() {
    replay("fuzz/seeds/openmetrics", testing::openmetrics);
}

#[test]
fn bodies_in_protobuf() {
    replay("fuzz/seeds/protobuf", testing::protobuf);
}

#[test]
fn merges() {
    replay("fuzz/seeds/merge", testing::merge);
}

#[test]
fn compressed_merges() {
    replay("fuzz/seeds/merge", testing::compress);
}
