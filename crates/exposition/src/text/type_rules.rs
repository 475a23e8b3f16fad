//! The OpenMetrics rules for the samples of each type.
//!
//! A strict parser refuses a whole exposition for one violation. A family that violates a rule is
//! therefore written with type `unknown`, which has no rules.

use std::collections::HashSet;

use super::{
    families::{Bound, MetricType, Role},
    index::RuleResult,
    lost_type::TypeRule,
};

/// The properties of a sample that the rules use.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleSample {
    pub(super) role: Role,
    /// Equal for the samples of one metric.
    pub(super) metric: u64,
    pub(super) bound: Bound,
    pub(super) value: f64,
    /// Equal for equal timestamps.
    pub(super) timestamp: Option<u64>,
}

/// Checks the samples of one family of one instance in the order of the output.
#[derive(Debug)]
pub(super) struct TypeRules {
    metric_type: MetricType,
    /// The first rule that is violated.
    violated: Option<TypeRule>,
    current: Option<(u64, Option<u64>)>,
    buckets: Buckets,
}

/// The state of one point of a histogram.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    last_bound: Option<f64>,
    last_value: f64,
    count: Option<f64>,
    has_sum: bool,
    has_negative_bound: bool,
    has_negative_sum: bool,
}

impl TypeRules {
    pub(super) fn new(metric_type: MetricType) -> Self {
        Self { metric_type, violated: None, current: None, buckets: Buckets::default() }
    }

    /// Checks the next sample.
    #[inline]
    pub(super) fn add(&mut self, point: &RuleSample) {
        let violated = match self.metric_type {
            MetricType::Gauge | MetricType::Unknown => return,
            MetricType::Counter => {
                unless(point.role != Role::Plain || point.value >= 0.0, TypeRule::Counter)
            }
            MetricType::Info => {
                unless(point.value == 1.0 && point.timestamp.is_none(), TypeRule::Info)
            }
            MetricType::StateSet => {
                unless(point.value == 0.0 || point.value == 1.0, TypeRule::State)
            }
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
        self.violated = self.violated.or(violated);
    }

    /// Checks a metric point after its last sample. Returns the first rule that is violated so far.
    pub(super) fn end_metric(&mut self) -> Option<TypeRule> {
        if self.current.take().is_some() {
            let is_gauge = self.metric_type == MetricType::GaugeHistogram;
            let violated = std::mem::take(&mut self.buckets).violated(is_gauge);
            self.violated = self.violated.or(violated);
        }
        self.violated
    }

    /// The first rule that is violated so far, without those of unfinished metric points.
    pub(super) fn violated(&self) -> Option<TypeRule> {
        self.violated
    }
}

#[inline(always)]
fn unless(is_valid: bool, rule: TypeRule) -> Option<TypeRule> {
    if is_valid { None } else { Some(rule) }
}

fn summary(point: &RuleSample) -> Option<TypeRule> {
    match point.role {
        Role::Plain => {
            let is_quantile =
                matches!(point.bound, Bound::Number(bound) if (0.0..=1.0).contains(&bound));
            // The quantiles of a summary without observations are NaN.
            let is_valid = point.value >= 0.0 || point.value.is_nan();
            unless(is_quantile, TypeRule::Quantile)
                .or_else(|| unless(is_valid, TypeRule::QuantileValue))
        }
        Role::Sum => unless(point.value >= 0.0, TypeRule::Sum),
        Role::Count => unless(is_count(point.value), TypeRule::Count),
        _ => None,
    }
}

fn is_count(value: f64) -> bool {
    value >= 0.0 && value.fract() == 0.0
}

impl Buckets {
    #[inline]
    fn add(&mut self, point: &RuleSample) -> Option<TypeRule> {
        match point.role {
            Role::Bucket => {
                let Bound::Number(bound) = point.bound else { return Some(TypeRule::BucketOrder) };
                let is_next = self.last_bound.is_none_or(|last| bound > last) && !bound.is_nan();
                let is_ascending = point.value >= self.last_value;
                self.has_negative_bound |= bound < 0.0;
                self.last_bound = Some(bound);
                self.last_value = point.value;
                match (is_next, is_ascending) {
                    (true, true) => unless(is_count(point.value), TypeRule::Count),
                    (true, false) => Some(TypeRule::BucketCount),
                    (false, _) => Some(TypeRule::BucketOrder),
                }
            }
            Role::Count | Role::GaugeCount => {
                self.count = Some(point.value);
                unless(is_count(point.value), TypeRule::Count)
            }
            Role::Sum => {
                self.has_sum = true;
                unless(point.value >= 0.0, TypeRule::Sum)
            }
            Role::GaugeSum => {
                self.has_sum = true;
                self.has_negative_sum |= point.value < 0.0;
                unless(!point.value.is_nan(), TypeRule::Sum)
            }
            _ => None,
        }
    }

