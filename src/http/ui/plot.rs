//! Plots as SVG: coordinates and the texts around them.

use super::format;
use std::time::{Duration, SystemTime};

/// Size of the drawing; the template has the same numbers. The browser stretches it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// Number of styles in the style sheet.
const STYLES: usize = 6;

/// The values of one line. `None` is a failure: the line is interrupted.
#[derive(Clone, Debug)]
pub struct PlotSeries {
    pub name: String,
    pub points: Vec<(SystemTime, Option<f64>)>,
}

/// The number of failing instances at each time.
#[derive(Clone, Debug)]
pub struct FailingInstances(pub Vec<(SystemTime, usize)>);

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub enum PlotUnit {
    Number,
    Seconds,
}

#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    /// For people who do not see the drawing.
    pub summary: String,
    pub lines: Vec<PlotLine>,
    /// Minimum, maximum and last number of failing instances, if each line summarizes many.
    pub failing: Option<[String; 3]>,
    /// Horizontal positions of failures.
    pub failures: Vec<String>,
    /// The value at the upper edge. The lower edge is 0.
    pub maximum: String,
    /// Times at the left and right edge.
    pub from: String,
    pub to: String,
}

#[derive(Clone, Debug)]
pub struct PlotLine {
    pub name: String,
    pub style: usize,
    /// The `points` of polylines, one per part without failures.
    pub segments: Vec<String>,
    pub minimum: String,
    pub maximum: String,
    pub last: String,
    pub failed: usize,
}

impl PlotUnit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Seconds => Duration::try_from_secs_f64(value)
                .map(|it| format::seconds(&it))
                .unwrap_or_default(),
            // Counts are exact; other values have three decimals at most.
            Self::Number if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
            Self::Number if value.abs() >= 1e6 || value.abs() < 1e-3 => format!("{value:.3e}"),
            Self::Number => format!("{value:.3}"),
        }
    }
}

impl Plot {
    /// Draws the series. Returns `None` if there are fewer than two points in time to connect.
    pub fn new(title: &str, series: &[PlotSeries], unit: PlotUnit) -> Option<Self> {
        let failed = series.iter().flat_map(|it| &it.points).filter(|(_, value)| value.is_none());
        let failed: Vec<_> = failed.map(|(at, _)| *at).collect();
        let failures = format!("{} failures", failed.len());
        Self::draw(title, series, unit, &failed, &failures)
    }

    /// Draws series that summarize many instances.
    pub fn with_failing_instances(
        title: &str,
        series: &[PlotSeries],
        FailingInstances(failing): &FailingInstances,
        unit: PlotUnit,
    ) -> Option<Self> {
        let failed: Vec<_> = failing.iter().filter(|(_, it)| *it > 0).map(|(at, _)| *at).collect();
        let counts = || failing.iter().map(|(_, count)| *count);
        let range = [counts().min()?, counts().max()?, counts().next_back()?];
        let failures = match range[1] {
            0 => "no failures".to_owned(),
            most => format!("at most {} failing", format::counted(most, "instance")),
        };
        let plot = Self::draw(title, series, unit, &failed, &failures)?;
        Some(Self { failing: Some(range.map(|count| count.to_string())), ..plot })
    }

    fn draw(
        title: &str,
        series: &[PlotSeries],
        unit: PlotUnit,
        failed: &[SystemTime],
        failures: &str,
    ) -> Option<Self> {
        let times = || series.iter().flat_map(|it| &it.points).map(|(at, _)| *at);
        let (from, to) = (times().min()?, times().max()?);
        let span = to.duration_since(from).ok().filter(|span| !span.is_zero())?;
        let finite = || series.iter().flat_map(values);
        let highest = finite().fold(0.0_f64, f64::max);
        let lowest = finite().fold(0.0_f64, f64::min);
        let frame = Frame { from, span, lowest, highest };
        let lines: Vec<_> =
            series.iter().enumerate().map(|(index, it)| line(it, index, &frame, unit)).collect();
        let values = match finite().next() {
            None => "no values".to_owned(),
            Some(_) => format!(
                "{} to {}",
                unit.text(finite().fold(f64::INFINITY, f64::min)),
                unit.text(finite().fold(f64::NEG_INFINITY, f64::max)),
            ),
        };
        Some(Self {
            title: title.to_owned(),
            summary: format!("{values}, {failures}"),
            lines,
            failing: None,
            failures: failed.iter().map(|at| format!("{:.1}", frame.x(*at))).collect(),
            maximum: unit.text(highest),
            from: format::time_of_day(&from),
            to: format!("{} UTC", format::time_of_day(&to)),
        })
    }
}

