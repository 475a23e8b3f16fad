//! Health of the replicas of a pool.

use super::measurement::Measurement;
use std::fmt;

/// Equal results in a row after which the health of a replica changes.
const RESULTS_FOR_CHANGE: u32 = 2;
/// A clock may differ from the others by this many seconds.
const MAX_CLOCK_OFFSET: f64 = 30.0;
/// Scrape intervals that the newest sample of a replica may be older than that of the others.
const MAX_MISSED_SCRAPES: f64 = 3.0;
/// Used for servers that do not report a scrape interval, seconds.
const DEFAULT_SCRAPE_INTERVAL: f64 = 60.0;
/// Minimum delay that makes a replica stale, seconds. Probes are not simultaneous.
const MIN_DELAY: f64 = 30.0;

/// From good to bad: a query goes to the best replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    Healthy,
    /// Its newest sample is older than that of the others.
    Stale,
    /// Its clock differs from the others, so its samples have wrong times.
    WrongClock,
    /// It holds no samples.
    Empty,
    /// It responds, but is not ready.
    NotReady,
    Unreachable,
}

impl Health {
    pub const ALL: [Self; 6] = [
        Self::Healthy,
        Self::Stale,
        Self::WrongClock,
        Self::Empty,
        Self::NotReady,
        Self::Unreachable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::WrongClock => "wrong clock",
            Self::Empty => "empty",
            Self::NotReady => "not ready",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a probe.
#[derive(Clone, Debug)]
pub(super) struct ProbeResult {
    pub(super) readiness: Readiness,
    pub(super) measurement: Measurement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotReady(String),
    Unreachable(String),
}

/// Health and the reason for it, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    pub(super) health: Health,
    pub(super) reason: String,
}

/// Compares the results of all replicas.
pub(super) fn diagnose(results: &[ProbeResult]) -> Vec<Diagnosis> {
    let clock = median_offset(results);
    let has_right_clock = |it: &&ProbeResult| clock_error(it, clock) <= MAX_CLOCK_OFFSET;
    let newest = results
        .iter()
        .filter(|it| it.readiness == Readiness::Ready)
        .filter(has_right_clock)
        .filter_map(|it| it.measurement.newest_sample)
        .fold(None, |newest: Option<f64>, it| Some(newest.map_or(it, |newest| newest.max(it))));
    results.iter().map(|it| diagnose_one(it, clock, newest)).collect()
}

fn diagnose_one(result: &ProbeResult, clock: Option<f64>, newest: Option<f64>) -> Diagnosis {
    let bad = |health, reason| Diagnosis { health, reason };
    match &result.readiness {
        Readiness::Unreachable(why) => return bad(Health::Unreachable, why.clone()),
        Readiness::NotReady(why) => return bad(Health::NotReady, why.clone()),
        Readiness::Ready => {}
    }
    let measured = &result.measurement;
    if measured.is_empty {
        return bad(Health::Empty, "its database contains no samples".to_owned());
    }
    let error = clock_error(result, clock);
    if error > MAX_CLOCK_OFFSET {
        return bad(Health::WrongClock, format!("its clock differs by {error:.0} s"));
    }
    // The newest sample of an earlier measurement says nothing about now.
    if let (Some(newest), Some(own), false) = (newest, measured.newest_sample, measured.is_late) {
        let interval = measured.scrape_interval.unwrap_or(DEFAULT_SCRAPE_INTERVAL);
        let behind = newest - own;
        if behind > (MAX_MISSED_SCRAPES * interval).max(MIN_DELAY) {
            let reason =
                format!("its newest sample is {behind:.0} s older than that of another replica");
            return bad(Health::Stale, reason);
        }
    }
    Diagnosis { health: Health::Healthy, reason: String::new() }
}

/// The median of the clocks of this machine (0) and of all replicas, so that neither one wrong
/// replica nor this machine's own clock decides. Of two clocks, neither can be called wrong.
fn median_offset(results: &[ProbeResult]) -> Option<f64> {
    let offsets = results.iter().filter_map(|it| it.measurement.clock_offset);
    let mut offsets: Vec<f64> = offsets.chain([0.0]).collect();
    offsets.sort_by(f64::total_cmp);
    offsets.get((offsets.len() - 1) / 2).copied().filter(|_| offsets.len() > 2)
}

/// How far the clock of a replica differs from the median, seconds; 0 if that is unknown.
fn clock_error(result: &ProbeResult, clock: Option<f64>) -> f64 {
    let offset = result.measurement.clock_offset.zip(clock);
    offset.map_or(0.0, |(offset, clock)| (offset - clock).abs())
}

/// The health of one replica over time: a change needs several equal results in a row.
#[derive(Clone, Debug)]
pub(super) struct HealthHistory {
    current: Health,
    /// A different result, and how often in a row it was found.
    next: Option<(Health, u32)>,
}

impl HealthHistory {
    /// Starts with the first result.
    pub(super) fn new(first: Health) -> Self {
        Self { current: first, next: None }
    }

