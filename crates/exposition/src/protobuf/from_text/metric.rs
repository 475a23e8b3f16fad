//! Collects the samples of one metric into a `Metric` message.

use super::{
    super::{
        super::families::Role,
        decimal::read_scaled,
        message::{ProtobufType, ValueKind, number},
        samples::{self, SampleValue},
        wire::{put_bytes, put_double, put_message, put_varint_field},
    },
    line::{OpenMetricsExemplar, OpenMetricsSample, UnescapedLabel},
};

/// The metric types of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OpenMetricsType {
    #[default]
    Unknown,
    Gauge,
    Counter,
    Summary,
    Histogram,
    GaugeHistogram,
    Info,
    StateSet,
}

impl OpenMetricsType {
    pub(super) fn parse(text: &[u8]) -> Self {
        match text {
            b"gauge" => Self::Gauge,
            b"counter" => Self::Counter,
            b"summary" => Self::Summary,
            b"histogram" => Self::Histogram,
            b"gaugehistogram" => Self::GaugeHistogram,
            b"info" => Self::Info,
            b"stateset" => Self::StateSet,
            _ => Self::Unknown,
        }
    }

    pub(super) fn metric_type(self) -> ProtobufType {
        match self {
            Self::Unknown => ProtobufType::Untyped,
            Self::Gauge | Self::Info | Self::StateSet => ProtobufType::Gauge,
            Self::Counter => ProtobufType::Counter,
            Self::Summary => ProtobufType::Summary,
            Self::Histogram => ProtobufType::Histogram,
            Self::GaugeHistogram => ProtobufType::GaugeHistogram,
        }
    }
}

/// The field of a metric that a sample fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SampleSlot {
    /// The value. The sample has the name of the family.
    Plain,
    /// The value of a counter. The sample name ends in `_total`.
    Total,
    Created,
    Quantile(f64),
    Bucket(f64),
    Sum,
    Count,
}

impl SampleSlot {
    /// The slot of a sample whose name is that of the family with this suffix. `None` if the type
    /// has no such sample.
    pub(super) fn of(
        openmetrics_type: OpenMetricsType,
        suffix: &[u8],
        sample: &OpenMetricsSample<'_>,
    ) -> Option<Self> {
        use OpenMetricsType::{Counter, GaugeHistogram, Histogram, Info, Summary};
        let bound = |role| {
            let is_bound = |(name, _): &&UnescapedLabel<'_>| **name == *samples::bound_label(role);
            let (_, value) = sample.labels.iter().find(is_bound)?;
            std::str::from_utf8(value).ok()?.parse().ok()
        };
        match (openmetrics_type, suffix) {
            (Counter, b"_total") => Some(Self::Total),
            (Counter | Summary | Histogram, b"_created") => Some(Self::Created),
            (Summary, b"") => bound(Role::Plain).map(Self::Quantile),
            (Histogram | GaugeHistogram, b"_bucket") => bound(Role::Bucket).map(Self::Bucket),
            (Summary | Histogram, b"_sum") | (GaugeHistogram, b"_gsum") => Some(Self::Sum),
            (Summary | Histogram, b"_count") | (GaugeHistogram, b"_gcount") => Some(Self::Count),
            (Histogram | GaugeHistogram, _) => None,
            (Info, b"_info") => Some(Self::Plain),
            (Info, _) => None,
            (_, b"") => Some(Self::Plain),
            _ => None,
        }
    }
}

/// The metric that is being read.
#[derive(Debug, Default)]
pub(super) struct MetricBuilder {
    /// The labels as fields.
    labels: Vec<u8>,
    timestamp_ms: Option<i64>,
    plain: Option<f64>,
    sum: Option<f64>,
    count: Option<SampleValue>,
    /// The value of the bucket `+Inf`.
    count_of_all: Option<SampleValue>,
    /// The quantiles or buckets as fields.
    parts: Vec<u8>,
    /// The bounds of the quantiles or buckets.
    bounds: Vec<f64>,
    /// The exemplar of a counter.
    exemplar: Vec<u8>,
    /// The created timestamp in nanoseconds.
    created: Option<i64>,
}