    /// The first rule that the samples of the point violate together.
    fn violated(self, is_gauge: bool) -> Option<TypeRule> {
        if self.last_bound != Some(f64::INFINITY) {
            Some(TypeRule::InfBucket)
        } else if self.count.is_some_and(|count| count != self.last_value) {
            Some(TypeRule::CountOfBuckets)
        } else if self.has_sum != self.count.is_some() {
            Some(TypeRule::SumAndCount)
        } else if self.has_negative_bound && self.has_sum && !is_gauge {
            Some(TypeRule::NegativeBuckets)
        } else {
            unless(self.has_negative_bound || !self.has_negative_sum, TypeRule::Sum)
        }
    }
}

/// Checks samples while their body is parsed, one run at a time.
#[derive(Debug, Default)]
pub(super) struct RuleChecker {
    rules: Option<TypeRules>,
    family: u64,
    metric: Option<u64>,
    /// The metrics of all families whose samples must be contiguous.
    seen: HashSet<u64, foldhash::quality::RandomState>,
    rule_result: RuleResult,
}

impl RuleChecker {
    /// Begins a run of a family with the type that is known so far.
    pub(super) fn begin(&mut self, family: u32, metric_type: Option<MetricType>) {
        self.rules = metric_type.map(TypeRules::new);
        // A different summand for each family, as the metrics of families are different.
        self.family = u64::from(family).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.metric = None;
        // All series of an info are one metric. Those of a state set differ in one label.
        let is_special = matches!(metric_type, Some(MetricType::Info | MetricType::StateSet));
        self.rule_result = RuleResult {
            is_unchecked: metric_type.is_none() || is_special,
            ..RuleResult::default()
        };
    }

    #[inline]
    pub(super) fn add(&mut self, point: &RuleSample) {
        self.rule_result.needs_reordering |= point.timestamp.is_some();
        let Some(rules) = &mut self.rules else { return };
        let is_compound = rules.metric_type.is_compound();
        if self.metric != Some(point.metric) {
            self.metric = Some(point.metric);
            self.rule_result.needs_reordering |= if is_compound {
                !self.seen.insert(point.metric.wrapping_add(self.family))
            } else {
                point.role != Role::Plain
            };
        }
        rules.add(point);
    }