/// Times and values at the edges of the drawing.
struct Frame {
    from: SystemTime,
    span: Duration,
    lowest: f64,
    highest: f64,
}

impl Frame {
    fn x(&self, at: SystemTime) -> f64 {
        let since = at.duration_since(self.from).unwrap_or_default();
        since.as_secs_f64() / self.span.as_secs_f64() * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        // Halves avoid an overflow to infinity.
        let height = self.highest / 2.0 - self.lowest / 2.0;
        let share = if height > 0.0 { (value / 2.0 - self.lowest / 2.0) / height } else { 0.0 };
        HEIGHT - share * HEIGHT
    }
}

fn values(series: &PlotSeries) -> impl Iterator<Item = f64> {
    series.points.iter().filter_map(|(_, value)| *value).filter(|value| value.is_finite())
}

fn line(series: &PlotSeries, index: usize, frame: &Frame, unit: PlotUnit) -> PlotLine {
    let is_gap = |(_, value): &(SystemTime, Option<f64>)| !value.is_some_and(f64::is_finite);
    let segments = series.points.split(is_gap).filter(|part| !part.is_empty());
    let segment = |part: &[(SystemTime, Option<f64>)]| {
        let points = part.iter().filter_map(|(at, value)| {
            Some(format!("{:.1},{:.1}", frame.x(*at), frame.y((*value)?)))
        });
        let points: Vec<_> = points.collect();
        match &points[..] {
            // A line of one point is drawn as a dot.
            [only] => format!("{only} {only}"),
            _ => points.join(" "),
        }
    };
    let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |it| unit.text(it));
    PlotLine {
        name: format::text(&series.name),
        style: index % STYLES,
        segments: segments.map(segment).collect(),
        minimum: text(values(series).reduce(f64::min)),
        maximum: text(values(series).reduce(f64::max)),
        last: text(values(series).last()),
        failed: series.points.iter().filter(|(_, value)| value.is_none()).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: &[Option<f64>]) -> Option<Plot> {
        let at = |index: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(10 * index);
        let points = (0..).map(at).zip(values.iter().copied()).collect();
        let series = PlotSeries { name: "web/0".to_owned(), points };
        Plot::new("Samples", &[series], PlotUnit::Number)
    }

    #[test]
    fn a_plot_needs_two_points_in_time() {
        assert!(plot(&[]).is_none());
        assert!(plot(&[Some(1.0)]).is_none());
        let plot = plot(&[Some(1.0), Some(4.0), Some(2.0)]).unwrap();
        assert_eq!(plot.lines[0].segments, ["0.0,90.0 300.0,0.0 600.0,60.0"]);
        assert_eq!((&*plot.from, &*plot.to), ("00:00:00", "00:00:20 UTC"));
        assert_eq!((&*plot.maximum, &*plot.summary), ("4", "1 to 4, 0 failures"));
        let line = &plot.lines[0];
        assert_eq!((&*line.minimum, &*line.maximum, &*line.last), ("1", "4", "2"));
    }

    #[test]
    fn failures_interrupt_a_line() {
        let plot = plot(&[Some(2.0), None, Some(2.0), Some(1.0)]).unwrap();
        assert_eq!(plot.lines[0].segments, ["0.0,0.0 0.0,0.0", "400.0,0.0 600.0,60.0"]);
        assert_eq!((plot.failures, plot.lines[0].failed), (vec!["200.0".to_owned()], 1));
    }

    #[test]
    fn coordinates_are_always_numbers() {
        for values in [
            &[Some(0.0), Some(0.0)][..],
            &[None, None],
            &[Some(f64::NAN), Some(f64::INFINITY), Some(1.0)],
            &[Some(-5.0), Some(f64::MAX), Some(f64::MIN)],
            &[Some(1e-320), Some(2e-320)],
        ] {
            let plot = plot(values).unwrap();
            let segments = plot.lines.iter().flat_map(|line| &line.segments);
            for number in segments
                .flat_map(|it| it.split([' ', ',']))
                .chain(plot.failures.iter().map(|it| &**it))
            {
                let number: f64 = number.parse().unwrap();
                assert!((0.0..=600.0).contains(&number), "{values:?}: {number}");
            }
        }
    }
}
