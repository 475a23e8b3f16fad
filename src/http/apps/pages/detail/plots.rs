//! Plots of the last scrapes of an app.

use crate::{
    http::ui::plot::{FailingInstances, Plot, PlotSeries, PlotUnit},
    scrape::ScrapePoint,
};
use std::time::SystemTime;

/// With more instances, a plot has lines for minimum, median and maximum.
const MAX_LINES: usize = 6;

/// Maximum number of times in a plot of more than [`MAX_LINES`] instances.
const MAX_TIMES: u32 = 120;

/// The last scrapes of one instance, oldest first.
pub(super) struct InstanceHistory {
    pub(super) name: String,
    pub(super) points: Vec<ScrapePoint>,
}

/// Duration and samples of the last scrapes.
pub(super) fn plots(mut instances: Vec<InstanceHistory>) -> Vec<Plot> {
    instances.retain(|it| !it.points.is_empty());
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    let duration = |point: &ScrapePoint| point.samples.map(|_| point.duration.as_secs_f64());
    let samples = |point: &ScrapePoint| point.samples.map(f64::from);
    [
        plot("Duration of the last scrapes", &instances, PlotUnit::Seconds, duration),
        plot("Samples of the last scrapes", &instances, PlotUnit::Number, samples),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn plot(
    title: &str,
    instances: &[InstanceHistory],
    unit: PlotUnit,
    value: impl Fn(&ScrapePoint) -> Option<f64>,
) -> Option<Plot> {
    let series = |it: &InstanceHistory| PlotSeries {
        name: it.name.clone(),
        points: it.points.iter().map(|point| (point.at, value(point))).collect(),
    };
    let series: Vec<_> = instances.iter().map(series).collect();
    if series.len() <= MAX_LINES {
        return Plot::new(title, &series, unit);
    }
    let (lines, failing) = quantiles(&series);
    Plot::with_failing_instances(title, &lines, &failing, unit)
}

/// What all instances had at one time.
#[derive(Default)]
struct Moment {
    minimum: Option<f64>,
    maximum: Option<f64>,
    /// The last value of each instance that does not fail.
    last_values: Vec<f64>,
    failing: usize,
}

/// Minimum, median and maximum of all instances at each time, and the number of failing ones.
///
/// Instances may be scraped at different times. So an instance counts with the scrapes since the
/// time before, or with its last scrape until then.
fn quantiles(series: &[PlotSeries]) -> ([PlotSeries; 3], FailingInstances) {
    let times = times(series);
    let mut moments: Vec<_> = times.iter().map(|_| Moment::default()).collect();
    for PlotSeries { points, .. } in series {
        let mut points = points.iter().peekable();
        let mut last = None;
        for (time, moment) in times.iter().zip(&mut moments) {
            let (mut is_scraped, mut is_failing) = (false, false);
            while let Some((_, value)) = points.next_if(|(at, _)| at <= time) {
                last = Some(*value);
                is_scraped = true;
                is_failing |= value.is_none();
                moment.add(*value);
            }
            if !is_scraped {
                is_failing = last == Some(None);
                moment.add(last.flatten());
            }
            moment.last_values.extend(last.flatten());
            moment.failing += usize::from(is_failing);
        }
    }
    let mut median = Vec::new();
    for (time, moment) in times.iter().zip(&mut moments) {
        moment.last_values.sort_by(f64::total_cmp);
        median.push((*time, moment.last_values.get(moment.last_values.len() / 2).copied()));
    }
    let line = |name: &str, points| PlotSeries { name: name.to_owned(), points };
    let of = |choose: fn(&Moment) -> Option<f64>| {
        times.iter().zip(&moments).map(|(time, moment)| (*time, choose(moment))).collect()
    };
    let failing = times.iter().zip(&moments).map(|(time, moment)| (*time, moment.failing));
    let lines = [
        line("maximum", of(|moment| moment.maximum)),
        line("median", median),
        line("minimum", of(|moment| moment.minimum)),
    ];
    (lines, FailingInstances(failing.collect()))
}

impl Moment {
    fn add(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        self.minimum = Some(self.minimum.map_or(value, |it| it.min(value)));
        self.maximum = Some(self.maximum.map_or(value, |it| it.max(value)));
    }
}

/// The times of the scrapes, or as many equal steps as a plot may have.
fn times(series: &[PlotSeries]) -> Vec<SystemTime> {
    let at =
        |index: usize| series.iter().filter_map(move |it| it.points.get(index)).map(|(at, _)| *at);
    // The first scrapes of all instances are one point: before the last of them, some instances
    // have no value yet. A new instance is first scraped after the second scrape of others.
    let second = at(1).min();
    let first = at(0).filter(|at| second.is_none_or(|second| *at < second)).max();
    let last = series.iter().filter_map(|it| it.points.last()).map(|(at, _)| *at).max();
    let (Some(first), Some(last)) = (first.or_else(|| at(0).min()), last) else {
        return Vec::new();
    };
    let later = series.iter().flat_map(|it| &it.points).map(|(at, _)| *at);
    let mut times: Vec<_> = later.filter(|at| *at >= first).collect();
    times.sort_unstable();
    times.dedup();
    if times.len() <= MAX_TIMES as usize {
        return times;
    }
    let step = last.duration_since(first).unwrap_or_default() / (MAX_TIMES - 1);
    let mut times: Vec<_> = (0..MAX_TIMES - 1).map(|index| first + step * index).collect();
    times.push(last);
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// Scrapes each `interval` seconds from `start` on; `None` is a failure.
    fn instance(name: &str, start: u64, interval: u64, samples: &[Option<u32>]) -> InstanceHistory {
        let point = |(index, samples): (u64, &Option<u32>)| ScrapePoint {
            at: at(start + interval * index),
            duration: Duration::from_millis(5),
            samples: *samples,
        };
        InstanceHistory { name: name.to_owned(), points: (0..).zip(samples).map(point).collect() }
    }

    /// The plot of samples.
    fn samples(instances: Vec<InstanceHistory>) -> Plot {
        plots(instances).pop().unwrap()
    }

    fn row<'a>(plot: &'a Plot, name: &str) -> [&'a str; 3] {
        let line = plot.lines.iter().find(|line| line.name == name).unwrap();
        [&line.minimum, &line.maximum, &line.last]
    }

    #[test]
    fn instances_that_are_scraped_one_after_the_other_have_their_own_values() {
        // As by Prometheus with service discovery: each instance once in 10 s, 1 s apart.
        let constant = |index: u32| {
            instance(&format!("web/{index}"), index.into(), 10, &[Some(10 * (index + 1)); 30])
        };
        let plot = samples((0..8).map(constant).collect());
        assert_eq!(row(&plot, "minimum"), ["10", "10", "10"]);
        assert_eq!(row(&plot, "median"), ["50", "50", "50"]);
        assert_eq!(row(&plot, "maximum"), ["80", "80", "80"]);
        assert_eq!(plot.failing.unwrap(), ["0", "0", "0"]);
        assert_eq!(plot.summary, "10 to 80, no failures");
        for line in &plot.lines {
            assert_eq!(line.segments.len(), 1, "{line:?}");
            assert!(line.segments[0].split(' ').count() <= MAX_TIMES as usize);
        }
    }

    #[test]
    fn failing_instances_are_counted_at_each_time_and_have_no_value() {
        let instances = (0..500).map(|index: u32| {
            let samples = if index < 72 { None } else { Some(100) };
            instance(&format!("web/{index}"), u64::from(index) % 15, 15, &[samples; 60])
        });
        let plot = samples(instances.collect());
        assert_eq!(plot.failing.as_ref().unwrap(), &["72", "72", "72"]);
        assert_eq!(plot.summary, "100 to 100, at most 72 instances failing");
        assert_eq!(plot.failures.len(), MAX_TIMES as usize);
        assert_eq!(row(&plot, "minimum"), ["100", "100", "100"]);

        // One failed scrape of one instance between two good ones is not lost.
        let mut samples_of_one = [Some(7); 60];
        samples_of_one[30] = None;
        let mut instances: Vec<_> = (1..9)
            .map(|index| instance(&format!("web/{index}"), index, 15, &[Some(5); 60]))
            .collect();
        instances.push(instance("web/0", 0, 15, &samples_of_one));
        let plot = samples(instances);
        assert_eq!(plot.failing.as_ref().unwrap(), &["0", "1", "0"]);
        assert!(!plot.failures.is_empty());
    }

    #[test]
    fn a_merged_scrape_is_one_point_and_a_new_instance_joins() {
        let mut instances: Vec<_> = (0..9)
            .map(|index| instance(&format!("web/{index}"), 1, 1, &[Some(index), None]))
            .collect();
        let lines = |instances: &[InstanceHistory]| {
            let series = |it: &InstanceHistory| PlotSeries {
                name: it.name.clone(),
                points: it.points.iter().map(|it| (it.at, it.samples.map(f64::from))).collect(),
            };
            quantiles(&instances.iter().map(series).collect::<Vec<_>>())
        };
        let ([maximum, median, minimum], FailingInstances(failing)) = lines(&instances);
        assert_eq!(minimum.points, [(at(1), Some(0.0)), (at(2), None)]);
        assert_eq!(median.points, [(at(1), Some(4.0)), (at(2), None)]);
        assert_eq!(maximum.points, [(at(1), Some(8.0)), (at(2), None)]);
        assert_eq!(failing, [(at(1), 0), (at(2), 9)]);
        instances.push(instance("web/9", 2, 1, &[Some(99)]));
        let ([maximum, ..], _) = lines(&instances);
        assert_eq!(maximum.points, [(at(1), Some(8.0)), (at(2), Some(99.0))]);
    }

    #[test]
    fn few_instances_have_a_line_each() {
        let instances = (0..6).map(|index| instance(&index.to_string(), 0, 1, &[Some(1), None]));
        let plot = samples(instances.collect());
        assert_eq!((plot.lines.len(), plot.failing), (6, None));
        assert_eq!(plot.lines[0].failed, 1);
    }
}
