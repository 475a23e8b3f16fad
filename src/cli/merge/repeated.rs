//! Descriptions of duplicate samples.

use super::input::Input;
use exposition::{DuplicateSample, SampleLocation};

/// One line per dropped sample: its location, and the location of the kept sample.
pub(super) fn describe(repeated: &[DuplicateSample], inputs: &[Input]) -> Vec<String> {
    let line = |one: &DuplicateSample| {
        format!("{}: {}", place(&one.dropped, inputs), is_in_too(one, inputs))
    };
    repeated.iter().map(line).collect()
}

/// The location of the kept sample.
pub(super) fn is_in_too(duplicate: &DuplicateSample, inputs: &[Input]) -> String {
    format!("{} is in {} too", duplicate.series, place(&duplicate.kept, inputs))
}

/// `FILE:LINE`, or `FILE` if the line is unknown.
pub(super) fn place(location: &SampleLocation, inputs: &[Input]) -> String {
    let path = inputs.get(location.instance).map(Input::path).unwrap_or_default();
    match location.line {
        Some(line) => format!("{path}:{line}"),
        None => path,
    }
}
