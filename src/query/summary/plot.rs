//! The last hour of a metric of a Prometheus, and the names of its metrics.

use super::{LAST_SECOND, TIMEOUT};
use crate::query::{PrometheusClient, QueryBackend, QueryFailure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const STEP: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
/// Maximum number of series of a plot.
const MAX_SERIES: usize = 10;
/// Maximum number of names.
const MAX_NAMES: usize = 500;
/// Counters by their suffix, which the naming guide of Prometheus requires.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];

/// The name of a metric. No other text of users becomes part of a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricName(String);

impl Default for MetricName {
    /// A metric of every Prometheus: what each target costs.
    fn default() -> Self {
        Self("scrape_samples_scraped".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of a metric: letters, digits, _ and :, at most 200 characters")]
pub struct MetricNameError;

impl MetricName {
    const MAX: usize = 200;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetricName {
    type Err = MetricNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        let starts_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
        let is_valid = !text.is_empty() && text.len() <= Self::MAX && !starts_with_digit;
        match is_valid && text.bytes().all(is_name) {
            true => Ok(Self(text.to_owned())),
            false => Err(MetricNameError),
        }
    }
}

/// Values of a metric in the last hour.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRange {
    /// The query, in PromQL.
    pub query: String,
    /// Times of the first and the last value.
    pub start: SystemTime,
    pub end: SystemTime,
    pub step: Duration,
    /// Number of series that the query returned.
    pub count: usize,
    /// Those with the largest values, at most 10.
    pub largest: Vec<RangeSeries>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RangeSeries {
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970, and finite values.
    pub points: Vec<(u64, f64)>,
}

impl PrometheusClient {
    /// The values of a metric in the hour before `end`: of a counter, its rate.
    ///
    /// # Errors
    /// [`QueryFailure`] if the instance does not return them.
    pub async fn range(
        &self,
        backend: &QueryBackend,
        metric: &MetricName,
        end: SystemTime,
    ) -> Result<MetricRange, QueryFailure> {
        let is_counter = self.is_counter(backend, metric).await?;
        let (query, start) = (query_of(metric, is_counter), hour_before(end));
        let encoded = utf8_percent_encode(&query, NON_ALPHANUMERIC);
        let target = format!(
            "/api/v1/query_range?query={encoded}&start={}&end={}&step={}",
            seconds(start),
            seconds(end),
            STEP.as_secs()
        );
        let (count, largest) = self.api(backend, &target, TIMEOUT, RangeData::largest).await?;
        Ok(MetricRange { query, start, end, step: STEP, count, largest })
    }

    /// Names of metrics in the hour before `end`, at most 500, sorted.
    ///
    /// # Errors
    /// [`QueryFailure`] if the instance does not return them.
    pub async fn metric_names(
        &self,
        backend: &QueryBackend,
        end: SystemTime,
    ) -> Result<Vec<MetricName>, QueryFailure> {
        let target = format!(
            "/api/v1/label/__name__/values?start={}&end={}&limit={MAX_NAMES}",
            seconds(hour_before(end)),
            seconds(end)
        );
        self.api(backend, &target, TIMEOUT, names).await
    }

    async fn is_counter(
        &self,
        backend: &QueryBackend,
        MetricName(name): &MetricName,
    ) -> Result<bool, QueryFailure> {
        if COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            return Ok(true);
        }
        let target = format!("/api/v1/metadata?metric={name}&limit=1");
        self.api(backend, &target, TIMEOUT, |metadata: Metadata| {
            metadata.values().flatten().any(|it| it.kind == "counter")
        })
        .await
    }
}

/// By the labels that identify an instance. Series of other targets are combined.
fn query_of(MetricName(name): &MetricName, is_counter: bool) -> String {
    match is_counter {
        true => format!("sum by (app_name, index) (rate({name}[5m]))"),
        false => format!("avg by (app_name, index) ({name})"),
    }
}

fn hour_before(end: SystemTime) -> SystemTime {
    end.checked_sub(HOUR).unwrap_or(UNIX_EPOCH)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn names(names: Vec<String>) -> Vec<MetricName> {
    // Prometheus 3 allows any text as a name.
    let mut names: Vec<MetricName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    names.sort_unstable();
    names.truncate(MAX_NAMES);
    names
}

/// The metadata of a metric by its name.
type Metadata = HashMap<String, Vec<MetricMetadata>>;

#[derive(Deserialize)]
struct MetricMetadata {
    #[serde(rename = "type", default)]
    kind: String,
}

/// The response of a range query.
#[derive(Deserialize)]
struct RangeData {
    result: Vec<MatrixSeries>,
}

#[derive(Deserialize)]
struct MatrixSeries {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl RangeData {
    /// The number of series, and those with the largest values.
    fn largest(self) -> (usize, Vec<RangeSeries>) {
        let mut all: Vec<_> = self.result.into_iter().map(RangeSeries::of).collect();
        let count = all.len();
        all.sort_by(|a, b| b.maximum().total_cmp(&a.maximum()));
        all.truncate(MAX_SERIES);
        // In the order of their labels, so that colors are stable.
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        (count, all)
    }
}

impl RangeSeries {
    fn of(MatrixSeries { metric, values }: MatrixSeries) -> Self {
        let point = |(time, value): (f64, String)| {
            let value = value.parse().ok().filter(|value: &f64| value.is_finite())?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let time = time as u64;
            (time <= LAST_SECOND).then_some((time, value))
        };
        Self { labels: metric, points: values.into_iter().filter_map(point).collect() }
    }

    fn maximum(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn only_names_of_metrics_become_part_of_a_query() {
        let long = "a".repeat(201);
        for text in ["", "1a", "a b", "a{}", "a)", "ä", "a-b", "a\n", "\"a\"", &long] {
            assert_eq!(text.parse::<MetricName>(), Err(MetricNameError), "{text}");
        }
        for text in ["a", "_a", ":a", "a1", "job:a_b:sum", &long[1..]] {
            assert_eq!(text.parse::<MetricName>().unwrap().as_str(), text);
        }
        let names = names(["b", "not a name", "a"].map(str::to_owned).into());
        assert_eq!(names.iter().map(MetricName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn the_query_of_a_counter_is_its_rate() {
        let query = |name: &str, is_counter| query_of(&name.parse().unwrap(), is_counter);
        assert_eq!(query("a_total", true), "sum by (app_name, index) (rate(a_total[5m]))");
        assert_eq!(query("a", false), "avg by (app_name, index) (a)");
    }

    fn largest(body: &str) -> Option<(usize, Vec<RangeSeries>)> {
        parse::<RangeData>(body.as_bytes()).map(RangeData::largest)
    }

    #[test]
    fn the_largest_series_are_kept_in_the_order_of_their_labels() {
        // As Prometheus 2.42 and 3.5 return it.
        let series = |index: usize| {
            format!(
                r#"{{"metric":{{"index":"{index:02}"}},"values":[[1764428400,"{index}"],[1764428430.5,"NaN"],[1764428460,"+Inf"],[1e300,"1"]]}}"#
            )
        };
        let all: Vec<_> = (0..25).map(series).collect();
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
            all.join(",")
        );
        let (count, kept) = largest(&body).unwrap();
        assert_eq!(count, 25);
        let indexes: Vec<_> = kept.iter().map(|series| series.labels["index"].as_str()).collect();
        assert_eq!(indexes, ["15", "16", "17", "18", "19", "20", "21", "22", "23", "24"]);
        assert_eq!(kept[0].points, [(1_764_428_400, 15.0)]);
        assert_eq!(largest(r#"{"data":{"result":[]}}"#), Some((0, vec![])));
        assert_eq!(largest(r#"{"data":{"resultType":"vector"}}"#), None);
    }
}