    pub(super) fn current(&self) -> Health {
        self.current
    }

    /// Records a result. Returns the previous health if it has changed.
    pub(super) fn record(&mut self, found: Health) -> Option<Health> {
        if found == self.current {
            self.next = None;
            return None;
        }
        let count = match self.next {
            Some((next, count)) if next == found => count + 1,
            _ => 1,
        };
        if count < RESULTS_FOR_CHANGE {
            self.next = Some((found, count));
            return None;
        }
        self.next = None;
        Some(std::mem::replace(&mut self.current, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(newest: f64, clock_offset: f64) -> ProbeResult {
        let measurement = Measurement {
            newest_sample: Some(newest),
            clock_offset: Some(clock_offset),
            scrape_interval: Some(15.0),
            ..Measurement::default()
        };
        ProbeResult { readiness: Readiness::Ready, measurement }
    }

    fn health(results: &[ProbeResult]) -> Vec<Health> {
        diagnose(results).into_iter().map(|it| it.health).collect()
    }

    #[test]
    fn a_replica_that_does_not_scrape_is_stale() {
        let now = 1.7e9;
        let results = [result(now, 0.0), result(now - 40.0, 0.0), result(now - 50.0, 0.0)];
        assert_eq!(health(&results), [Health::Healthy, Health::Healthy, Health::Stale]);
        let all_old = [result(now - 900.0, 0.0), result(now - 910.0, 0.0)];
        assert_eq!(health(&all_old), [Health::Healthy; 2], "none is newer");
    }

    #[test]
    fn a_clock_that_is_wrong_by_a_day_makes_no_other_replica_stale() {
        let (now, day) = (1.7e9, 86_400.0);
        let ahead = [result(now, 0.0), result(now + day, day)];
        assert_eq!(health(&ahead), [Health::Healthy, Health::WrongClock]);
        assert_eq!(diagnose(&ahead)[1].reason, "its clock differs by 86400 s");
        let behind = [result(now - day, -day), result(now, 1.0), result(now, -1.0)];
        let expected = [Health::WrongClock, Health::Healthy, Health::Healthy];
        assert_eq!(health(&behind), expected);
        for offset in [day, -day] {
            assert_eq!(health(&[result(now + offset, offset)]), [Health::Healthy], "one replica");
        }
        let mut late = [result(now, 0.0), result(now - 900.0, 0.0)];
        late[1].measurement.is_late = true;
        assert_eq!(health(&late), [Health::Healthy; 2], "its newest sample is unknown");
        let own_is_wrong = [result(now + day, day), result(now + day, day + 1.0)];
        assert_eq!(health(&own_is_wrong), [Health::Healthy; 2]);
    }

    #[test]
    fn readiness_counts_more_than_data() {
        let mut results = [result(0.0, 0.0), result(0.0, 0.0), result(0.0, 0.0)];
        results[0].readiness = Readiness::NotReady("replaying".to_owned());
        results[1].readiness = Readiness::Unreachable("refused".to_owned());
        results[2].measurement.is_empty = true;
        let expected = [Health::NotReady, Health::Unreachable, Health::Empty];
        assert_eq!(health(&results), expected);
        assert_eq!(diagnose(&results)[0].reason, "replaying");
        let unknown =
            ProbeResult { readiness: Readiness::Ready, measurement: Measurement::default() };
        assert_eq!(health(&[unknown, result(1.7e9, 0.0)]), [Health::Healthy; 2]);
    }

    #[test]
    fn a_change_needs_equal_results_in_a_row() {
        use Health::{Healthy, NotReady, Unreachable};
        let mut history = HealthHistory::new(Healthy);
        for found in [Unreachable, Healthy, Unreachable, NotReady, Unreachable] {
            assert_eq!(history.record(found), None);
            assert_eq!(history.current(), Healthy);
        }
        assert_eq!(history.record(Unreachable), Some(Healthy));
        assert_eq!(history.current(), Unreachable);
        assert_eq!((history.record(Healthy), history.record(Healthy)), (None, Some(Unreachable)));
    }
}
