//! Samples that an instance has twice.

use super::{
    error::ErrorKind,
    rewrite::{Form, Rewriter},
    sample::{self, Label},
    tail,
    task::Task,
};

/// A sample, for the look for duplicates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    /// Equal for equal series and timestamps; its seed is not foreseeable.
    pub(super) hash: u64,
    /// Where its line starts in the body.
    pub(super) offset: u32,
    /// The place of the line among all.
    pub(super) line: u32,
}

/// Where prints are, by their hash: open addressing, half full at most.
#[derive(Debug)]
pub(super) struct Slots {
    /// Each an index, plus one. An index is at home in the low bits of its hash, and
    /// probes upwards.
    slots: Vec<u32>,
}

impl Slots {
    /// With room for so many.
    pub(super) fn new(count: usize) -> Self {
        Self { slots: vec![0; (count * 2).next_power_of_two()] }
    }

    /// The index of an earlier print that `is_same` as the one at `i`, which else takes a slot.
    pub(super) fn find_or_insert(
        &mut self,
        prints: &[Print],
        i: usize,
        mut is_same: impl FnMut(Print) -> bool,
    ) -> Option<usize> {
        let print = prints.get(i)?;
        let mask = self.slots.len() - 1;
        let mut at = print.hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            let Some(earlier) = (*slot as usize).checked_sub(1) else {
                *slot = i as u32 + 1;
                return None;
            };
            let found = prints.get(earlier).copied();
            if found.is_some_and(|found| found.hash == print.hash && is_same(found)) {
                return Some(earlier);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The first index with this hash that `is_same`.
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

/// Calls `drop` with every sample that `is_same` as an earlier one, and the offset of that one,
/// in their order; `is_same` gets the offsets of both.
pub(super) fn find(
    prints: &[Print],
    is_same: impl Fn(u32, u32) -> bool,
    mut drop: impl FnMut(&Print, u32),
) {
    let mut slots = Slots::new(prints.len());
    for (i, print) in prints.iter().enumerate() {
        let is_same = |earlier: Print| is_same(earlier.offset, print.offset);
        let earlier = slots.find_or_insert(prints, i, is_same).and_then(|i| prints.get(i));
        if let Some(earlier) = earlier {
            drop(print, earlier.offset);
        }
    }
}

/// Whether two lines, each with its form, have the same name, labels
/// in any order and timestamp in the output.
pub(super) fn are_same(lines: [(&[u8], Form<'_>); 2], task: &Task<'_>) -> bool {
    let [mut one, mut other] = [Vec::new(), Vec::new()];
    match (series(lines[0], task, &mut one), series(lines[1], task, &mut other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Why two samples are the same in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// They are the same in their source.
    Repeated,
    /// The output cannot tell their timestamps apart.
    Timestamp,
    /// Their bounds are one number, differently spelled.
    Bound,
}

/// Why two lines are the [same](are_same).
pub(super) fn cause(lines: [(&[u8], Form<'_>); 2], task: &Task<'_>) -> Cause {
    let spelled = lines.map(|(line, form)| (line, Form { has_bounds: false, ..form }));
    if lines.iter().any(|(_, form)| form.has_bounds) && !are_same(spelled, task) {
        return Cause::Bound;
    }
    let [one, other] = lines.map(|(line, _)| source_timestamp(line, task));
    if one == other { Cause::Repeated } else { Cause::Timestamp }
}

fn source_timestamp(line: &[u8], task: &Task<'_>) -> Option<u64> {
    let series = sample::parse(line, &[], &mut |_: Label<'_>| Ok(())).ok()?;
    let tail = tail::parse(line.get(series.end..).unwrap_or_default(), task.source).ok()?;
    tail.timestamp.map(|text| tail::timestamp_key(text, task.source, task.source))
}

/// The name, the labels in order of their text, the timestamp.
type Series<'a> = (&'a [u8], Vec<&'a [u8]>, Option<u64>);

fn series<'a>(
    (line, form): (&[u8], Form<'_>),
    task: &Task<'_>,
    written: &'a mut Vec<u8>,
) -> Result<Series<'a>, ErrorKind> {
    let end = Rewriter::new(task.dialect).series(line, task.labels, form, written)?.end;
    let tail = tail::parse(line.get(end..).unwrap_or_default(), task.source)?;
    let key = |text| tail::timestamp_key(text, task.source, task.dialect.naming);
    let timestamp = tail.timestamp.map(key);
    let mut labels = Vec::new();
    let series = sample::parse(written, &[], &mut |label: Label<'a>| {
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
            dialect::Dialect,
            families::Naming,
            format::{Format, Target},
            labels::Labels,
            limits::Limits,
            sample::Name,
            translate::Source,
        },
        *,
    };

    fn prints(hashes: &[u64]) -> Vec<Print> {
        let print = |(i, &hash)| Print { hash, offset: i as u32, line: i as u32 };
        hashes.iter().enumerate().map(print).collect()
    }

    fn found(hashes: &[u64], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        find(&prints(hashes), is_same, |print, _| found.push(print.line));
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
        assert_eq!(found(&[7; 5], |a, b| a % 2 == b % 2), [2, 3, 4]);
    }

    #[test]
    fn samples_are_compared_as_they_will_be_written() {
        let (labels, limits) = (Labels::new([("i", "")]), Limits::default());
        let dialect = Dialect::new(Target::new(Format::Text004));
        let source = Naming::Classic;
        let task =
            Task { body: b"", labels: &labels, limits: &limits, source, dialect, renames: None };
        let name = Name { text: b"x", is_quoted: false };
        let family = Source { name, metric_type: None, naming: source, renames: None };
        let form = Form { family, has_bounds: false, keeps_exemplar: true };
        let are_same =
            |lines: [&str; 2]| are_same(lines.map(|line| (line.as_bytes(), form)), &task);
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