impl MetricBuilder {
    pub(super) fn has_value(&self) -> bool {
        let has_parts = !self.parts.is_empty();
        has_parts || self.plain.is_some() || self.sum.is_some() || self.count.is_some()
    }

    /// Whether the sample belongs to this metric and fills an empty slot.
    pub(super) fn takes(&self, slot: SampleSlot, sample: &OpenMetricsSample<'_>) -> bool {
        if !self.has_value() && self.created.is_none() {
            return true;
        }
        let is_free = match slot {
            SampleSlot::Plain | SampleSlot::Total => self.plain.is_none(),
            SampleSlot::Created => self.created.is_none(),
            SampleSlot::Quantile(bound) | SampleSlot::Bucket(bound) => {
                // Bounds are mostly ascending.
                self.bounds.last().is_some_and(|last| *last < bound)
                    || !self.bounds.contains(&bound)
            }
            SampleSlot::Sum => self.sum.is_none(),
            SampleSlot::Count => self.count.is_none(),
        };
        let is_same_time = slot == SampleSlot::Created
            || !self.has_value()
            || self.timestamp_ms == timestamp_ms(sample);
        is_free && is_same_time && self.labels == labels(sample, slot)
    }

    pub(super) fn take(&mut self, slot: SampleSlot, sample: &OpenMetricsSample<'_>) {
        let Ok(value) = sample.value.parse::<f64>() else { return };
        if !self.has_value() && self.created.is_none() {
            self.labels = labels(sample, slot);
        }
        if slot != SampleSlot::Created {
            self.timestamp_ms = timestamp_ms(sample);
        }
        match slot {
            SampleSlot::Plain | SampleSlot::Total => {
                self.plain = Some(value);
                if let Some(exemplar) = &sample.exemplar {
                    write_exemplar(number::COUNTER_EXEMPLAR, exemplar, &mut self.exemplar);
                }
            }
            SampleSlot::Created => self.created = read_scaled(sample.value, 9),
            SampleSlot::Sum => self.sum = Some(value),
            SampleSlot::Count => self.count = Some(count(sample.value, value)),
            SampleSlot::Quantile(bound) => {
                self.bounds.push(bound);
                put_message(number::PARTS, &mut self.parts, |out| {
                    put_double(number::QUANTILE, bound, out);
                    put_double(number::QUANTILE_VALUE, value, out);
                });
            }
            SampleSlot::Bucket(bound) => {
                self.bounds.push(bound);
                let count = count(sample.value, value);
                put_message(number::PARTS, &mut self.parts, |out| {
                    let numbers = [number::BUCKET_COUNT, number::BUCKET_COUNT_FLOAT];
                    write_count(numbers, count, out);
                    put_double(number::BUCKET_BOUND, bound, out);
                    if let Some(exemplar) = &sample.exemplar {
                        write_exemplar(number::BUCKET_EXEMPLAR, exemplar, out);
                    }
                });
                self.count_of_all = (bound == f64::INFINITY).then_some(count);
            }
        }
    }

    /// The number of missing sums and counts. Protobuf does not distinguish them from 0.
    pub(super) fn synthesized(&self, openmetrics_type: OpenMetricsType) -> usize {
        let has_both = matches!(
            openmetrics_type.metric_type().kind(),
            ValueKind::Summary | ValueKind::Histogram
        );
        if !has_both || !self.has_value() {
            return 0;
        }
        usize::from(self.sum.is_none()) + usize::from(self.count.is_none())
    }

    /// Writes the metric as a field of its family, if it has a value.
    pub(super) fn write(&self, openmetrics_type: OpenMetricsType, out: &mut Vec<u8>) {
        if !self.has_value() {
            return;
        }
        put_message(number::FAMILY_METRIC, out, |out| {
            out.extend_from_slice(&self.labels);
            let kind = openmetrics_type.metric_type().kind();
            put_message(kind as u32, out, |out| self.write_value(kind, out));
            if let Some(timestamp_ms) = self.timestamp_ms {
                put_varint_field(number::TIMESTAMP_MS, timestamp_ms as u64, out);
            }
        });
    }

