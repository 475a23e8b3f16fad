//! Finds gaps by comparing the replicas of a pool.

use super::{TimeRange, TimeRanges, scrape_counts::ScrapeCounts};

/// How scrapes are counted, and which differences are gaps. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Resolution {
    /// Time between two numbers.
    pub(super) step: i64,
    /// Each number counts the scrapes of this time before it.
    pub(super) window: i64,
    /// Share of the scrapes, and their number, that a complete replica may lack.
    pub(super) tolerance: (f32, f32),
    /// Numbers in a row that must be too small.
    pub(super) confirmations: usize,
}

/// The gaps of each replica. A gap that is not over ends at [`TimeRange::OPEN_END`].
pub(super) fn compare(resolution: Resolution, all: &[&ScrapeCounts]) -> Vec<TimeRanges> {
    let known = || all.iter().filter_map(|it| it.known());
    let (Some(first), Some(last)) =
        (known().map(|it| *it.start()).min(), known().map(|it| *it.end()).max())
    else {
        return vec![TimeRanges::default(); all.len()];
    };
    let largest = |index: i64| all.iter().filter_map(|it| it.get(index)).fold(0.0, f32::max);
    let largest: Vec<f32> = (first..=last).map(largest).collect();
    let expected = expected(&largest, resolution.tolerance.1);
    all.iter().map(|it| gaps(resolution, it, first, &expected)).collect()
}

/// The number of scrapes of a complete replica. Where no replica has any, all of them have a gap,
/// unless there were no targets before or after it.
fn expected(largest: &[f32], least: f32) -> Vec<f32> {
    let has_any = |count: &f32| *count > least;
    let first = largest.iter().position(has_any).unwrap_or(largest.len());
    let last = largest.iter().rposition(has_any).unwrap_or(0);
    let mut before = 0.0;
    let one = |(index, count): (usize, &f32)| {
        let is_hole = !has_any(count) && (first..last).contains(&index);
        before = if is_hole { before } else { *count };
        before
    };
    largest.iter().enumerate().map(one).collect()
}

fn gaps(resolution: Resolution, counts: &ScrapeCounts, first: i64, expected: &[f32]) -> TimeRanges {
    let Some((known_first, known_last)) = counts.known().map(std::ops::RangeInclusive::into_inner)
    else {
        return TimeRanges::default();
    };
    let (share, number) = resolution.tolerance;
    let lacks = |index: i64| {
        let expected = usize::try_from(index - first).ok().and_then(|it| expected.get(it));
        let (Some(expected), Some(count)) = (expected, counts.get(index)) else { return false };
        count < expected - (expected * share).max(number)
    };
    let mut gaps = TimeRanges::default();
    let mut began = None;
    for index in known_first..=known_last + 1 {
        if index <= known_last && lacks(index) {
            began.get_or_insert(index);
            continue;
        }
        let Some(began) = began.take() else { continue };
        let length = usize::try_from(index - began).unwrap_or(usize::MAX);
        let is_none_left = counts.get(index - 1).is_some_and(|it| it <= number);
        if length >= resolution.confirmations || is_none_left {
            let end = (index <= known_last).then_some(index);
            gaps.insert(resolution.gap(began, end));
        }
    }
    gaps
}

