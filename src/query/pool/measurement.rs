//! What a replica reports about its data.

use crate::query::metrics_text::samples;
use std::time::Duration;

/// Times are seconds since 1970 on the clock of the replica. `None`: unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    pub version: Option<String>,
    /// When its process started.
    pub started: Option<f64>,
    pub oldest_sample: Option<f64>,
    pub newest_sample: Option<f64>,
    /// Samples that it stored since its start.
    pub samples_appended: Option<f64>,
    /// Its shortest scrape interval, seconds.
    pub scrape_interval: Option<f64>,
    /// Its longest scrape interval, seconds.
    pub longest_scrape_interval: Option<f64>,
    /// Whether it reported that it holds no samples.
    pub is_empty: bool,
    /// How far its clock is ahead of this machine's clock, seconds.
    pub clock_offset: Option<f64>,
    /// The last measurement did not arrive in time: all but the clock is from an earlier one.
    pub is_late: bool,
}

/// Samples that are more than this far from 1970 are placeholders of an empty database: it reports
/// the largest and the smallest 64-bit numbers, in milliseconds.
const MAX_TIME: f64 = 1e14;

impl Measurement {
    /// Reads the metrics of a server. Versions 1, 2 and 3 use different names.
    pub(super) fn read(metrics: &str) -> Self {
        let mut found = Self::default();
        let (mut oldest, mut newest) = (None, None);
        for sample in samples(metrics) {
            let value = sample.value;
            match sample.name {
                "process_start_time_seconds" => found.started = Some(value),
                "prometheus_build_info" => {
                    found.version = sample.label("version").map(str::to_owned);
                }
                "prometheus_tsdb_lowest_timestamp_seconds" => oldest = Some(value),
                // Milliseconds, in versions that have no other.
                "prometheus_tsdb_lowest_timestamp" => oldest = oldest.or(Some(value / 1e3)),
                "prometheus_tsdb_head_max_time_seconds" => newest = Some(value),
                "prometheus_tsdb_head_max_time" => newest = newest.or(Some(value / 1e3)),
                // One series per type of samples.
                "prometheus_tsdb_head_samples_appended_total"
                | "prometheus_local_storage_ingested_samples_total" => {
                    found.samples_appended = Some(found.samples_appended.unwrap_or(0.0) + value);
                }
                "prometheus_target_interval_length_seconds" => {
                    let interval = sample.label("interval").and_then(seconds);
                    found.scrape_interval = one_of(found.scrape_interval, interval, f64::min);
                    found.longest_scrape_interval =
                        one_of(found.longest_scrape_interval, interval, f64::max);
                }
                _ => {}
            }
        }
        let is_time = |time: &f64| time.abs() < MAX_TIME;
        found.is_empty = [oldest, newest].iter().any(|time| time.is_some_and(|it| !is_time(&it)))
            && newest.filter(is_time).is_none();
        found.oldest_sample = oldest.filter(is_time).filter(|_| !found.is_empty);
        found.newest_sample = newest.filter(is_time);
        found
    }

    /// What is known after this measurement: if it is late, the values of the one `before`.
    pub(super) fn or_earlier(self, before: Option<&Self>) -> Self {
        match before.filter(|_| self.is_late) {
            Some(before) => {
                Self { clock_offset: self.clock_offset, is_late: true, ..before.clone() }
            }
            None => self,
        }
    }

    /// The age of the oldest sample at `now`, a time of this machine's clock.
    pub fn history(&self, now: f64) -> Option<Duration> {
        self.age(self.oldest_sample?, now)
    }

    /// The age of `time`, a time of the replica's clock, at `now`, a time of this machine's clock.
    pub fn age(&self, time: f64, now: f64) -> Option<Duration> {
        let now = now + self.clock_offset.unwrap_or(0.0);
        Duration::try_from_secs_f64((now - time).max(0.0)).ok()
    }
}

