//! Duplicate samples of one body.

use super::{
    error::ErrorKind,
    index::ParseContext,
    rewrite::{RewriteContext, Rewriter},
    sample::{self, TextLabel},
    sample_tail,
};

/// The hash and the position of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesFingerprint {
    /// Equal for equal series and timestamps. The seed is random.
    pub(super) hash: u64,
    /// The start of the line in the body.
    pub(super) offset: u32,
    /// The index of the line.
    pub(super) line: u32,
}

/// A hash table of fingerprints with open addressing and a load factor of at most one half.
#[derive(Debug)]
pub(super) struct FingerprintTable {
    /// Indexes plus 1; 0 is empty. The low bits of the hash give the first slot, and the next slots
    /// are probed.
    slots: Vec<u32>,
}

impl FingerprintTable {
    /// Creates a table for `count` fingerprints.
    pub(super) fn new(count: usize) -> Self {
        Self { slots: vec![0; (count * 2).next_power_of_two()] }
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    /// Returns the index of an earlier fingerprint that `is_same` as the one at `i`. If there is
    /// none, inserts `i`.
    pub(super) fn find_or_insert(
        &mut self,
        fingerprints: &[SeriesFingerprint],
        i: usize,
        mut is_same: impl FnMut(SeriesFingerprint) -> bool,
    ) -> Option<usize> {
        let fingerprint = fingerprints.get(i)?;
        let mask = self.slots.len() - 1;
        let mut at = fingerprint.hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            let Some(earlier) = (*slot as usize).checked_sub(1) else {
                *slot = i as u32 + 1;
                return None;
            };
            let found = fingerprints.get(earlier).copied();
            if found.is_some_and(|found| found.hash == fingerprint.hash && is_same(found)) {
                return Some(earlier);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The first index with this hash for which `is_same` is true.
    pub(super) fn find(&self, hash: u64, is_same: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(i) = self.slots.get(at).and_then(|slot| (*slot as usize).checked_sub(1)) {
            if is_same(i) {
                return Some(i);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

/// Calls `drop` with each duplicate and the offset of the sample that it repeats. `is_same`
/// compares the samples at two offsets.
pub(super) fn find(
    fingerprints: &[SeriesFingerprint],
    is_same: impl Fn(u32, u32) -> bool,
    mut drop: impl FnMut(&SeriesFingerprint, u32),
) {
    let mut slots = FingerprintTable::new(fingerprints.len());
    for (i, fingerprint) in fingerprints.iter().enumerate() {
        let is_same = |earlier: SeriesFingerprint| is_same(earlier.offset, fingerprint.offset);
        let earlier =
            slots.find_or_insert(fingerprints, i, is_same).and_then(|i| fingerprints.get(i));
        if let Some(earlier) = earlier {
            drop(fingerprint, earlier.offset);
        }
    }
}

/// Whether two lines have equal names, labels and timestamps in the output. The order of labels
/// does not matter.
pub(super) fn are_same(
    lines: [(&[u8], RewriteContext<'_>); 2],
    context: &ParseContext<'_>,
) -> bool {
    let [mut one, mut other] = [Vec::new(), Vec::new()];
    match (series(lines[0], context, &mut one), series(lines[1], context, &mut other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The reason why two samples are equal in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DuplicateCause {
    /// They are equal in the body.
    Repeated,
    /// Their timestamps are equal in the resolution of the output.
    Timestamp,
    /// Their bounds are the same number in different notations.
    Bound,
}

/// The reason why two lines are [equal](are_same).
pub(super) fn cause(
    lines: [(&[u8], RewriteContext<'_>); 2],
    context: &ParseContext<'_>,
) -> DuplicateCause {
    let original =
        lines.map(|(line, form)| (line, RewriteContext { has_canonical_bounds: false, ..form }));
    if lines.iter().any(|(_, form)| form.has_canonical_bounds) && !are_same(original, context) {
        return DuplicateCause::Bound;
    }
    let [one, other] = lines.map(|(line, _)| source_timestamp(line, context));
    if one == other { DuplicateCause::Repeated } else { DuplicateCause::Timestamp }
}

fn source_timestamp(line: &[u8], context: &ParseContext<'_>) -> Option<u64> {
    let series = sample::parse(line, &[], &mut |_: TextLabel<'_>| Ok(())).ok()?;
    let tail =
        sample_tail::parse(line.get(series.end..).unwrap_or_default(), context.source).ok()?;
    tail.timestamp.map(|text| sample_tail::timestamp_key(text, context.source, context.source))
}

/// The name, the sorted labels and the timestamp.
type SeriesKey<'a> = (&'a [u8], Vec<&'a [u8]>, Option<u64>);

fn series<'a>(
    (line, form): (&[u8], RewriteContext<'_>),
    context: &ParseContext<'_>,
    written: &'a mut Vec<u8>,
) -> Result<SeriesKey<'a>, ErrorKind> {
    let end = Rewriter::new(context.dialect).series(line, context.labels, form, written)?.end;
    let tail = sample_tail::parse(line.get(end..).unwrap_or_default(), context.source)?;
    let key = |text| sample_tail::timestamp_key(text, context.source, context.dialect.naming);
    let timestamp = tail.timestamp.map(key);
    let mut labels = Vec::new();
    let series = sample::parse(written, &[], &mut |label: TextLabel<'a>| {
        labels.push(label.text);
        Ok(())
    })?;
    labels.sort_unstable();
    Ok((series.name.text, labels, timestamp))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            families::FamilyNaming,
            family_mapping::SourceFamily,
            format::{Format, OutputFormat},
            labels::AddedLabels,
            limits::Limits,
            output_dialect::OutputDialect,
            sample::SourceName,
        },
        *,
    };

    fn fingerprints(hashes: &[u64]) -> Vec<SeriesFingerprint> {
        let fingerprint = |(i, &hash)| SeriesFingerprint { hash, offset: i as u32, line: i as u32 };
        hashes.iter().enumerate().map(fingerprint).collect()
    }

    fn found(hashes: &[u64], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        find(&fingerprints(hashes), is_same, |fingerprint, _| found.push(fingerprint.line));
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
        // Even samples are equal, and so are odd ones.
        assert_eq!(found(&[7; 5], |a, b| a % 2 == b % 2), [2, 3, 4]);
    }

    #[test]
    fn samples_are_compared_as_they_will_be_written() {
        let (labels, limits) = (AddedLabels::new([("i", "")]), Limits::default());
        let dialect = OutputDialect::new(OutputFormat::new(Format::Text004));
        let source = FamilyNaming::Classic;
        let context = ParseContext {
            body: b"",
            labels: &labels,
            limits: &limits,
            source,
            dialect,
            renames: None,
        };
        let name = SourceName { text: b"x", is_quoted: false };
        let family = SourceFamily { name, metric_type: None, naming: source, renames: None };
        let form = RewriteContext { family, has_canonical_bounds: false, keeps_exemplar: true };
        let are_same =
            |lines: [&str; 2]| are_same(lines.map(|line| (line.as_bytes(), form)), &context);
        let same = [
            ["x 1", "x{} 2"],
            ["x{a=\"1\",b=\"2\"} 1", "x{b=\"2\", a=\"1\",} 2"],
            ["x{a=\"\\d\"} 1", "x{a=\"\\\\d\"} 1"],
            ["x{i=\"1\"} 1", "x{exported_i=\"1\"} 1"],
            ["x 1 5", "x 2 005"],
        ];
        for lines in same {
            assert!(are_same(lines), "{lines:?}");
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
            assert!(!are_same(lines), "{lines:?}");
        }
    }
}
