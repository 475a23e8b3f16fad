//! Finds gaps by comparing the replicas of a pool.

use super::{
    TimeRange, TimeRanges,
    scrape_counts::{ScrapeCounts, Scrapes},
};
use std::ops::RangeInclusive;

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
    let largest = |index: i64| {
        let known = all.iter().filter_map(|it| it.get(index));
        known.fold(Scrapes::default(), |a, b| Scrapes {
            all: a.all.max(b.all),
            successful: a.successful.max(b.successful),
        })
    };
    let mut expected: Vec<Scrapes> = (first..=last).map(largest).collect();
    fill_holes(&mut expected);
    let distance = usize::try_from(resolution.window / resolution.step).unwrap_or(1);
    let expected = without_peaks(&expected, distance);
    all.iter().map(|it| gaps(resolution, it, first, &expected)).collect()
}

/// Where no replica has made a scrape, all of them have a gap, unless there were no targets before or
/// after it.
fn fill_holes(expected: &mut [Scrapes]) {
    let has_any = |it: &Scrapes| it.all > 0.0;
    let last = expected.iter().rposition(has_any).unwrap_or(0);
    let mut before = Scrapes::default();
    for scrapes in expected.iter_mut().take(last) {
        if has_any(scrapes) {
            before = *scrapes;
        }
        *scrapes = before;
    }
}

/// A server that was stopped for a while makes one scrape more when it continues. So of the numbers
/// of a window, of the one before and of the one after it, the one in the middle is expected.
fn without_peaks(largest: &[Scrapes], distance: usize) -> Vec<Scrapes> {
    let expected = |(index, own): (usize, &Scrapes)| {
        let before = index.checked_sub(distance).and_then(|it| largest.get(it));
        let after = largest.get(index + distance);
        let of = |of: fn(&Scrapes) -> f32| match (before.map(of), after.map(of)) {
            (Some(before), Some(after)) => middle(before, of(own), after),
            (neighbor, None) | (None, neighbor) => neighbor.map_or(of(own), |it| it.min(of(own))),
        };
        Scrapes { all: of(|it| it.all), successful: of(|it| it.successful) }
    };
    largest.iter().enumerate().map(expected).collect()
}

fn middle(a: f32, b: f32, c: f32) -> f32 {
    a.max(b).min(a.min(b).max(c))
}

fn gaps(
    resolution: Resolution,
    counts: &ScrapeCounts,
    first: i64,
    expected: &[Scrapes],
) -> TimeRanges {
    let Some((known_first, known_last)) = counts.known().map(RangeInclusive::into_inner) else {
        return TimeRanges::default();
    };
    let lacks = |index: i64| {
        let expected = usize::try_from(index - first).ok().and_then(|it| expected.get(it));
        let found = counts.get(index).zip(expected);
        found.is_some_and(|(found, expected)| resolution.lacks(found, *expected))
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
        let is_none_left = counts.get(index - 1).is_some_and(|it| it.all == 0.0);
        if length >= resolution.confirmations || is_none_left {
            let end = (index <= known_last).then_some(index);
            gaps.insert(resolution.gap(began, end));
        }
    }
    gaps
}

impl Resolution {
    /// A target that fails is no gap, although one replica may notice its failure before another.
    /// A replica that reaches less than half of the targets that another one reaches has a gap.
    fn lacks(self, found: Scrapes, expected: Scrapes) -> bool {
        let (share, number) = self.tolerance;
        found.all < expected.all - (expected.all * share).max(number)
            || found.successful < expected.successful / 2.0
    }

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

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn all_successful(count: usize) -> Scrapes {
        Scrapes { all: count as f32, successful: count as f32 }
    }

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
        counts.add(from, (from..=to).map(|index| all_successful(count(index))).collect());
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
            50 => all_successful(1),
            54 => all_successful(3),
            _ => all_successful(2),
        };
        late.add(0, (0..=100).map(number).collect());
        assert!(compare(RECENT, &[&even, &late]).iter().all(TimeRanges::is_empty));
    }

    #[test]
    fn a_scrape_too_many_is_no_gap_of_the_others() {
        let count = |peak: i64| {
            let mut counts = ScrapeCounts::new(1000);
            let number =
                |it: i64| all_successful(if (peak..peak + 4).contains(&it) { 9 } else { 6 });
            counts.add(0, (0..=100).map(number).collect());
            counts
        };
        for peak in [0, 1, 50, 97, 100] {
            let found = compare(RECENT, &[&count(peak), &count(1000)]);
            assert!(found.iter().all(TimeRanges::is_empty), "{peak}: {found:?}");
        }
        let ordered = [(1.0, 2.0, 3.0), (3.0, 1.0, 2.0), (2.0, 3.0, 1.0), (2.0, 2.0, 7.0)];
        assert!(ordered.into_iter().all(|(a, b, c)| middle(a, b, c) == 2.0));
    }

    #[test]
    fn a_replica_that_reaches_few_targets_has_a_gap() {
        let count = |successful: f32| {
            let mut counts = ScrapeCounts::new(1000);
            let number = |index| match index {
                40..60 => Scrapes { all: 40.0, successful },
                _ => all_successful(40),
            };
            counts.add(0, (0..100).map(number).collect());
            counts
        };
        let found = compare(RECENT, &[&count(40.0), &count(0.0), &count(19.0), &count(39.0)]);
        assert!(found[0].is_empty() && found[3].is_empty(), "{found:?}");
        for found in [&found[1], &found[2]] {
            assert!(found.overlaps(range(200, 280)), "{found:?}");
        }
        // If no replica reaches them, the targets are down.
        let found = compare(RECENT, &[&count(0.0), &count(0.0)]);
        assert!(found.iter().all(TimeRanges::is_empty), "{found:?}");
    }

    #[test]
    fn targets_that_come_and_go_are_no_gap() {
        let number = |index| match index {
            0..30 => all_successful(0),
            30..60 => all_successful(40),
            _ => all_successful(4),
        };
        let count = |_: usize| {
            let mut counts = ScrapeCounts::new(1000);
            counts.add(0, (0..100).map(number).collect());
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
            counts.add(
                0,
                (0..20).map(|it| all_successful(if it == small { 900 } else { 1000 })).collect(),
            );
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
