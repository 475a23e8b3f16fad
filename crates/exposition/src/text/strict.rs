//! The rules that OpenMetrics has for the samples of each type.
//!
//! A strict reader refuses a whole page for one sample that breaks them, so a
//! family that does so is written under the type `unknown`, which has none.

use std::collections::HashSet;

use super::{
    families::{Bound, MetricType, Role},
    index::Strictness,
};

/// A sample, as far as a rule asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) role: Role,
    /// Equal for the samples of one metric.
    pub(super) metric: u64,
    pub(super) bound: Bound,
    pub(super) value: f64,
    /// Equal for equal timestamps.
    pub(super) timestamp: Option<u64>,
}

/// Looks at the samples of one family of one instance, in the order in which
/// they will be written.
#[derive(Debug)]
pub(super) struct Rules {
    metric_type: MetricType,
    is_broken: bool,
    current: Option<(u64, Option<u64>)>,
    buckets: Buckets,
}

/// What was seen of one point of a histogram.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    last_bound: Option<f64>,
    last_value: f64,
    count: Option<f64>,
    has_sum: bool,
    has_negative_bound: bool,
    has_negative_sum: bool,
}

impl Rules {
    pub(super) fn new(metric_type: MetricType) -> Self {
        Self { metric_type, is_broken: false, current: None, buckets: Buckets::default() }
    }

    /// Looks at the next sample.
    #[inline]
    pub(super) fn add(&mut self, point: &Point) {
        let is_fine = match self.metric_type {
            MetricType::Gauge | MetricType::Unknown => return,
            MetricType::Counter => point.role != Role::Plain || point.value >= 0.0,
            MetricType::Info => point.value == 1.0 && point.timestamp.is_none(),
            MetricType::StateSet => point.value == 0.0 || point.value == 1.0,
            MetricType::Summary => summary(point),
            MetricType::Histogram | MetricType::GaugeHistogram => {
                let point_of = (point.metric, point.timestamp);
                if self.current != Some(point_of) {
                    self.end_metric();
                    self.current = Some(point_of);
                }
                self.buckets.add(point)
            }
        };
        self.is_broken |= !is_fine;
    }

    fn end_metric(&mut self) {
        if self.current.take().is_some() {
            let is_gauge = self.metric_type == MetricType::GaugeHistogram;
            self.is_broken |= !std::mem::take(&mut self.buckets).are_whole(is_gauge);
        }
    }

    /// Whether a rule is broken, now that there are no more samples.
    pub(super) fn are_broken(mut self) -> bool {
        self.end_metric();
        self.is_broken
    }
}

fn summary(point: &Point) -> bool {
    match point.role {
        Role::Plain => {
            let is_quantile =
                matches!(point.bound, Bound::Number(bound) if (0.0..=1.0).contains(&bound));
            // NaN is what a summary without observations has.
            is_quantile && (point.value >= 0.0 || point.value.is_nan())
        }
        Role::Sum => point.value >= 0.0,
        Role::Count => is_count(point.value),
        _ => true,
    }
}

fn is_count(value: f64) -> bool {
    value >= 0.0 && value.fract() == 0.0
}

impl Buckets {
    #[inline]
    fn add(&mut self, point: &Point) -> bool {
        match point.role {
            Role::Bucket => {
                let Bound::Number(bound) = point.bound else { return false };
                let is_next = self.last_bound.is_none_or(|last| bound > last)
                    && !bound.is_nan()
                    && point.value >= self.last_value;
                self.has_negative_bound |= bound < 0.0;
                self.last_bound = Some(bound);
                self.last_value = point.value;
                is_next && is_count(point.value)
            }
            Role::Count | Role::GaugeCount => {
                self.count = Some(point.value);
                is_count(point.value)
            }
            Role::Sum => {
                self.has_sum = true;
                point.value >= 0.0
            }
            Role::GaugeSum => {
                self.has_sum = true;
                self.has_negative_sum |= point.value < 0.0;
                !point.value.is_nan()
            }
            _ => true,
        }
    }

    /// Whether it has all that a point of a histogram has.
    fn are_whole(self, is_gauge: bool) -> bool {
        self.last_bound == Some(f64::INFINITY)
            && self.count.is_none_or(|count| count == self.last_value)
            && self.has_sum == self.count.is_some()
            && !(self.has_negative_bound && self.has_sum && !is_gauge)
            && (self.has_negative_bound || !self.has_negative_sum)
    }
}

/// Looks at samples while their body is read, one run of a family after the other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    rules: Option<Rules>,
    family: u64,
    metric: Option<u64>,
    /// The metrics of all families whose samples must stand together.
    seen: HashSet<u64, foldhash::quality::RandomState>,
    strictness: Strictness,
}

