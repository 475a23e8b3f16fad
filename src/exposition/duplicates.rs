//! Samples that an instance has twice.

use super::{
    error::ErrorKind,
    labels::Labels,
    rewrite::Rewriter,
    sample::{self, Label, Sample},
};

/// A sample, for the look for duplicates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    /// Equal for equal series and timestamps; its seed is not foreseeable.
    pub(super) hash: u64,
    /// Where its line starts in the body.
    pub(super) offset: u32,
}

/// Calls `drop` with the index of every sample that `is_same` as an earlier one,
/// in their order.
pub(super) fn find(
    prints: &[Print],
    mut is_same: impl FnMut(Print, Print) -> bool,
    mut drop: impl FnMut(usize),
) {
    // Open addressing, half full at most; a slot holds an index, plus one.
    let mut slots = vec![0_u32; (prints.len() * 2).next_power_of_two()];
    let mask = slots.len() - 1;
    for (i, &print) in prints.iter().enumerate() {
        // The index is at home in the low bits of the hash, and probes upwards.
        let mut at = print.hash as usize & mask;
        while let Some(slot) = slots.get_mut(at) {
            let Some(&earlier) = (*slot as usize).checked_sub(1).and_then(|i| prints.get(i)) else {
                *slot = i as u32 + 1;
                break;
            };
            if earlier.hash == print.hash && is_same(earlier, print) {
                drop(i);
                break;
            }
            at = (at + 1) & mask;
        }
    }
}

/// Whether two lines have the same name, labels in any order and timestamp.
pub(super) fn are_same(lines: [&[u8]; 2], added: &Labels) -> bool {
    let [mut one, mut other] = [Vec::new(), Vec::new()];
    let (Ok(()), Ok(())) =
        (canonical(lines[0], added, &mut one), canonical(lines[1], added, &mut other))
    else {
        return false;
    };
    matches!((series(&one), series(&other)), (Ok(one), Ok(other)) if one == other)
}

/// The name, the labels in order of their text, the timestamp.
type Series<'a> = (&'a [u8], Vec<&'a [u8]>, Option<i64>);

fn series<'a>(line: &'a [u8]) -> Result<Series<'a>, ErrorKind> {
    let mut labels = Vec::new();
    let Sample { name, timestamp_ms, .. } = sample::parse(line, &[], &mut |label: Label<'a>| {
        labels.push(label.text);
        Ok(())
    })?;
    labels.sort_unstable();
    Ok((name, labels, timestamp_ms))
}

fn canonical(line: &[u8], added: &Labels, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
    Rewriter::default().write(line, added, out)?;
    out.pop_if(|last| *last == b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(hashes: &[u64]) -> Vec<Print> {
        let print = |(i, &hash)| Print { hash, offset: i as u32 };
        hashes.iter().enumerate().map(print).collect()
    }

    fn found(hashes: &[u64], is_same: impl FnMut(Print, Print) -> bool) -> Vec<usize> {
        let mut found = Vec::new();
        find(&prints(hashes), is_same, |i| found.push(i));
        found
    }

    #[test]
    fn all_but_the_first_of_equal_samples_are_found() {
        assert_eq!(found(&[], |_, _| true), [0; 0]);
        assert_eq!(found(&[7], |_, _| true), [0; 0]);
        assert_eq!(found(&[7, 8, 7, 9, 7, 8], |_, _| true), [2, 4, 5]);
        assert_eq!(found(&[0, u64::MAX, 0], |_, _| true), [2]);
    }

    #[test]
    fn a_collision_of_hashes_is_no_duplicate() {
        assert_eq!(found(&[7; 5], |_, _| false), [0; 0]);
        // The even ones are equal, the odd ones too.
        assert_eq!(found(&[7; 5], |a, b| a.offset % 2 == b.offset % 2), [2, 3, 4]);
    }

    #[test]
    fn samples_are_compared_as_they_will_be_written() {
        let added = Labels::new([("i", "")]);
        let same = [
            ["x 1", "x{} 2"],
            ["x{a=\"1\",b=\"2\"} 1", "x{b=\"2\", a=\"1\",} 2"],
            ["x{a=\"\\d\"} 1", "x{a=\"\\\\d\"} 1"],
            ["x{i=\"1\"} 1", "x{exported_i=\"1\"} 1"],
            ["x 1 5", "x 2 005"],
        ];
        for lines in same {
            assert!(are_same(lines.map(str::as_bytes), &added), "{lines:?}");
        }
        let different = [
            ["x 1", "y 1"],
            ["x 1", "x 1 5"],
            ["x 1 6", "x 1 5"],
            ["x{a=\"1\"} 1", "x 1"],
            ["x{a=\"1\"} 1", "x{a=\"2\"} 1"],
            ["x{a=\"1\",b=\"2\"} 1", "x{a=\"2\",b=\"1\"} 1"],
        ];
        for lines in different {
            assert!(!are_same(lines.map(str::as_bytes), &added), "{lines:?}");
        }
    }
}