/// A duration like `15s` or `1m0s`.
fn seconds(text: &str) -> Option<f64> {
    humantime::parse_duration(text).ok().map(|it| it.as_secs_f64()).filter(|it| *it > 0.0)
}

fn one_of(a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_all_versions_are_read() {
        let version2 = "# TYPE prometheus_build_info gauge\n\
            prometheus_build_info{branch=\"x y\",version=\"2.42.0\"} 1\n\
            process_start_time_seconds 1.7e+09\n\
            prometheus_tsdb_lowest_timestamp 1.6e+12\n\
            prometheus_tsdb_lowest_timestamp_seconds 1.6e+09\n\
            prometheus_tsdb_head_max_time_seconds 1.7e+09\n\
            prometheus_tsdb_head_samples_appended_total{type=\"float\"} 100\n\
            prometheus_tsdb_head_samples_appended_total{type=\"histogram\"} 20\n\
            prometheus_target_interval_length_seconds{interval=\"1m0s\",quantile=\"0.5\"} 60\n\
            prometheus_target_interval_length_seconds{interval=\"15s\",quantile=\"0.5\"} 15\n";
        let expected = Measurement {
            version: Some("2.42.0".to_owned()),
            started: Some(1.7e9),
            oldest_sample: Some(1.6e9),
            newest_sample: Some(1.7e9),
            samples_appended: Some(120.0),
            scrape_interval: Some(15.0),
            longest_scrape_interval: Some(60.0),
            is_empty: false,
            clock_offset: None,
            is_late: false,
        };
        assert_eq!(Measurement::read(version2), expected);

        let early2 = "prometheus_tsdb_head_max_time 1.7e+12\nprometheus_tsdb_lowest_timestamp 1.6e+12\n\
            prometheus_tsdb_head_samples_appended_total 7\n";
        let found = Measurement::read(early2);
        assert_eq!((found.oldest_sample, found.newest_sample), (Some(1.6e9), Some(1.7e9)));
        assert_eq!(found.samples_appended, Some(7.0));

        let version1 = "prometheus_local_storage_ingested_samples_total 42\n";
        let found = Measurement::read(version1);
        assert_eq!((found.samples_appended, found.is_empty), (Some(42.0), false));
        assert_eq!(Measurement::read("<html>nonsense"), Measurement::default());
    }

    #[test]
    fn an_empty_database_has_no_history() {
        let empty = "prometheus_tsdb_lowest_timestamp_seconds 9.223372036854776e+15\n\
            prometheus_tsdb_lowest_timestamp 9.223372036854776e+18\n\
            prometheus_tsdb_head_max_time_seconds -9.223372036854776e+15\n\
            prometheus_tsdb_head_samples_appended_total{type=\"float\"} 0\n";
        let found = Measurement::read(empty);
        assert!(found.is_empty);
        assert_eq!((found.oldest_sample, found.newest_sample), (None, None));
        assert_eq!(found.history(1.7e9), None);
    }

    #[test]
    fn a_late_measurement_keeps_the_earlier_values() {
        let before = Measurement { oldest_sample: Some(7.0), ..Measurement::default() };
        let late = Measurement { is_late: true, clock_offset: Some(1.0), ..Measurement::default() };
        assert_eq!(late.clone().or_earlier(None), late);
        let expected = Measurement { oldest_sample: Some(7.0), ..late.clone() };
        assert_eq!(late.or_earlier(Some(&before)), expected);
        let new = Measurement { oldest_sample: Some(9.0), ..Measurement::default() };
        assert_eq!(new.clone().or_earlier(Some(&before)), new);
    }

    #[test]
    fn history_is_measured_on_the_clock_of_the_replica() {
        let found = Measurement {
            oldest_sample: Some(1000.0),
            clock_offset: Some(-500.0),
            ..Measurement::default()
        };
        assert_eq!(found.history(2000.0), Some(Duration::from_secs(500)));
        assert_eq!(found.history(1000.0), Some(Duration::ZERO));
    }
}
