//! Samples that two files have, told as a reader of the files looks for them.

use super::input::Input;
use exposition::{Repeated, RepeatedPlace};

/// One line for each sample that is left out: where it is, and where it is kept.
pub(super) fn describe(repeated: &[Repeated], inputs: &[Input]) -> Vec<String> {
    let place = |place: &RepeatedPlace| {
        let path = inputs.get(place.instance).map(Input::path).unwrap_or_default();
        match place.line {
            Some(line) => format!("{path}:{line}"),
            None => path,
        }
    };
    let describe = |Repeated { series, places: [kept, left_out] }: &Repeated| {
        format!("{}: {series} is in {} too", place(left_out), place(kept))
    };
    repeated.iter().map(describe).collect()
}