    /// Ends the run and returns its result.
    pub(super) fn end(&mut self) -> RuleResult {
        let is_violated = self.rules.take().is_some_and(|mut one| one.end_metric().is_some());
        self.rule_result.is_violated |= is_violated;
        std::mem::take(&mut self.rule_result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violated(metric_type: MetricType, points: &[(Role, Bound, f64)]) -> Option<TypeRule> {
        let mut rules = TypeRules::new(metric_type);
        for &(role, bound, value) in points {
            rules.add(&RuleSample { role, metric: 1, bound, value, timestamp: None });
        }
        rules.end_metric()
    }

    #[test]
    fn each_type_has_its_rules() {
        use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary};
        use Role::{Bucket, Count, Created, GaugeCount, GaugeSum, Plain, Sum};
        let none = Bound::Absent;
        let le = Bound::Number;
        let inf = le(f64::INFINITY);
        type Case<'a> = (MetricType, &'a [(Role, Bound, f64)], Option<TypeRule>);
        let cases: &[Case<'_>] = &[
            (Gauge, &[(Plain, none, f64::NAN)], None),
            (Counter, &[(Plain, none, 0.0), (Created, none, -1.0)], None),
            (Counter, &[(Plain, none, f64::NAN)], Some(TypeRule::Counter)),
            (Counter, &[(Plain, none, -1.0)], Some(TypeRule::Counter)),
            (Info, &[(Role::Info, none, 1.0)], None),
            (Info, &[(Role::Info, none, 2.0)], Some(TypeRule::Info)),
            (StateSet, &[(Plain, none, 0.0), (Plain, none, 1.0)], None),
            (StateSet, &[(Plain, none, 0.5)], Some(TypeRule::State)),
            (Summary, &[(Plain, le(0.5), f64::NAN), (Sum, none, 0.0), (Count, none, 0.0)], None),
            (Summary, &[(Plain, le(1.5), 1.0)], Some(TypeRule::Quantile)),
            (Summary, &[(Plain, le(0.5), -1.0)], Some(TypeRule::QuantileValue)),
            (Summary, &[(Sum, none, -1.0)], Some(TypeRule::Sum)),
            (Summary, &[(Count, none, 0.5)], Some(TypeRule::Count)),
            (Histogram, &[(Bucket, le(1.0), 1.0), (Bucket, inf, 2.0)], None),
            (Histogram, &[(Bucket, inf, 2.0), (Sum, none, 1.0), (Count, none, 2.0)], None),
            (Histogram, &[(Bucket, inf, 2.0), (Count, none, 2.0)], Some(TypeRule::SumAndCount)),
            (Histogram, &[(Bucket, inf, 2.0), (Sum, none, 2.0)], Some(TypeRule::SumAndCount)),
            (
                Histogram,
                &[(Bucket, inf, 2.0), (Sum, none, 1.0), (Count, none, 3.0)],
                Some(TypeRule::CountOfBuckets),
            ),
            (Histogram, &[(Sum, none, 1.0), (Count, none, 2.0)], Some(TypeRule::InfBucket)),
            (Histogram, &[(Bucket, le(1.0), 1.0)], Some(TypeRule::InfBucket)),
            (Histogram, &[(Bucket, le(1.0), 3.0), (Bucket, inf, 2.0)], Some(TypeRule::BucketCount)),
            (Histogram, &[(Bucket, inf, 1.0), (Bucket, le(1.0), 1.0)], Some(TypeRule::BucketOrder)),
            (Histogram, &[(Bucket, inf, 1.5)], Some(TypeRule::Count)),
            (Histogram, &[(Bucket, le(-1.0), 1.0), (Bucket, inf, 1.0)], None),
            (
                Histogram,
                &[
                    (Bucket, le(-1.0), 1.0),
                    (Bucket, inf, 1.0),
                    (Sum, none, 1.0),
                    (Count, none, 1.0),
                ],
                Some(TypeRule::NegativeBuckets),
            ),
            (
                GaugeHistogram,
                &[
                    (Bucket, le(-1.0), 1.0),
                    (Bucket, inf, 1.0),
                    (GaugeSum, none, -1.0),
                    (GaugeCount, none, 1.0),
                ],
                None,
            ),
            (
                GaugeHistogram,
                &[(Bucket, inf, 1.0), (GaugeSum, none, -1.0), (GaugeCount, none, 1.0)],
                Some(TypeRule::Sum),
            ),
        ];
        for (metric_type, points, expected) in cases {
            assert_eq!(violated(*metric_type, points), *expected, "{metric_type:?} {points:?}");
        }
    }
}
