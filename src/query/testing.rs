//! What must hold of every input of the parsers of `query`: for tests and fuzz targets.

use super::gaps::{WarningFilter, merge_slices, understands};

/// No expression panics, and no response of a replica: slices are merged to valid JSON or refused,
/// and a warning leaves valid JSON valid.
///
/// # Panics
/// If that does not hold.
pub fn check_gaps(input: &[u8]) {
    if let Ok(expression) = std::str::from_utf8(input) {
        let _ = understands(expression);
    }
    let half = input.get(..input.len() / 2).unwrap_or_default();
    if let Ok(merged) = merge_slices(&[input, half]) {
        assert!(is_json(&merged), "the merged slices are no JSON");
    }
    let mut filter = WarningFilter::default();
    let mut passed = filter.pass(half);
    passed.extend(filter.pass(input.get(half.len()..).unwrap_or_default()));
    assert!(is_json(&passed) || !is_json(input), "the response with a warning is no JSON");
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_the_fuzz_target_hold() {
        for seed in std::fs::read_dir("fuzz/seeds/gaps").unwrap() {
            check_gaps(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
}
