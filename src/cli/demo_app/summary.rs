//! Summaries, which prometheus-client does not have.

use super::locked;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Age at which an observation leaves the quantiles. Client libraries of Prometheus use it too.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Number of age buckets. Observations leave one bucket at a time, so the quantiles cover the last
/// eight to ten minutes.
const AGE_BUCKETS: u32 = 5;

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Quotient of the bounds of neighbouring value buckets. A quantile differs from an observation by
/// at most 1 %.
const GROWTH: f64 = 1.02;

/// Values outside of this range count as its ends. So the number of value buckets is limited.
const RANGE: [f64; 2] = [1e-6, 1e6];

/// Quantiles of the recent observations, and the sum and number of all observations.
///
/// The quantiles of several instances cannot be combined. Prefer histograms, except where the range
/// of the values is unknown and there is one instance.
pub(super) struct Summary {
    created: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sum: f64,
    count: u64,
    /// The oldest one is first.
    recent: VecDeque<AgeBucket>,
}

/// The observations of a fifth of the time window.
struct AgeBucket {
    began: Instant,
    /// Number of observations by value bucket.
    counts: BTreeMap<i16, u64>,
}

impl Default for Summary {
    fn default() -> Self {
        Self { created: SystemTime::now(), state: Mutex::default() }
    }
}

impl Summary {
    pub(super) fn observe(&self, value: f64) {
        locked(&self.state).observe(Instant::now(), value);
    }

    /// Writes a family in OpenMetrics: name, unit and help, and a summary per label. The values of
    /// the labels must not need escapes.
    pub(super) fn write_family<'a>(
        (name, unit, help): (&str, &str, &str),
        summaries: impl IntoIterator<Item = ((&'a str, &'a str), &'a Self)>,
        has_created: bool,
        out: &mut String,
    ) -> fmt::Result {
        writeln!(out, "# HELP {name} {help}.\n# TYPE {name} summary\n# UNIT {name} {unit}")?;
        for ((label, value), summary) in summaries {
            let label = format!("{label}=\"{value}\"");
            let mut state = locked(&summary.state);
            for (quantile, value) in QUANTILES.iter().zip(state.quantiles(Instant::now())) {
                writeln!(out, "{name}{{{label},quantile=\"{quantile}\"}} {value}")?;
            }
            writeln!(out, "{name}_count{{{label}}} {}", state.count)?;
            writeln!(out, "{name}_sum{{{label}}} {}", state.sum)?;
            if has_created {
                let created = summary.created.duration_since(UNIX_EPOCH).unwrap_or_default();
                writeln!(out, "{name}_created{{{label}}} {:.3}", created.as_secs_f64())?;
            }
        }
        Ok(())
    }
}

impl State {
    fn observe(&mut self, now: Instant, value: f64) {
        self.sum += value;
        self.count += 1;
        self.remove_old(now);
        let is_current =
            |bucket: &AgeBucket| now.duration_since(bucket.began) < MAX_AGE / AGE_BUCKETS;
        if !self.recent.back().is_some_and(is_current) {
            self.recent.push_back(AgeBucket { began: now, counts: BTreeMap::new() });
        }
        if let Some(bucket) = self.recent.back_mut() {
            *bucket.counts.entry(value_bucket(value)).or_default() += 1;
        }
    }

    fn remove_old(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|it| now.duration_since(it.began) >= MAX_AGE) {
            self.recent.pop_front();
        }
    }

    /// The smallest observation that is not exceeded by the quantile's part of the recent ones. NaN
    /// if there are none.
    fn quantiles(&mut self, now: Instant) -> [f64; QUANTILES.len()] {
        self.remove_old(now);
        let mut counts = BTreeMap::<i16, u64>::new();
        for (bucket, count) in self.recent.iter().flat_map(|bucket| &bucket.counts) {
            *counts.entry(*bucket).or_default() += count;
        }
        let total: u64 = counts.values().sum();
        QUANTILES.map(|quantile| {
            let rank = (quantile * total as f64).ceil().max(1.0) as u64;
            let mut counted = 0;
            let found = counts.iter().find(|(_, count)| {
                counted += **count;
                counted >= rank
            });
            found.map_or(f64::NAN, |(bucket, _)| middle(*bucket))
        })
    }
}

