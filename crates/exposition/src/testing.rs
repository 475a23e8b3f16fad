//! Strict parsers, generated bodies and checks for tests, benchmarks and fuzz targets.
//!
//! The strict parsers share no code with the rest of the crate. They panic at the first line that
//! the specification does not allow.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![expect(missing_docs, reason = "helpers of tests")]

pub mod bodies;
mod checks;
mod grammar;
pub mod promtool;
mod service;
pub mod strict;
pub mod strict_openmetrics;

pub use checks::{compress, merge, openmetrics, parse, protobuf};
pub use service::service_body;

use std::{fs, path::Path};

/// Calls `check` with each file of a folder and with each prefix of it.
///
/// # Panics
///
/// Panics if the folder cannot be read or is empty.
pub fn replay(folder: impl AsRef<Path>, check: fn(&[u8])) {
    let folder = folder.as_ref();
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for path in inputs {
        let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // A failed test prints the path.
        println!("{}", path.display());
        check(&input);
        for end in 0..input.len() {
            check(&input[..end]);
        }
    }
}
