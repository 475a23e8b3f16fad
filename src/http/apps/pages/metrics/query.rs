//! Parameters of the page about the metrics of an app.

use crate::http::apps::request::BadRequest;
use exposition::FamilyReport;
use std::time::Duration;
use url::form_urlencoded;

/// Scrape intervals that the page calculates with.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MetricsQuery {
    /// The scrape interval for the estimate of stored samples.
    pub(super) interval: Duration,
    pub(super) order: FamilyOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FamilyOrder {
    /// The families with the most series first.
    Series,
    Name,
    /// The families with the most values of one label first.
    Labels,
}

impl MetricsQuery {
    pub(super) fn parse(query: &str) -> Result<Self, BadRequest> {
        let mut parsed = Self { interval: Duration::from_secs(15), order: FamilyOrder::Series };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "interval" => parsed.interval = interval(&value)?,
                "sort" => {
                    let found = FamilyOrder::ALL.into_iter().find(|order| order.as_str() == value);
                    let expected = || "series, name or labels".to_owned();
                    parsed.order =
                        found.ok_or_else(|| BadRequest::Parameter("sort", expected()))?;
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    pub(super) fn interval_text(&self) -> String {
        humantime::format_duration(self.interval).to_string()
    }
}

fn interval(text: &str) -> Result<Duration, BadRequest> {
    let interval = humantime::parse_duration(text.trim()).ok();
    interval.filter(|it| INTERVALS.contains(it)).ok_or_else(|| {
        let expected = "a duration from 1s to 24h, for example 15s".to_owned();
        BadRequest::Parameter("interval", expected)
    })
}

impl FamilyOrder {
    pub(super) const ALL: [Self; 3] = [Self::Series, Self::Name, Self::Labels];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Name => "name",
            Self::Labels => "labels",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Series => "most series",
            Self::Name => "name",
            Self::Labels => "most values of a label",
        }
    }

    /// Sorts the families. Equal ones are in the order of their names.
    pub(super) fn sort(self, families: &mut [FamilyReport]) {
        let values =
            |family: &FamilyReport| family.widest_label.as_ref().map_or(0, |(_, values)| *values);
        families.sort_by(|a, b| {
            let ordering = match self {
                Self::Series => b.series().cmp(&a.series()),
                Self::Name => std::cmp::Ordering::Equal,
                Self::Labels => values(b).cmp(&values(a)),
            };
            ordering.then_with(|| a.name.cmp(&b.name))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_checked() {
        let seconds = Duration::from_secs;
        for (query, interval, order) in [
            ("", seconds(15), FamilyOrder::Series),
            ("interval=1m&sort=name", seconds(60), FamilyOrder::Name),
            ("interval=1h+30m&sort=labels&other=1", seconds(5400), FamilyOrder::Labels),
        ] {
            assert_eq!(MetricsQuery::parse(query), Ok(MetricsQuery { interval, order }), "{query}");
        }
        for query in ["interval=0s", "interval=25h", "interval=soon", "interval=", "sort=x"] {
            assert!(MetricsQuery::parse(query).is_err(), "{query}");
        }
    }
}
