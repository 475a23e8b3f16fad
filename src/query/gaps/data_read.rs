//! Which data a request reads.

use super::{
    TimeRange,
    expression::{SamplesRead, samples_read},
};
use crate::{domain::prometheus::Period, query::QueryRequest};
use std::{borrow::Cow, time::Duration};
use url::form_urlencoded;

/// Prometheus' default for how far it looks back for the newest sample, milliseconds.
const LOOKBACK: i64 = 5 * 60 * 1000;
/// Prometheus rejects range queries with more steps.
const MAX_STEPS: i64 = 11_000;
/// Times that are further from 1970 are no times of samples, seconds.
const MAX_TIME: f64 = 1e12;

/// The data that a request reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) struct DataRead {
    pub(super) steps: Steps,
    /// The samples that a step reads.
    pub(super) samples: SamplesRead,
    pub(super) combination: Combination,
}

/// Times at which an expression is evaluated, milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Time between two steps. Not zero.
    pub(super) step: i64,
}

/// How responses of several replicas can be combined to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Combination {
    Impossible,
    /// Each replica evaluates some of the steps.
    Slices,
    /// The union of what the replicas know. `limit`: its maximum size.
    Labels {
        limit: Option<usize>,
    },
    Series {
        limit: Option<usize>,
    },
}

impl DataRead {
    /// `None` if the request reads no data, or is not understood. `now`: milliseconds since 1970.
    pub(in crate::query) fn of(request: &QueryRequest<'_>, now: i64) -> Option<Self> {
        let parameters = Parameters::of(request);
        match request.target.split('?').next()? {
            "/api/v1/query" => {
                let time = parameters.time("time")?.unwrap_or(now);
                parameters.evaluation(Steps { first: time, last: time, step: 1 })
            }
            "/api/v1/query_range" => {
                let (start, end) = (parameters.time("start")??, parameters.time("end")??);
                let step = duration(&parameters.get("step")?).filter(|step| *step > 0)?;
                let count = end.checked_sub(start).filter(|it| *it >= 0)? / step;
                let steps = Steps { first: start, last: start + count * step, step };
                parameters.evaluation(steps).filter(|_| count < MAX_STEPS)
            }
            "/api/v1/query_exemplars" => parameters.list(Combination::Impossible),
            "/api/v1/series" => parameters.list(Combination::Series { limit: parameters.limit() }),
            "/api/v1/labels" => parameters.list(Combination::Labels { limit: parameters.limit() }),
            path if path.starts_with("/api/v1/label/") => {
                parameters.list(Combination::Labels { limit: parameters.limit() })
            }
            "/federate" => Some(Self {
                steps: Steps { first: now, last: now, step: 1 },
                samples: SamplesRead {
                    relative: vec![TimeRange { start: -LOOKBACK, end: 0 }],
                    decisive: vec![TimeRange { start: -LOOKBACK, end: 0 }],
                    ..SamplesRead::default()
                },
                combination: Combination::Impossible,
            }),
            _ => None,
        }
    }
}

impl DataRead {
    pub(in crate::query) fn combination(&self) -> Combination {
        self.combination
    }
}

