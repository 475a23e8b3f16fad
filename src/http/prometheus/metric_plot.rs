//! The plot of a metric on the page of a Prometheus.

use crate::{
    http::ui::plot::{Plot, PlotSeries, PlotUnit},
    query::{MetricName, MetricRange, RangeSeries},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

#[derive(Debug, Serialize)]
pub(super) struct PlotTwin {
    metric: String,
    pub(super) query: String,
    step_seconds: u64,
    /// Number of series; those with the largest values are listed.
    pub(super) series_total: usize,
    pub(super) series: Vec<PlotTwinSeries>,
}

#[derive(Debug, Serialize)]
pub(super) struct PlotTwinSeries {
    labels: BTreeMap<String, String>,
    /// Seconds since 1970, and values.
    values: Vec<(u64, f64)>,
}

impl PlotTwin {
    pub(super) fn new(metric: &MetricName, range: MetricRange) -> Self {
        let series = range.largest.into_iter();
        let series =
            series.map(|RangeSeries { labels, points }| PlotTwinSeries { labels, values: points });
        Self {
            metric: metric.as_str().to_owned(),
            query: range.query,
            step_seconds: range.step.as_secs(),
            series_total: range.count,
            series: series.collect(),
        }
    }

    /// `None` if there are too few values.
    pub(super) fn plot(&self) -> Option<Plot> {
        let series: Vec<_> = self.series.iter().map(|it| it.plotted(&self.metric)).collect();
        Plot::new(&format!("{} in the last hour", self.metric), &series, PlotUnit::Number)
    }
}

impl PlotTwinSeries {
    fn plotted(&self, metric: &str) -> PlotSeries {
        let labels: Vec<_> = self.labels.values().map(String::as_str).collect();
        let name = if labels.is_empty() { metric.to_owned() } else { labels.join("/") };
        let points = self.values.iter().filter_map(|(seconds, value)| {
            let since_1970 = Duration::from_secs(*seconds);
            Some((UNIX_EPOCH.checked_add(since_1970)?, Some(*value)))
        });
        PlotSeries { name, points: points.collect() }
    }
}
