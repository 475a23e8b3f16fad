//! Chooses the replicas that answer a query.

use super::{
    TimeRange, TimeRanges,
    data_read::{Combination, DataRead, Steps},
    expression::SamplesRead,
};
use std::borrow::Cow;

/// Maximum number of slices of a query. Each is a request.
const MAX_SLICES: usize = 16;

/// What is known of a replica.
#[derive(Clone, Debug)]
pub(in crate::query) struct PlannedReplica<'a> {
    /// Whether it responds, as far as is known.
    pub(in crate::query) is_usable: bool,
    pub(in crate::query) gaps: Cow<'a, TimeRanges>,
}

/// The replicas that answer a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) enum Plan {
    /// One of them answers the whole query.
    Whole(Order),
    Slices(Vec<Slice>),
    /// Each of them answers the whole query.
    Union {
        replicas: Vec<usize>,
        is_complete: bool,
    },
}

/// Replicas, as indexes, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) struct Order {
    pub(in crate::query) replicas: Vec<usize>,
    /// The first of them have all data that the query reads.
    pub(in crate::query) complete: usize,
}

/// Some steps of a range query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) struct Slice {
    pub(in crate::query) first: i64,
    pub(in crate::query) last: i64,
    pub(in crate::query) order: Order,
}

/// `replicas` by preference. `oldest`: time of the oldest sample of all of them.
pub(in crate::query) fn plan(
    read: &DataRead,
    replicas: &[PlannedReplica<'_>],
    oldest: i64,
) -> Plan {
    let planner = Planner { read, replicas, oldest };
    let whole = planner.order(read.steps.first, read.steps.last);
    if whole.complete > 0 {
        return Plan::Whole(whole);
    }
    let several = match read.combination {
        Combination::Impossible => None,
        Combination::Slices => planner.slices(),
        Combination::Labels { .. } | Combination::Series { .. } => planner.union(),
    };
    several.unwrap_or(Plan::Whole(whole))
}

struct Planner<'a> {
    read: &'a DataRead,
    replicas: &'a [PlannedReplica<'a>],
    oldest: i64,
}