/// The parameters of a request. Those of the form count before those of the URL.
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn of(request: &'a QueryRequest<'_>) -> Self {
        let form = form_urlencoded::parse(request.form().map_or(&[][..], |form| form));
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        Self(form.chain(form_urlencoded::parse(query.as_bytes())).collect())
    }

    /// The parameters with other steps, encoded.
    pub(super) fn with_steps(&self, first: i64, last: i64) -> String {
        let others = self.0.iter().filter(|(name, _)| !matches!(&**name, "start" | "end"));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("start", &seconds(first))
            .append_pair("end", &seconds(last))
            .finish()
    }

    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| Cow::Borrowed(&**value)).filter(|value| !value.is_empty())
    }

    /// `None` if the value is no time, `Some(None)` if it is missing.
    #[expect(clippy::option_option, reason = "a missing time has a default, a wrong one has none")]
    fn time(&self, name: &str) -> Option<Option<i64>> {
        self.get(name).map_or(Some(None), |text| time(&text).map(Some))
    }

    fn limit(&self) -> Option<usize> {
        self.get("limit")?.parse().ok().filter(|limit| *limit > 0)
    }

    fn evaluation(&self, steps: Steps) -> Option<DataRead> {
        let lookback = self.get("lookback_delta").map_or(Some(LOOKBACK), |it| duration(&it))?;
        let expression = self.get("query")?;
        let samples = samples_read(&expression, (steps.first, steps.last), lookback)?;
        // Statistics and limits are those of a whole query.
        let is_whole = samples.depends_on_steps
            || steps.first == steps.last
            || self.get("limit").is_some()
            || self.get("stats").is_some();
        let combination = if is_whole { Combination::Impossible } else { Combination::Slices };
        Some(DataRead { steps, samples, combination })
    }

    fn list(&self, combination: Combination) -> Option<DataRead> {
        let start = self.time("start")?.unwrap_or(i64::MIN);
        let end = self.time("end")?.unwrap_or(i64::MAX);
        Some(DataRead {
            steps: Steps { first: end, last: end, step: 1 },
            samples: SamplesRead {
                absolute: vec![TimeRange { start, end }],
                ..SamplesRead::default()
            },
            combination,
        })
    }
}

/// A time in seconds, for a parameter.
pub(super) fn seconds(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    format!("{seconds}.{rest:03}")
}

/// Milliseconds of a parameter in seconds since 1970, or as in `2026-01-31T12:00:00.5+01:00`.
fn time(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => milliseconds(seconds),
        Err(_) => rfc3339(text),
    }
}

/// Milliseconds of a parameter in seconds, or as in `1m30s`.
fn duration(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => milliseconds(seconds),
        Err(_) => whole_milliseconds(text.parse::<Period>().ok()?.duration()),
    }
}

fn milliseconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is checked")]
    (seconds.abs() < MAX_TIME).then(|| (seconds * 1e3).round() as i64)
}

fn whole_milliseconds(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_millis()).ok()
}

