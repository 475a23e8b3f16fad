//! The samples of a metric, as text formats have them.

use super::{
    super::families::Role,
    message::{ValueKind, bytes, double, last, messages, number, varint},
    native_histogram,
};

/// A sample of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MetricSample<'a> {
    pub(super) role: Role,
    /// The value of `le` or `quantile`.
    pub(super) bound: Option<f64>,
    pub(super) value: SampleValue,
    pub(super) exemplar: Option<&'a [u8]>,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SampleValue {
    Float(f64),
    Count(u64),
}

impl SampleValue {
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Float(value) => value,
            Self::Count(count) => count as f64,
        }
    }

    /// A count if the value is a non-negative integer, otherwise a float.
    pub(super) fn of(value: f64) -> Self {
        let count = value as u64;
        // Larger floats do not represent all integers.
        let is_count = value < 2_f64.powi(53) && count as f64 == value && value.is_sign_positive();
        if is_count { Self::Count(count) } else { Self::Float(value) }
    }

    pub(super) fn to_u64(self) -> u64 {
        match self {
            Self::Float(value) => value as u64,
            Self::Count(count) => count,
        }
    }
}

/// The buckets of a histogram without classic buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingBuckets {
    None,
    /// One bucket `+Inf`.
    Infinity,
}

impl MissingBuckets {
    /// A native histogram gets no bucket. For other histograms Prometheus adds the bucket `+Inf`.
    pub(super) fn for_samples(histogram: &[u8]) -> Self {
        if native_histogram::is_native(histogram) { Self::None } else { Self::Infinity }
    }
}

/// Calls `each` with the samples of a value in their order.
pub(super) fn each<'a>(
    kind: ValueKind,
    value: &'a [u8],
    missing_buckets: MissingBuckets,
    each: &mut dyn FnMut(MetricSample<'a>),
) {
    let sample = |role, value| MetricSample { role, bound: None, value, exemplar: None };
    let sum = sample(Role::Sum, SampleValue::Float(double(value, number::SUM)));
    match kind {
        ValueKind::Gauge | ValueKind::Untyped => {
            each(sample(Role::Plain, SampleValue::Float(double(value, number::VALUE))));
        }
        ValueKind::Counter => {
            let exemplar = bytes(value, number::COUNTER_EXEMPLAR);
            let number = SampleValue::Float(double(value, number::VALUE));
            each(MetricSample { exemplar, ..sample(Role::Plain, number) });
        }
        ValueKind::Summary => {
            for quantile in messages(value, number::PARTS) {
                let number = SampleValue::Float(double(quantile, number::QUANTILE_VALUE));
                let bound = Some(double(quantile, number::QUANTILE));
                each(MetricSample { bound, ..sample(Role::Plain, number) });
            }
            each(sum);
            each(sample(Role::Count, SampleValue::Count(varint(value, number::COUNT))));
        }
        ValueKind::Histogram => {
            let count = count(value, number::COUNT, number::COUNT_FLOAT);
            let mut has_infinity =
                missing_buckets == MissingBuckets::None && last(value, number::PARTS).is_none();
            for bucket in messages(value, number::PARTS) {
                let bound = double(bucket, number::BUCKET_BOUND);
                has_infinity |= bound == f64::INFINITY;
                each(MetricSample {
                    role: Role::Bucket,
                    bound: Some(bound),
                    value: self::count(bucket, number::BUCKET_COUNT, number::BUCKET_COUNT_FLOAT),
                    exemplar: bytes(bucket, number::BUCKET_EXEMPLAR),
                });
            }
            if !has_infinity {
                each(MetricSample { bound: Some(f64::INFINITY), ..sample(Role::Bucket, count) });
            }
            each(sum);
            each(sample(Role::Count, count));
        }
    }
}

/// A count, which is an integer or a float field.
fn count(message: &[u8], integer: u32, float: u32) -> SampleValue {
    match double(message, float) {
        0.0 => SampleValue::Count(varint(message, integer)),
        value => SampleValue::Float(value),
    }
}

/// The created timestamp.
pub(super) fn created(kind: ValueKind, value: &[u8]) -> Option<&[u8]> {
    let number = match kind {
        ValueKind::Counter => number::COUNTER_CREATED,
        ValueKind::Summary => number::SUMMARY_CREATED,
        ValueKind::Histogram => number::HISTOGRAM_CREATED,
        ValueKind::Gauge | ValueKind::Untyped => return None,
    };
    bytes(value, number)
}

/// The number of exemplars of a native histogram.
pub(super) fn native_exemplars(kind: ValueKind, value: &[u8]) -> usize {
    if kind == ValueKind::Histogram { messages(value, number::NATIVE_EXEMPLAR).count() } else { 0 }
}

/// The name of the bound's label.
pub(super) fn bound_label(role: Role) -> &'static [u8] {
    if role == Role::Bucket { b"le" } else { b"quantile" }
}