/// The bucket of the values that are greater than `GROWTH` to the power of the number minus one,
/// and at most `GROWTH` to its power.
fn value_bucket(value: f64) -> i16 {
    let [smallest, largest] = RANGE;
    value.clamp(smallest, largest).log(GROWTH).ceil() as i16
}

/// The value with the least relative difference from all values of a bucket.
fn middle(bucket: i16) -> f64 {
    2.0 * GROWTH.powi(bucket.into()) / (1.0 + GROWTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that the quantiles differ by at most 1 %.
    fn assert_quantiles(state: &mut State, now: Instant, expected: [f64; 3]) {
        let quantiles = state.quantiles(now);
        let is_close = |(actual, expected): (&f64, &f64)| (actual / expected - 1.0).abs() < 0.01;
        assert!(quantiles.iter().zip(&expected).all(is_close), "{quantiles:?}: {expected:?}");
    }

    #[test]
    fn quantiles_are_observations_by_rank() {
        let (mut state, now) = (State::default(), Instant::now());
        (1..=100).rev().for_each(|value| state.observe(now, f64::from(value)));
        assert_quantiles(&mut state, now, [50.0, 90.0, 99.0]);
        assert_eq!((state.count, state.sum), (100, 5050.0));

        let mut one = State::default();
        one.observe(now, 0.07);
        assert_quantiles(&mut one, now, [0.07; 3]);
    }

    #[test]
    fn old_observations_leave_the_quantiles_but_not_the_sum() {
        let (mut state, now) = (State::default(), Instant::now());
        state.observe(now, 9.0);
        let before = now + MAX_AGE - Duration::from_secs(1);
        state.observe(before, 1.0);
        assert_quantiles(&mut state, before, [1.0, 9.0, 9.0]);
        assert_quantiles(&mut state, now + MAX_AGE, [1.0; 3]);
        assert!(state.quantiles(before + MAX_AGE).iter().all(|value| value.is_nan()));
        assert_eq!((state.count, state.sum), (2, 10.0));
    }

    /// The queues of the workload end 2.5 jobs per second. A limit of the number of observations
    /// would shorten the time window.
    #[test]
    fn quantiles_cover_the_time_window_at_any_rate() {
        for per_second in [2.5, 250.0] {
            let (mut state, start) = (State::default(), Instant::now());
            let seconds = 1800.0;
            let observations = (seconds * per_second) as u32;
            let time = |i: u32| f64::from(i) / per_second;
            for i in 1..=observations {
                state.observe(start + Duration::from_secs_f64(time(i)), time(i));
            }
            let end = start + Duration::from_secs_f64(seconds);
            let [median, _, last] = state.quantiles(end);
            // The median of the last eight to ten minutes is four to five minutes old.
            let age = seconds - median;
            assert!((239.0 - 18.0..=301.0 + 18.0).contains(&age), "{per_second}: {age}");
            assert!(seconds - last < 24.0, "{per_second}: {last}");
            assert!(state.recent.len() <= AGE_BUCKETS as usize);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (mut state, start) = (State::default(), Instant::now());
        for i in 0..200_000_u32 {
            let value = 10_f64.powi(i as i32 % 600 - 300) * f64::from(1 + i % 97);
            state.observe(start + Duration::from_millis(i.into()) * 10, value);
        }
        for value in [0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            state.observe(start, value);
        }
        let [smallest, largest] = RANGE.map(value_bucket);
        let buckets = usize::from(largest.abs_diff(smallest)) + 1;
        assert!(buckets < 1500);
        assert!(state.recent.len() <= AGE_BUCKETS as usize);
        assert!(state.recent.iter().all(|bucket| bucket.counts.len() <= buckets));
    }
}
