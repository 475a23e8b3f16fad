//! Sets of times.

/// The times `(start, end]`, milliseconds since 1970: like a range selector of Prometheus 3, without
/// the first and with the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start: i64,
    pub end: i64,
}

/// Time ranges, sorted, that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeRanges(Vec<TimeRange>);

impl TimeRange {
    /// Later times than any query asks for.
    pub(super) const OPEN_END: i64 = i64::MAX;

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Milliseconds of both ranges.
    fn overlap(self, other: Self) -> i64 {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        end.saturating_sub(start).max(0)
    }

    fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

impl TimeRanges {
    /// Adds the times of `range`.
    pub(super) fn insert(&mut self, mut range: TimeRange) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|it| it.end < range.start);
        let last = self.0.partition_point(|it| it.start <= range.end);
        if let Some(touched) = self.0.get(first..last)
            && let (Some(lowest), Some(highest)) = (touched.first(), touched.last())
        {
            range.start = range.start.min(lowest.start);
            range.end = range.end.max(highest.end);
        }
        self.0.splice(first..last, [range]);
    }

    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        let next = self.0.partition_point(|it| it.end <= range.start);
        self.0.get(next).is_some_and(|it| it.overlaps(range))
    }

    /// Milliseconds of `range` that are in this set.
    pub(super) fn overlap(&self, range: TimeRange) -> i64 {
        let all = self.0.iter().map(|it| it.overlap(range));
        all.fold(0, i64::saturating_add)
    }

    /// The first range that ends after `time`.
    pub(super) fn next_after(&self, time: i64) -> Option<TimeRange> {
        self.0.get(self.0.partition_point(|it| it.end <= time)).copied()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &TimeRange> + ExactSizeIterator {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Joins the ranges with the shortest times between them until there are at most `max`.
    pub(super) fn limit(&mut self, max: usize) {
        if self.0.len() <= max {
            return;
        }
        let distance = |pair: &[TimeRange]| match pair {
            [a, b] => b.start.saturating_sub(a.end),
            _ => 0,
        };
        let mut distances: Vec<i64> = self.0.windows(2).map(distance).collect();
        distances.sort_unstable();
        let joined = distances.get(self.0.len() - max - 1).copied().unwrap_or_default();
        let mut rest: Vec<TimeRange> = Vec::with_capacity(max);
        for range in self.0.drain(..) {
            match rest.last_mut() {
                Some(last) if range.start.saturating_sub(last.end) <= joined => {
                    last.end = range.end
                }
                _ => rest.push(range),
            }
        }
        self.0 = rest;
    }
}

impl FromIterator<TimeRange> for TimeRanges {
    fn from_iter<T: IntoIterator<Item = TimeRange>>(ranges: T) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|it| set.insert(it));
        set
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::query::gaps) fn range(start: i64, end: i64) -> TimeRange {
        TimeRange { start, end }
    }

    pub(in crate::query::gaps) fn ranges(all: &[(i64, i64)]) -> TimeRanges {
        all.iter().map(|(start, end)| range(*start, *end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};
    use proptest::prelude::*;

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        for (added, expected) in [
            (range(20, 30), vec![(0, 10), (20, 30), (40, 50)]),
            (range(10, 20), vec![(0, 20), (40, 50)]),
            (range(5, 45), vec![(0, 50)]),
            (range(-5, 60), vec![(-5, 60)]),
            (range(41, 42), vec![(0, 10), (40, 50)]),
            (range(30, 30), vec![(0, 10), (40, 50)]),
        ] {
            let mut set = ranges(&[(40, 50), (0, 10)]);
            set.insert(added);
            assert_eq!(set, ranges(&expected), "{added:?}");
            assert_eq!(set.iter().len(), expected.len(), "{added:?}");
        }
    }

    #[test]
    fn too_many_ranges_are_joined() {
        let mut set = ranges(&[(0, 10), (11, 20), (100, 110), (113, 120), (500, 510)]);
        set.limit(3);
        assert_eq!(set, ranges(&[(0, 20), (100, 120), (500, 510)]));
        set.limit(1);
        assert_eq!(set, ranges(&[(0, 510)]));
    }

    proptest! {
        #[test]
        fn the_set_contains_what_was_inserted(
            inserted in proptest::collection::vec((0i64..60, 1i64..9), 0..12),
            probe in (0i64..70, 1i64..9),
        ) {
            let inserted: Vec<_> = inserted.iter().map(|(at, len)| range(*at, at + len)).collect();
            let set: TimeRanges = inserted.iter().copied().collect();
            let contains = |time: i64| inserted.iter().any(|it| it.start < time && time <= it.end);
            let probe = range(probe.0, probe.0 + probe.1);
            let common = (probe.start + 1..=probe.end).filter(|it| contains(*it)).count();
            prop_assert_eq!(set.overlap(probe), i64::try_from(common).unwrap());
            prop_assert_eq!(set.overlaps(probe), common > 0);
            let sorted: Vec<_> = set.iter().collect();
            prop_assert!(sorted.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
