//! Samples that two files have, told as a reader of the files looks for them.

use super::input::Input;
use exposition::{DuplicateSample, SampleLocation};

/// One line for each sample that is left out: where it is, and where it is kept.
pub(super) fn describe(repeated: &[DuplicateSample], inputs: &[Input]) -> Vec<String> {
    let place = |place: &SampleLocation| {
        let path = inputs.get(place.instance).map(Input::path).unwrap_or_default();
        match place.line {
            Some(line) => format!("{path}:{line}"),
            None => path,
        }
    };
    let describe = |DuplicateSample { series, kept, dropped }: &DuplicateSample| {
        format!("{}: {series} is in {} too", place(dropped), place(kept))
    };
    repeated.iter().map(describe).collect()
}
