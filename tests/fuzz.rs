//! What fuzzing starts from, and what it found once, as ordinary tests.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[expect(unreachable_pub, reason = "the fuzz targets are other crates")]
#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::{fs, path::Path};

/// Checks all inputs of a target.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    for path in inputs {
        let input = fs::read(&path).unwrap();
        // With its name in the output, should it fail.
        println!("{}", path.display());
        check(&input);
        for end in 0..input.len() {
            check(&input[..end]);
        }
    }
}

#[test]
fn bodies() {
    replay("parse", checks::parse);
}

#[test]
fn bodies_in_openmetrics() {
    replay("openmetrics", checks::openmetrics);
}

#[test]
fn merges() {
    replay("merge", checks::merge);
}

#[test]
fn bodies_in_protobuf() {
    replay("protobuf", checks::protobuf);
}

#[test]
fn compressed_merges() {
    replay("merge", checks::compress);
}

#[test]
fn route_messages() {
    replay("nats", checks::nats);
}

#[test]
fn route_tables() {
    replay("routes", checks::routes);
}

#[test]
fn heads_of_answers() {
    replay("answers", checks::answers);
}

#[test]
fn tsuru_forms() {
    replay("tsuru_form", checks::tsuru_form);
}