    fn write_value(&self, kind: ValueKind, out: &mut Vec<u8>) {
        let created_number = match kind {
            ValueKind::Counter => number::COUNTER_CREATED,
            ValueKind::Summary => number::SUMMARY_CREATED,
            _ => number::HISTOGRAM_CREATED,
        };
        match kind {
            ValueKind::Gauge | ValueKind::Counter | ValueKind::Untyped => {
                put_double(number::VALUE, self.plain.unwrap_or_default(), out);
            }
            ValueKind::Summary | ValueKind::Histogram => {
                match (kind, self.count.or(self.count_of_all)) {
                    (_, None) => {}
                    (ValueKind::Histogram, Some(count)) => {
                        write_count([number::COUNT, number::COUNT_FLOAT], count, out);
                    }
                    // A summary has no count as a float.
                    (_, Some(count)) => put_varint_field(number::COUNT, count.to_u64(), out),
                }
                if let Some(sum) = self.sum {
                    put_double(number::SUM, sum, out);
                }
                out.extend_from_slice(&self.parts);
            }
        }
        if kind == ValueKind::Counter {
            out.extend_from_slice(&self.exemplar);
        }
        if let Some(nanos) = self.created {
            put_message(created_number, out, |out| write_time(nanos, out));
        }
    }

    /// Writes a created timestamp without a metric as a gauge.
    pub(super) fn write_created_gauge(&self, out: &mut Vec<u8>) {
        if let Some(nanos) = self.created.filter(|_| !self.has_value()) {
            put_message(number::FAMILY_METRIC, out, |out| {
                out.extend_from_slice(&self.labels);
                put_message(ValueKind::Gauge as u32, out, |out| {
                    put_double(number::VALUE, nanos as f64 / 1e9, out);
                });
            });
        }
    }
}

fn timestamp_ms(sample: &OpenMetricsSample<'_>) -> Option<i64> {
    read_scaled(sample.timestamp?, 3)
}

/// The labels of a metric as fields.
fn labels(sample: &OpenMetricsSample<'_>, slot: SampleSlot) -> Vec<u8> {
    let bound = match slot {
        SampleSlot::Quantile(_) => samples::bound_label(Role::Plain),
        SampleSlot::Bucket(_) => samples::bound_label(Role::Bucket),
        _ => b"",
    };
    let mut out = Vec::new();
    let labels = sample.labels.iter().filter(|(name, _)| **name != *bound);
    labels.for_each(|label| write_label(label, &mut out));
    out
}

fn write_label((name, value): &UnescapedLabel<'_>, out: &mut Vec<u8>) {
    put_message(number::LABEL, out, |out| {
        put_bytes(number::LABEL_NAME, name, out);
        put_bytes(number::LABEL_VALUE, value, out);
    });
}

fn write_exemplar(number: u32, exemplar: &OpenMetricsExemplar<'_>, out: &mut Vec<u8>) {
    put_message(number, out, |out| {
        exemplar.labels.iter().for_each(|label| write_label(label, out));
        put_double(number::EXEMPLAR_VALUE, exemplar.value.parse().unwrap_or_default(), out);
        if let Some(nanos) = exemplar.timestamp.and_then(|text| read_scaled(text, 9)) {
            put_message(number::EXEMPLAR_TIME, out, |out| write_time(nanos, out));
        }
    });
}

fn write_time(nanos: i64, out: &mut Vec<u8>) {
    put_varint_field(number::SECONDS, nanos.div_euclid(1_000_000_000) as u64, out);
    put_varint_field(number::NANOS, nanos.rem_euclid(1_000_000_000) as u64, out);
}

/// A count. An integer is kept exactly.
fn count(text: &str, value: f64) -> SampleValue {
    text.parse().map(SampleValue::Count).unwrap_or_else(|_| SampleValue::of(value))
}

fn write_count([integer, float]: [u32; 2], count: SampleValue, out: &mut Vec<u8>) {
    match count {
        SampleValue::Count(count) => put_varint_field(integer, count, out),
        SampleValue::Float(value) => put_double(float, value, out),
    }
}