impl Watch {
    /// Begins with a family that has this type by now.
    pub(super) fn begin(&mut self, family: u32, metric_type: Option<MetricType>) {
        self.rules = metric_type.map(Rules::new);
        // Apart for different families, as the metrics in them are.
        self.family = u64::from(family).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.metric = None;
        // All series of an info are one metric; those of a state set differ by one label.
        let is_special = matches!(metric_type, Some(MetricType::Info | MetricType::StateSet));
        self.strictness = Strictness {
            is_unchecked: metric_type.is_none() || is_special,
            ..Strictness::default()
        };
    }

    #[inline]
    pub(super) fn add(&mut self, point: &Point) {
        self.strictness.is_irregular |= point.timestamp.is_some();
        let Some(rules) = &mut self.rules else { return };
        let is_compound = rules.metric_type.is_compound();
        if self.metric != Some(point.metric) {
            self.metric = Some(point.metric);
            self.strictness.is_irregular |= if is_compound {
                !self.seen.insert(point.metric.wrapping_add(self.family))
            } else {
                point.role != Role::Plain
            };
        }
        rules.add(point);
    }

    /// What the run that began last was like.
    pub(super) fn end(&mut self) -> Strictness {
        let is_broken = self.rules.take().is_some_and(Rules::are_broken);
        self.strictness.is_broken |= is_broken;
        std::mem::take(&mut self.strictness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_broken(metric_type: MetricType, points: &[(Role, Bound, f64)]) -> bool {
        let mut rules = Rules::new(metric_type);
        for &(role, bound, value) in points {
            rules.add(&Point { role, metric: 1, bound, value, timestamp: None });
        }
        rules.are_broken()
    }

    #[test]
    fn each_type_has_its_rules() {
        use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary};
        use Role::{Bucket, Count, Created, GaugeCount, GaugeSum, Plain, Sum};
        let none = Bound::Absent;
        let le = Bound::Number;
        let inf = le(f64::INFINITY);
        type Case<'a> = (MetricType, &'a [(Role, Bound, f64)], bool);
        let cases: &[Case<'_>] = &[
            (Gauge, &[(Plain, none, f64::NAN)], false),
            (Counter, &[(Plain, none, 0.0), (Created, none, -1.0)], false),
            (Counter, &[(Plain, none, f64::NAN)], true),
            (Counter, &[(Plain, none, -1.0)], true),
            (Info, &[(Role::Info, none, 1.0)], false),
            (Info, &[(Role::Info, none, 2.0)], true),
            (StateSet, &[(Plain, none, 0.0), (Plain, none, 1.0)], false),
            (StateSet, &[(Plain, none, 0.5)], true),
            (Summary, &[(Plain, le(0.5), f64::NAN), (Sum, none, 0.0), (Count, none, 0.0)], false),
            (Summary, &[(Plain, le(1.5), 1.0)], true),
            (Summary, &[(Plain, le(0.5), -1.0)], true),
            (Summary, &[(Sum, none, -1.0)], true),
            (Summary, &[(Count, none, 0.5)], true),
            (Histogram, &[(Bucket, le(1.0), 1.0), (Bucket, inf, 2.0)], false),
            (Histogram, &[(Bucket, inf, 2.0), (Sum, none, 1.0), (Count, none, 2.0)], false),
            (Histogram, &[(Bucket, inf, 2.0), (Count, none, 2.0)], true),
            (Histogram, &[(Bucket, inf, 2.0), (Sum, none, 2.0)], true),
            (Histogram, &[(Bucket, inf, 2.0), (Sum, none, 1.0), (Count, none, 3.0)], true),
            (Histogram, &[(Sum, none, 1.0), (Count, none, 2.0)], true),
            (Histogram, &[(Bucket, le(1.0), 1.0)], true),
            (Histogram, &[(Bucket, le(1.0), 3.0), (Bucket, inf, 2.0)], true),
            (Histogram, &[(Bucket, inf, 1.0), (Bucket, le(1.0), 1.0)], true),
            (Histogram, &[(Bucket, inf, 1.5)], true),
            (Histogram, &[(Bucket, le(-1.0), 1.0), (Bucket, inf, 1.0)], false),
            (
                Histogram,
                &[
                    (Bucket, le(-1.0), 1.0),
                    (Bucket, inf, 1.0),
                    (Sum, none, 1.0),
                    (Count, none, 1.0),
                ],
                true,
            ),
            (
                GaugeHistogram,
                &[
                    (Bucket, le(-1.0), 1.0),
                    (Bucket, inf, 1.0),
                    (GaugeSum, none, -1.0),
                    (GaugeCount, none, 1.0),
                ],
                false,
            ),
            (
                GaugeHistogram,
                &[(Bucket, inf, 1.0), (GaugeSum, none, -1.0), (GaugeCount, none, 1.0)],
                true,
            ),
        ];
        for (metric_type, points, expected) in cases {
            assert_eq!(are_broken(*metric_type, points), *expected, "{metric_type:?} {points:?}");
        }
    }
}
