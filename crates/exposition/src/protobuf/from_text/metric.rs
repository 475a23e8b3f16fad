//! Points of one metric, gathered into a message.

use super::{
    super::{
        super::families::Role,
        decimal::read_scaled,
        message::{Kind, MetricType, number},
        points::{self, Number},
        wire::{put_bytes, put_double, put_message, put_varint_field},
    },
    line::{Exemplar, Label, Sample},
};

/// The types of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TextType {
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

impl TextType {
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

    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Self::Unknown => MetricType::Untyped,
            Self::Gauge | Self::Info | Self::StateSet => MetricType::Gauge,
            Self::Counter => MetricType::Counter,
            Self::Summary => MetricType::Summary,
            Self::Histogram => MetricType::Histogram,
            Self::GaugeHistogram => MetricType::GaugeHistogram,
        }
    }
}

/// What a sample is within its metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    /// Its value, under the name of the family.
    Plain,
    /// Its value, under a counter's own name.
    Total,
    Created,
    Quantile(f64),
    Bucket(f64),
    Sum,
    Count,
}

impl Slot {
    /// What a sample is whose name has this suffix to the family's; `None` if
    /// the type has no such samples.
    pub(super) fn of(text_type: TextType, suffix: &[u8], sample: &Sample<'_>) -> Option<Self> {
        use TextType::{Counter, GaugeHistogram, Histogram, Info, Summary};
        let bound = |role| {
            let is_bound = |(name, _): &&Label<'_>| **name == *points::bound_label(role);
            let (_, value) = sample.labels.iter().find(is_bound)?;
            std::str::from_utf8(value).ok()?.parse().ok()
        };
        match (text_type, suffix) {
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

/// A metric that is being read.
#[derive(Debug, Default)]
pub(super) struct Metric {
    /// Its labels, as fields.
    labels: Vec<u8>,
    timestamp_ms: Option<i64>,
    plain: Option<f64>,
    sum: Option<f64>,
    count: Option<Number>,
    /// That of the bucket up to +Inf.
    count_of_all: Option<Number>,
    /// Its quantiles or buckets, as fields.
    parts: Vec<u8>,
    /// Theirs.
    bounds: Vec<f64>,
    /// A counter's.
    exemplar: Vec<u8>,
    /// In nanoseconds.
    created: Option<i64>,
}

impl Metric {
    pub(super) fn has_value(&self) -> bool {
        let has_parts = !self.parts.is_empty();
        has_parts || self.plain.is_some() || self.sum.is_some() || self.count.is_some()
    }

    /// Whether the sample is of this metric, and a new one.
    pub(super) fn takes(&self, slot: Slot, sample: &Sample<'_>) -> bool {
        if !self.has_value() && self.created.is_none() {
            return true;
        }
        let is_free = match slot {
            Slot::Plain | Slot::Total => self.plain.is_none(),
            Slot::Created => self.created.is_none(),
            Slot::Quantile(bound) | Slot::Bucket(bound) => {
                // Mostly they ascend.
                self.bounds.last().is_some_and(|last| *last < bound)
                    || !self.bounds.contains(&bound)
            }
            Slot::Sum => self.sum.is_none(),
            Slot::Count => self.count.is_none(),
        };
        let is_same_time =
            slot == Slot::Created || !self.has_value() || self.timestamp_ms == timestamp_ms(sample);
        is_free && is_same_time && self.labels == labels(sample, slot)
    }

    pub(super) fn take(&mut self, slot: Slot, sample: &Sample<'_>) {
        let Ok(value) = sample.value.parse::<f64>() else { return };
        if !self.has_value() && self.created.is_none() {
            self.labels = labels(sample, slot);
        }
        if slot != Slot::Created {
            self.timestamp_ms = timestamp_ms(sample);
        }
        match slot {
            Slot::Plain | Slot::Total => {
                self.plain = Some(value);
                if let Some(exemplar) = &sample.exemplar {
                    write_exemplar(number::COUNTER_EXEMPLAR, exemplar, &mut self.exemplar);
                }
            }
            Slot::Created => self.created = read_scaled(sample.value, 9),
            Slot::Sum => self.sum = Some(value),
            Slot::Count => self.count = Some(count(sample.value, value)),
            Slot::Quantile(bound) => {
                self.bounds.push(bound);
                put_message(number::PARTS, &mut self.parts, |out| {
                    put_double(number::QUANTILE, bound, out);
                    put_double(number::QUANTILE_VALUE, value, out);
                });
            }
            Slot::Bucket(bound) => {
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

    /// How many of its sum and count are not there, although each reader of protobuf finds some.
    pub(super) fn invented(&self, text_type: TextType) -> usize {
        let has_both = matches!(text_type.metric_type().kind(), Kind::Summary | Kind::Histogram);
        if !has_both || !self.has_value() {
            return 0;
        }
        usize::from(self.sum.is_none()) + usize::from(self.count.is_none())
    }

    /// Writes the metric as a field of its family, if it has a value.
    pub(super) fn write(&self, text_type: TextType, out: &mut Vec<u8>) {
        if !self.has_value() {
            return;
        }
        put_message(number::FAMILY_METRIC, out, |out| {
            out.extend_from_slice(&self.labels);
            let kind = text_type.metric_type().kind();
            put_message(kind as u32, out, |out| self.write_value(kind, out));
            if let Some(timestamp_ms) = self.timestamp_ms {
                put_varint_field(number::TIMESTAMP_MS, timestamp_ms as u64, out);
            }
        });
    }

    fn write_value(&self, kind: Kind, out: &mut Vec<u8>) {
        let created_number = match kind {
            Kind::Counter => number::COUNTER_CREATED,
            Kind::Summary => number::SUMMARY_CREATED,
            _ => number::HISTOGRAM_CREATED,
        };
        match kind {
            Kind::Gauge | Kind::Counter | Kind::Untyped => {
                put_double(number::VALUE, self.plain.unwrap_or_default(), out);
            }
            Kind::Summary | Kind::Histogram => {
                match (kind, self.count.or(self.count_of_all)) {
                    (_, None) => {}
                    (Kind::Histogram, Some(count)) => {
                        write_count([number::COUNT, number::COUNT_FLOAT], count, out);
                    }
                    // It has no other number for it.
                    (_, Some(count)) => put_varint_field(number::COUNT, count.to_u64(), out),
                }
                if let Some(sum) = self.sum {
                    put_double(number::SUM, sum, out);
                }
                out.extend_from_slice(&self.parts);
            }
        }
        if kind == Kind::Counter {
            out.extend_from_slice(&self.exemplar);
        }
        if let Some(nanos) = self.created {
            put_message(created_number, out, |out| write_time(nanos, out));
        }
    }

    /// Writes a time of creation without anything created, as a gauge.
    pub(super) fn write_lonely_created(&self, out: &mut Vec<u8>) {
        if let Some(nanos) = self.created.filter(|_| !self.has_value()) {
            put_message(number::FAMILY_METRIC, out, |out| {
                out.extend_from_slice(&self.labels);
                put_message(Kind::Gauge as u32, out, |out| {
                    put_double(number::VALUE, nanos as f64 / 1e9, out);
                });
            });
        }
    }
}

fn timestamp_ms(sample: &Sample<'_>) -> Option<i64> {
    read_scaled(sample.timestamp?, 3)
}

/// A metric's own labels, as fields.
fn labels(sample: &Sample<'_>, slot: Slot) -> Vec<u8> {
    let bound = match slot {
        Slot::Quantile(_) => points::bound_label(Role::Plain),
        Slot::Bucket(_) => points::bound_label(Role::Bucket),
        _ => b"",
    };
    let mut out = Vec::new();
    let own = sample.labels.iter().filter(|(name, _)| **name != *bound);
    own.for_each(|label| write_label(label, &mut out));
    out
}

fn write_label((name, value): &Label<'_>, out: &mut Vec<u8>) {
    put_message(number::LABEL, out, |out| {
        put_bytes(number::LABEL_NAME, name, out);
        put_bytes(number::LABEL_VALUE, value, out);
    });
}

fn write_exemplar(number: u32, exemplar: &Exemplar<'_>, out: &mut Vec<u8>) {
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

/// A count as it is written: a whole number stays one, however large.
fn count(text: &str, value: f64) -> Number {
    text.parse().map(Number::Count).unwrap_or_else(|_| Number::of(value))
}

fn write_count([integer, float]: [u32; 2], count: Number, out: &mut Vec<u8>) {
    match count {
        Number::Count(count) => put_varint_field(integer, count, out),
        Number::Float(value) => put_double(float, value, out),
    }
}