impl Resolution {
    /// The scrapes that are missing in the windows from `first` until before `end`, with a margin.
    /// A missing scrape is in all windows that contain its time.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a margin")]
    fn gap(self, first: i64, end: Option<i64>) -> TimeRange {
        let unnoticed = (self.window as f32 * self.tolerance.0) as i64;
        let margin = unnoticed.max(self.step.min(self.window / 4));
        TimeRange {
            start: (first - 1) * self.step - margin,
            end: end.map_or(TimeRange::OPEN_END, |end| end * self.step - self.window + margin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::gaps::time_ranges::testing::{range, ranges};

    /// Scrapes each 10 s are counted in windows of 20 s, each 5 s.
    const RECENT: Resolution =
        Resolution { step: 5, window: 20, tolerance: (0.02, 0.5), confirmations: 2 };

    /// Counts the scrapes of targets at `phase + k * 10`, except those at times for which `is_down`.
    fn counts(phases: &[i64], from: i64, to: i64, is_down: impl Fn(i64) -> bool) -> ScrapeCounts {
        let scraped = |time: i64| {
            phases
                .iter()
                .filter(|phase| (time - **phase).rem_euclid(10) == 0 && !is_down(time))
                .count()
        };
        let count = |index: i64| (index * 5 - 19..=index * 5).map(scraped).sum::<usize>();
        let mut counts = ScrapeCounts::new(1000);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        counts.add(from, (from..=to).map(|index| count(index) as f32).collect());
        counts
    }

    #[test]
    fn scrapes_that_only_one_replica_lacks_are_a_gap_of_it() {
        let phases: Vec<i64> = (0..10).collect();
        for phases in [&phases[..], &[3], &[0], &[9, 9]] {
            let all = counts(phases, 0, 100, |_| false);
            for (from, to) in [(200, 200), (200, 230), (204, 214), (100, 300)] {
                let is_missing = |time: i64| (from..=to).contains(&time);
                let missing: Vec<i64> = (from..=to)
                    .filter(|time| phases.iter().any(|it| (time - it).rem_euclid(10) == 0))
                    .collect();
                let other = counts(phases, 0, 100, is_missing);
                let found = compare(RECENT, &[&all, &other]);
                assert!(found[0].is_empty(), "{phases:?} {from} {to}");
                let is_found = |time: &i64| found[1].overlaps(range(time - 1, *time));
                assert!(missing.iter().all(is_found), "{phases:?} {from} {to}: {found:?}");
                let around = ranges(&[(from - 25, to + 25)]);
                let inside = found[1].iter().all(|it| around.overlap(*it) == it.end - it.start);
                assert!(inside, "{phases:?} {from} {to}: {found:?}");
            }
        }
    }

    #[test]
    fn a_gap_that_is_not_over_is_open() {
        let phases: Vec<i64> = (0..10).collect();
        let all = counts(&phases, 0, 100, |_| false);
        let down = counts(&phases, 0, 100, |time| time > 480);
        let [_, found] = &*compare(RECENT, &[&all, &down]) else { panic!() };
        let found: Vec<_> = found.iter().copied().collect();
        let [gap] = *found else { panic!("{found:?}") };
        assert!((460..480).contains(&gap.start) && gap.end == TimeRange::OPEN_END, "{gap:?}");
        // A replica that has not been asked again has no gap there: that is for others to say.
        let unknown = counts(&phases, 0, 90, |_| false);
        assert!(compare(RECENT, &[&all, &unknown])[1].is_empty());
    }

    #[test]
    fn a_scrape_that_is_a_little_late_is_no_gap() {
        let even = counts(&[5], 0, 100, |_| false);
        // The scrape of time 250 happened at 251, so one window lacks it and another has one more.
        let mut late = ScrapeCounts::new(1000);
        let number = |index: i64| match index {
            50 => 1.0,
            54 => 3.0,
            _ => 2.0,
        };
        late.add(0, (0..=100).map(number).collect());
        assert!(compare(RECENT, &[&even, &late]).iter().all(TimeRanges::is_empty));
    }

    #[test]
    fn targets_that_come_and_go_are_no_gap() {
        let count = |_: usize| {
            let mut counts = ScrapeCounts::new(1000);
            counts.add(
                0,
                (0..100)
                    .map(|it| {
                        if it < 30 {
                            0.0
                        } else if it < 60 {
                            40.0
                        } else {
                            4.0
                        }
                    })
                    .collect(),
            );
            counts
        };
        let all: Vec<_> = (0..2).map(count).collect();
        let found = compare(RECENT, &all.iter().collect::<Vec<_>>());
        assert!(found.iter().all(TimeRanges::is_empty), "{found:?}");
    }

    #[test]
    fn times_without_any_scrape_are_gaps_of_all() {
        let phases: Vec<i64> = (0..10).collect();
        let count = || counts(&phases, 0, 100, |time| (200..260).contains(&time));
        let all = [count(), count()];
        let found = compare(RECENT, &all.iter().collect::<Vec<_>>());
        assert_eq!(found[0], found[1]);
        assert!(found[0].overlaps(range(220, 240)), "{found:?}");
        assert!(!found[0].overlaps(range(0, 180)) && !found[0].overlaps(range(280, 500)));
    }

    #[test]
    fn old_gaps_are_as_long_as_a_window() {
        let old = Resolution { step: 300, window: 300, tolerance: (0.04, 1.5), confirmations: 1 };
        let count = |small: i64| {
            let mut counts = ScrapeCounts::new(1000);
            counts.add(0, (0..20).map(|it| if it == small { 900.0 } else { 1000.0 }).collect());
            counts
        };
        let found = compare(old, &[&count(-1), &count(7)]);
        assert_eq!(found, [TimeRanges::default(), ranges(&[(6 * 300 - 75, 7 * 300 + 75)])]);
    }

    #[test]
    fn one_replica_or_none_has_nothing_to_compare_with() {
        assert_eq!(compare(RECENT, &[]), []);
        let unknown = ScrapeCounts::new(10);
        assert_eq!(compare(RECENT, &[&unknown]), [TimeRanges::default()]);
    }
}
