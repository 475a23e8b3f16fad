//! Summaries, which prometheus-client does not have.

use super::locked;
use std::{
    collections::VecDeque,
    fmt::{self, Write},
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Age at which an observation leaves the quantiles. Client libraries of Prometheus use it too.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Maximum number of observations in the quantiles. The oldest one leaves first.
const MAX_OBSERVATIONS: usize = 500;

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

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
    recent: VecDeque<(Instant, f64)>,
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
        if self.recent.len() == MAX_OBSERVATIONS {
            self.recent.pop_front();
        }
        self.recent.push_back((now, value));
    }

    /// The smallest observation that is not exceeded by the quantile's part of the recent ones. NaN
    /// if there are none.
    fn quantiles(&mut self, now: Instant) -> [f64; QUANTILES.len()] {
        while self.recent.front().is_some_and(|(time, _)| now.duration_since(*time) > MAX_AGE) {
            self.recent.pop_front();
        }
        let mut values: Vec<f64> = self.recent.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        QUANTILES.map(|quantile| {
            let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
            values.get(rank - 1).copied().unwrap_or(f64::NAN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_observations_by_rank() {
        let (mut state, now) = (State::default(), Instant::now());
        (1..=100).rev().for_each(|value| state.observe(now, f64::from(value)));
        assert_eq!(state.quantiles(now), [50.0, 90.0, 99.0]);
        assert_eq!((state.count, state.sum), (100, 5050.0));

        let mut one = State::default();
        one.observe(now, 7.0);
        assert_eq!(one.quantiles(now), [7.0; 3]);
    }

    #[test]
    fn old_observations_leave_the_quantiles_but_not_the_sum() {
        let (mut state, now) = (State::default(), Instant::now());
        state.observe(now, 9.0);
        state.observe(now + MAX_AGE, 1.0);
        assert_eq!(state.quantiles(now + MAX_AGE)[1], 9.0);
        let later = now + MAX_AGE + Duration::from_secs(1);
        assert_eq!(state.quantiles(later), [1.0; 3]);
        assert!(state.quantiles(later + MAX_AGE).iter().all(|value| value.is_nan()));
        assert_eq!((state.count, state.sum), (2, 10.0));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut state, now) = (State::default(), Instant::now());
        (0..10 * MAX_OBSERVATIONS).for_each(|value| state.observe(now, value as f64));
        assert_eq!(state.recent.len(), MAX_OBSERVATIONS);
        assert_eq!(state.quantiles(now)[0], 9.5 * MAX_OBSERVATIONS as f64 - 1.0);
    }
}
