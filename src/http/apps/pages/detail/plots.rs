//! Plots of the last scrapes of an app.

use crate::{
    http::{
        apps::description::InstanceDescription,
        ui::plot::{Plot, PlotSeries, PlotUnit},
    },
    scrape::ScrapePoint,
};
use std::{collections::BTreeMap, time::SystemTime};

/// With more instances, a plot has lines for minimum, median and maximum.
const MAX_LINES: usize = 6;

type Values = Vec<(SystemTime, Option<f64>)>;

/// Duration and samples of the last scrapes.
pub(super) fn plots(instances: &[InstanceDescription]) -> Vec<Plot> {
    let duration = |point: &ScrapePoint| point.samples.map(|_| point.duration.as_secs_f64());
    let samples = |point: &ScrapePoint| point.samples.map(f64::from);
    [
        plot("Duration of the last scrapes", instances, PlotUnit::Seconds, duration),
        plot("Samples of the last scrapes", instances, PlotUnit::Number, samples),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn plot(
    title: &str,
    instances: &[InstanceDescription],
    unit: PlotUnit,
    value: impl Fn(&ScrapePoint) -> Option<f64>,
) -> Option<Plot> {
    let values = |instance: &InstanceDescription| -> Values {
        let points = instance.history.iter().map(|point| &point.0);
        points.map(|point| (point.at, value(point))).collect()
    };
    let scraped = instances.iter().filter(|it| !it.history.is_empty());
    let mut series: Vec<_> =
        scraped.map(|it| PlotSeries { name: it.name(), points: values(it) }).collect();
    if series.len() > MAX_LINES {
        series = quantiles(&series).into();
    }
    series.sort_by(|a, b| a.name.cmp(&b.name));
    Plot::new(title, &series, unit)
}

/// Minimum, median and maximum of all series at each time.
fn quantiles(series: &[PlotSeries]) -> [PlotSeries; 3] {
    let mut by_time: BTreeMap<SystemTime, Vec<f64>> = BTreeMap::new();
    for (at, value) in series.iter().flat_map(|it| &it.points) {
        by_time.entry(*at).or_default().extend(*value);
    }
    by_time.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
    let line = |name: &str, choose: fn(&[f64]) -> Option<f64>| PlotSeries {
        name: name.to_owned(),
        points: by_time.iter().map(|(at, values)| (*at, choose(values))).collect(),
    };
    [
        line("minimum", |values| values.first().copied()),
        line("median", |values| values.get(values.len() / 2).copied()),
        line("maximum", |values| values.last().copied()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn many_instances_are_shown_by_minimum_median_and_maximum() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let series: Vec<_> = (0..9)
            .map(|index| PlotSeries {
                name: format!("web/{index}"),
                points: vec![(at(1), Some(f64::from(index))), (at(2), None)],
            })
            .collect();
        let [minimum, median, maximum] = quantiles(&series);
        assert_eq!(minimum.points, [(at(1), Some(0.0)), (at(2), None)]);
        assert_eq!(median.points, [(at(1), Some(4.0)), (at(2), None)]);
        assert_eq!(maximum.points, [(at(1), Some(8.0)), (at(2), None)]);
    }
}