fn rfc3339(text: &str) -> Option<i64> {
    let utc = |text: &str| {
        let time = humantime::parse_rfc3339(text).ok()?;
        whole_milliseconds(time.duration_since(std::time::UNIX_EPOCH).ok()?)
    };
    if text.ends_with('Z') {
        return utc(text);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let offset_minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    let local = utc(&format!("{local}Z"))?;
    match offset.as_bytes().first()? {
        b'+' => Some(local - offset_minutes * 60_000),
        b'-' => Some(local + offset_minutes * 60_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::RequestBody;
    use awc::http::header::HeaderMap;
    use bytes::Bytes;

    const NOW: i64 = 1_700_000_000_000;

    fn read(target: &str, form: Option<&'static str>) -> Option<DataRead> {
        let headers = HeaderMap::new();
        DataRead::of(&request(target, form, &headers), NOW)
    }

    fn request<'a>(
        target: &str,
        form: Option<&'static str>,
        headers: &'a HeaderMap,
    ) -> QueryRequest<'a> {
        let body = form.map(|it| RequestBody::form(Bytes::from_static(it.as_bytes())));
        QueryRequest { body, ..QueryRequest::get(target.to_owned(), headers, Duration::MAX) }
    }

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange { start, end }
    }

    #[test]
    fn an_instant_query_has_one_step() {
        for (parameters, time) in [
            ("query=up", NOW),
            ("query=up&time=", NOW),
            ("query=up&time=1699999999.9995", NOW),
            ("query=up&time=1699999990", NOW - 10_000),
            ("query=up&time=2023-11-14T22:13:20Z", NOW),
            ("query=up&time=2023-11-14T23%3A43%3A20.25%2B01%3A30", NOW + 250),
            ("query=up&time=2023-11-14T20:13:20-02:00", NOW),
        ] {
            let found = read(&format!("/api/v1/query?{parameters}"), None).unwrap();
            assert_eq!(found.steps, Steps { first: time, last: time, step: 1 }, "{parameters}");
            assert_eq!(found.samples.relative, [range(-LOOKBACK, 0)]);
            assert_eq!(found.combination, Combination::Impossible);
            assert_eq!(
                read("/api/v1/query?query=down[", Some(Box::leak(parameters.into()))),
                Some(found)
            );
        }
        let found = read("/api/v1/query?query=up&lookback_delta=1m", None).unwrap();
        assert_eq!(found.samples.relative, [range(-60_000, 0)]);
    }

    #[test]
    fn a_range_query_has_steps_up_to_its_end() {
        let found = read("/api/v1/query_range?query=up&start=100&end=199.5&step=10", None).unwrap();
        assert_eq!(found.steps, Steps { first: 100_000, last: 190_000, step: 10_000 });
        assert_eq!(found.combination, Combination::Slices);
        let found =
            read("/api/v1/query_range", Some("query=up&start=100&end=160&step=1m")).unwrap();
        assert_eq!(found.steps, Steps { first: 100_000, last: 160_000, step: 60_000 });
        for whole in ["limit=1", "stats=all", "query=up%20%40%20end()"] {
            let target = format!("/api/v1/query_range?{whole}&query=up&start=1&end=9&step=1");
            let found = read(&target, None).unwrap();
            assert_eq!(found.combination, Combination::Impossible, "{whole}");
        }
    }

    #[test]
    fn lists_have_a_time_range() {
        for (target, expected, combination) in [
            ("labels", (i64::MIN, i64::MAX), Combination::Labels { limit: None }),
            ("labels?start=1&limit=7", (1000, i64::MAX), Combination::Labels { limit: Some(7) }),
            ("label/job/values?end=2", (i64::MIN, 2000), Combination::Labels { limit: None }),
            ("series?start=1&end=2&limit=0", (1000, 2000), Combination::Series { limit: None }),
            ("query_exemplars?query=x&start=1&end=2", (1000, 2000), Combination::Impossible),
        ] {
            let found = read(&format!("/api/v1/{target}"), None).unwrap();
            assert_eq!(found.samples.absolute, [range(expected.0, expected.1)], "{target}");
            assert_eq!(found.combination, combination, "{target}");
        }
        assert!(read("/federate?match[]=up", None).is_some());
    }

    #[test]
    fn what_is_not_understood_is_passed_on() {
        for target in [
            "/api/v1/query",
            "/api/v1/query?query=sum(",
            "/api/v1/query?query=up&time=now",
            "/api/v1/query?query=up&time=1e99",
            "/api/v1/query?query=up&time=NaN",
            "/api/v1/query?query=up&time=2023-11-14",
            "/api/v1/query?query=up&time=%F0%9F%98%80abcde",
            "/api/v1/query_range?query=up&start=1&end=2",
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            "/api/v1/query_range?query=up&start=1&end=2&step=-1",
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            "/api/v1/query_range?query=up&start=1&end=20000&step=1",
            "/api/v1/query_range?query=up&end=2&step=1",
            "/api/v1/labels?start=x",
            "/api/v1/rules",
            "/graph",
            "",
        ] {
            assert_eq!(read(target, None), None, "{target}");
        }
    }

    #[test]
    fn a_slice_has_the_other_parameters() {
        let headers = HeaderMap::new();
        let form = Some("query=x%20%2B%201&start=5&step=15s");
        let whole = request("/api/v1/query_range?start=1&end=2&timeout=3s", form, &headers);
        let slice = Parameters::of(&whole).with_steps(1_000, 90_061);
        let expected = "query=x+%2B+1&step=15s&timeout=3s&start=1.000&end=90.061";
        assert_eq!(slice, expected);
    }
}