impl Planner<'_> {
    /// The replicas for the steps from `first` to `last`: complete ones, others from small to large
    /// gaps, and those that do not respond.
    fn order(&self, first: i64, last: i64) -> Order {
        let SamplesRead { relative, decisive, .. } = &self.read.samples;
        let rank = |index: &usize| {
            let is_usable = self.replicas.get(*index).is_some_and(|it| it.is_usable);
            let missing = |read| self.missing(*index, read, first, last);
            (!is_usable, missing(decisive), missing(relative))
        };
        let mut ranked: Vec<_> = (0..self.replicas.len()).map(|it| (rank(&it), it)).collect();
        // A stable sort keeps the order of equal replicas.
        ranked.sort_by_key(|(rank, _)| *rank);
        let complete = ranked.iter().take_while(|(rank, _)| *rank == (false, 0, 0)).count();
        Order { replicas: ranked.into_iter().map(|(_, index)| index).collect(), complete }
    }

    /// Milliseconds of gaps within the data that the steps from `first` to `last` read. `relative`:
    /// the data of a step.
    fn missing(&self, index: usize, relative: &[TimeRange], first: i64, last: i64) -> i64 {
        let Some(replica) = self.replicas.get(index) else { return i64::MAX };
        let absolute = &self.read.samples.absolute;
        let moved = relative.iter().map(|it| TimeRange {
            start: first.saturating_add(it.start),
            end: last.saturating_add(it.end),
        });
        let all = moved.chain(absolute.iter().copied());
        let missing = all.map(|it| replica.gaps.overlap(self.existing(it)));
        missing.fold(0, i64::saturating_add)
    }

    /// No replica has samples before the oldest.
    fn existing(&self, range: TimeRange) -> TimeRange {
        TimeRange { start: range.start.max(self.oldest), ..range }
    }

    /// The steps at which each replica lacks data of `relative`.
    fn incomplete_steps(&self, relative: &[TimeRange]) -> Vec<TimeRanges> {
        self.replicas.iter().map(|it| self.incomplete_steps_of(it, relative)).collect()
    }

    fn incomplete_steps_of(
        &self,
        replica: &PlannedReplica<'_>,
        relative: &[TimeRange],
    ) -> TimeRanges {
        let everything = TimeRange { start: i64::MIN, end: i64::MAX };
        let overlaps = |it: &TimeRange| replica.gaps.overlaps(self.existing(*it));
        if !replica.is_usable || self.read.samples.absolute.iter().any(overlaps) {
            return [everything].into_iter().collect();
        }
        let gaps = replica.gaps.iter().map(|gap| self.existing(*gap));
        let steps = |gap: TimeRange| {
            relative.iter().map(move |read| TimeRange {
                start: gap.start.saturating_sub(read.end),
                end: gap.end.saturating_sub(read.start).saturating_sub(1),
            })
        };
        gaps.filter(|gap| gap.start < gap.end).flat_map(steps).collect()
    }

    /// Each slice has as many steps as one replica can evaluate completely. Where none can, each slice
    /// has as many steps as one replica has the decisive data of.
    fn slices(&self) -> Option<Plan> {
        let Steps { first, last, step } = self.read.steps;
        let SamplesRead { relative, decisive, .. } = &self.read.samples;
        let incomplete = self.incomplete_steps(relative);
        let undecided = self.incomplete_steps(decisive);
        let mut slices = Vec::new();
        for (first, last) in stretches(&incomplete, first, last, step)? {
            let order = self.order(first, last);
            if order.complete > 0 {
                slices.push(Slice { first, last, order });
                continue;
            }
            for (first, last) in stretches(&undecided, first, last, step)? {
                slices.push(Slice { first, last, order: self.order(first, last) });
            }
        }
        let mut firsts = slices.iter().map(|it| it.order.replicas.first());
        let first = firsts.next()?;
        let is_needed = firsts.any(|it| it != first);
        (is_needed && slices.len() <= MAX_SLICES).then_some(Plan::Slices(slices))
    }

    /// The fewest replicas whose data is complete together.
    fn union(&self) -> Option<Plan> {
        let range = self.existing(*self.read.samples.absolute.first()?);
        let everything = TimeRange { start: i64::MIN, end: i64::MAX };
        let unusable: TimeRanges = [everything].into_iter().collect();
        let gaps = self.replicas.iter().map(|it| match it.is_usable {
            true => it.gaps.clone().into_owned(),
            false => unusable.clone(),
        });
        let gaps: Vec<TimeRanges> = gaps.collect();
        let first = range.start.saturating_add(1);
        let (mut replicas, mut is_complete) = (Vec::new(), true);
        for (start, end) in stretches(&gaps, first, range.end, 1)? {
            let part = TimeRange { start: start.saturating_sub(1), end };
            let overlap = |index: &usize| gaps.get(*index).map_or(i64::MAX, |it| it.overlap(part));
            let best = (0..gaps.len()).min_by_key(overlap)?;
            is_complete &= overlap(&best) == 0;
            if !replicas.contains(&best) {
                replicas.push(best);
            }
        }
        (replicas.len() > 1).then_some(Plan::Union { replicas, is_complete })
    }
}

