//! Descriptions of duplicate samples.

use super::input::Input;
use exposition::{DuplicateSample, SampleLocation};

/// One line per dropped sample: its location, and the location of the kept sample.
pub(super) fn describe(repeated: &[DuplicateSample], inputs: &[Input]) -> Vec<String> {
    let location = |location: &SampleLocation| {
        let path = inputs.get(location.instance).map(Input::path).unwrap_or_default();
        match location.line {
            Some(line) => format!("{path}:{line}"),
            None => path,
        }
    };
    let describe = |DuplicateSample { series, kept, dropped }: &DuplicateSample| {
        format!("{}: {series} is in {} too", location(dropped), location(kept))
    };
    repeated.iter().map(describe).collect()
}