/// Divides the steps into as few stretches as possible, in each of which one replica is complete at
/// all steps, or none is complete at any. `None` if there are too many.
fn stretches(
    incomplete: &[TimeRanges],
    first: i64,
    last: i64,
    step: i64,
) -> Option<Vec<(i64, i64)>> {
    let mut found = Vec::new();
    let mut time = first;
    while time <= last {
        if found.len() == MAX_SLICES {
            return None;
        }
        let ends = incomplete.iter().map(|it| match it.next_after(time.saturating_sub(1)) {
            Some(range) if range.start < time => Err(range.end),
            Some(range) => Ok(range.start),
            None => Ok(last),
        });
        let ends: Vec<Result<i64, i64>> = ends.collect();
        let complete = ends.iter().filter_map(|it| it.ok()).max();
        let end = complete.or_else(|| ends.iter().filter_map(|it| it.err()).min())?.min(last);
        let steps = end.saturating_sub(first) / step;
        let end = first.saturating_add(steps.saturating_mul(step)).max(time);
        found.push((time, end));
        time = end.saturating_add(step);
        if end == i64::MAX {
            break;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::gaps::time_ranges::testing::{range, ranges};
    use proptest::prelude::*;

    /// A range query whose steps read the samples of `lookback` before them.
    fn range_query(first: i64, last: i64, step: i64, lookback: i64) -> DataRead {
        DataRead {
            steps: Steps { first, last, step },
            samples: SamplesRead {
                relative: vec![range(-lookback, 0)],
                decisive: vec![range(-lookback, 0)],
                ..SamplesRead::default()
            },
            combination: Combination::Slices,
        }
    }

    fn replica(gaps: &[(i64, i64)]) -> PlannedReplica<'static> {
        PlannedReplica { is_usable: true, gaps: Cow::Owned(ranges(gaps)) }
    }

    fn whole(replicas: &[usize], complete: usize) -> Plan {
        Plan::Whole(Order { replicas: replicas.to_vec(), complete })
    }

    fn slices(plan: &Plan) -> Vec<(i64, i64, usize, usize)> {
        let Plan::Slices(slices) = plan else { panic!("{plan:?}") };
        let of = |it: &Slice| (it.first, it.last, it.order.replicas[0], it.order.complete);
        slices.iter().map(of).collect()
    }

    #[test]
    fn a_replica_that_is_complete_answers_the_whole_query() {
        let query = range_query(1000, 2000, 100, 50);
        let complete = replica(&[(0, 950), (2000, 3000)]);
        let (early, late) = (replica(&[(0, 951)]), replica(&[(1999, 2100)]));
        let of = |replicas: &[&PlannedReplica<'static>]| {
            plan(&query, &replicas.iter().map(|it| (*it).clone()).collect::<Vec<_>>(), i64::MIN)
        };
        assert_eq!(of(&[&complete, &early]), whole(&[0, 1], 1));
        assert_eq!(of(&[&early, &late, &complete, &complete]), whole(&[2, 3, 0, 1], 2));
        let down = PlannedReplica { is_usable: false, ..complete.clone() };
        assert_eq!(of(&[&down, &complete]), whole(&[1, 0], 1));
        assert_eq!(of(&[&down, &down]), whole(&[0, 1], 0), "none responds");
        assert_eq!(of(&[&early]), whole(&[0], 0));
        assert_eq!(of(&[]), whole(&[], 0));
    }

    #[test]
    fn what_no_replica_has_is_no_gap() {
        let query = range_query(1000, 2000, 100, 500);
        let (short, long) = (replica(&[(i64::MIN, 900)]), replica(&[(i64::MIN, 700)]));
        assert_eq!(plan(&query, &[short.clone(), long.clone()], 700), whole(&[1, 0], 1));
        assert_eq!(plan(&query, &[short, long], 900), whole(&[0, 1], 2));
    }

    #[test]
    fn a_range_query_is_split_where_replicas_have_gaps() {
        let query = range_query(1000, 2000, 100, 50);
        let (a, b) = (replica(&[(1210, 1290), (3000, 4000)]), replica(&[(1700, 1750)]));
        // Step 1300 reads the samples from 1250.
        let found = plan(&query, &[a.clone(), b.clone()], i64::MIN);
        assert_eq!(slices(&found), [(1000, 1700, 1, 1), (1800, 2000, 0, 2)]);
        // Each of three replicas is needed.
        let c = replica(&[(0, 1500)]);
        let b = replica(&[(0, 1100), (1400, 5000)]);
        let a = replica(&[(1150, 9000)]);
        let found = plan(&query, &[a, b, c], i64::MIN);
        let expected =
            [(1000, 1100, 0, 1), (1200, 1400, 1, 1), (1500, 1500, 0, 0), (1600, 2000, 2, 1)];
        let best = slices(&found);
        assert_eq!(
            best.iter().map(|it| (it.0, it.1, it.3)).collect::<Vec<_>>(),
            expected.iter().map(|it| (it.0, it.1, it.3)).collect::<Vec<_>>()
        );
        assert_eq!((best[0].2, best[1].2, best[3].2), (0, 1, 2));
    }

    #[test]
    fn the_replica_with_the_smallest_gap_answers_if_none_is_complete() {
        let query = range_query(1000, 2000, 100, 50);
        let both = [replica(&[(1000, 1900)]), replica(&[(900, 1100), (1800, 2100)])];
        let found = plan(&query, &both, i64::MIN);
        assert_eq!(
            slices(&found),
            [
                (1000, 1000, 0, 1),
                (1100, 1100, 0, 0),
                (1200, 1800, 1, 1),
                (1900, 1900, 0, 0),
                (2000, 2000, 0, 1)
            ]
        );
        let all = [replica(&[(0, 3000)]), replica(&[(0, 2500)]), replica(&[(900, 4000)])];
        assert_eq!(plan(&query, &all, i64::MIN), whole(&[0, 1, 2], 0));
        let unsplittable = DataRead { combination: Combination::Impossible, ..query.clone() };
        assert_eq!(plan(&unsplittable, &both, i64::MIN), whole(&[1, 0], 0));
        // Too many slices.
        let even: Vec<_> = (0..40).map(|it| (it * 100 + 10, it * 100 + 60)).collect();
        let many = range_query(0, 4000, 10, 5);
        let odd: Vec<_> = even.iter().map(|(start, end)| (start + 50, end + 50)).collect();
        let found = plan(&many, &[replica(&even), replica(&odd)], i64::MIN);
        assert!(matches!(found, Plan::Whole(Order { complete: 0, .. })), "{found:?}");
    }

    #[test]
    fn where_none_is_complete_the_decisive_samples_count() {
        let mut query = range_query(1000, 2000, 100, 500);
        query.samples.decisive = vec![range(-100, 0)];
        let both = [replica(&[(1250, 1290)]), replica(&[(1450, 1550)])];
        let found = plan(&query, &both, i64::MIN);
        let expected = [
            (1000, 1400, 1, 1),
            // Both have a gap in the 500 ms before these steps, but not in the last 100 ms.
            (1500, 1700, 0, 0),
            (1800, 2000, 0, 1),
        ];
        assert_eq!(slices(&found), expected);
        let instant = DataRead {
            steps: Steps { first: 1600, last: 1600, step: 1 },
            combination: Combination::Impossible,
            ..query
        };
        assert_eq!(
            plan(&instant, &both, i64::MIN),
            whole(&[0, 1], 0),
            "although its gap is longer"
        );
        let both = [replica(&[(1150, 1290)]), replica(&[(1590, i64::MAX)])];
        assert_eq!(
            plan(&instant, &both, i64::MIN),
            whole(&[0, 1], 0),
            "although its gap is longer"
        );
    }

    #[test]
    fn samples_of_fixed_times_exclude_a_replica() {
        let mut query = range_query(1000, 2000, 100, 50);
        query.samples.absolute.push(range(10, 20));
        let (a, b) = (replica(&[(15, 16)]), replica(&[(1500, 1600)]));
        let found = plan(&query, &[a, b], i64::MIN);
        assert_eq!(slices(&found), [(1000, 1500, 1, 1), (1600, 1600, 0, 0), (1700, 2000, 1, 1)]);
    }

    #[test]
    fn lists_are_united_from_as_few_replicas_as_possible() {
        let list = |start, end| DataRead {
            steps: Steps { first: end, last: end, step: 1 },
            samples: SamplesRead { absolute: vec![range(start, end)], ..SamplesRead::default() },
            combination: Combination::Labels { limit: None },
        };
        let all = [
            replica(&[(500, 600), (800, i64::MAX)]),
            replica(&[(i64::MIN, 700)]),
            replica(&[(0, 5000)]),
        ];
        assert_eq!(plan(&list(610, 790), &all, 0), whole(&[0, 1, 2], 1));
        let union = |replicas: &[usize], is_complete| Plan::Union {
            replicas: replicas.to_vec(),
            is_complete,
        };
        assert_eq!(plan(&list(610, 2000), &all, 0), union(&[0, 1], true));
        assert_eq!(plan(&list(i64::MIN, i64::MAX), &all, 0), union(&[0, 1], false));
        assert_eq!(plan(&list(510, 590), &all, 0), whole(&[0, 1, 2], 0));
    }

    proptest! {
        /// Slices contain each step once, and their first replica is complete whenever one is.
        #[test]
        fn each_step_is_answered_by_a_complete_replica_if_there_is_one(
            gaps in proptest::collection::vec(
                proptest::collection::vec((0i64..1000, 1i64..200), 0..4), 1..4),
            (first, count, step, lookback) in (0i64..500, 1i64..60, 1i64..20, 1i64..80),
        ) {
            let replicas: Vec<_> = gaps
                .iter()
                .map(|it| replica(&it.iter().map(|(at, len)| (*at, at + len)).collect::<Vec<_>>()))
                .collect();
            let query = range_query(first, first + (count - 1) * step, step, lookback);
            let is_complete = |index: usize, time: i64| {
                !replicas[index].gaps.overlaps(range(time - lookback, time))
            };
            let slices = match plan(&query, &replicas, i64::MIN) {
                Plan::Slices(slices) => slices,
                Plan::Whole(order) => {
                    vec![Slice { first: query.steps.first, last: query.steps.last, order }]
                }
                union @ Plan::Union { .. } => panic!("{union:?}"),
            };
            let is_whole = slices.len() == 1;
            let mut time = first;
            for slice in slices {
                prop_assert_eq!(slice.first, time);
                while time <= slice.last {
                    let is_right = is_complete(slice.order.replicas[0], time);
                    prop_assert!(slice.order.complete == 0 || is_right);
                    prop_assert!(slice.order.complete > 0 || !is_right || is_whole);
                    let any = (0..replicas.len()).any(|it| is_complete(it, time));
                    prop_assert!(is_right || !any || is_whole);
                    time += step;
                }
            }
            prop_assert_eq!(time, first + count * step);
        }
    }
}
