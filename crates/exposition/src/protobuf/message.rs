//! The messages of package `io.prometheus.client`, as far as a merge reads them.

use super::wire::{Field, FieldValue, Fields};

/// Field numbers by message.
pub(super) mod number {
    pub(in super::super) const FAMILY_NAME: u32 = 1;
    pub(in super::super) const FAMILY_HELP: u32 = 2;
    pub(in super::super) const FAMILY_TYPE: u32 = 3;
    pub(in super::super) const FAMILY_METRIC: u32 = 4;
    pub(in super::super) const FAMILY_UNIT: u32 = 5;

    pub(in super::super) const LABEL: u32 = 1;
    pub(in super::super) const LABEL_NAME: u32 = 1;
    pub(in super::super) const LABEL_VALUE: u32 = 2;
    pub(in super::super) const TIMESTAMP_MS: u32 = 6;

    /// The value of a counter, gauge or untyped metric.
    pub(in super::super) const VALUE: u32 = 1;
    pub(in super::super) const COUNTER_EXEMPLAR: u32 = 2;
    pub(in super::super) const COUNTER_CREATED: u32 = 3;

    /// The count of a summary or histogram.
    pub(in super::super) const COUNT: u32 = 1;
    pub(in super::super) const SUM: u32 = 2;
    /// The quantiles of a summary or the buckets of a histogram.
    pub(in super::super) const PARTS: u32 = 3;
    pub(in super::super) const SUMMARY_CREATED: u32 = 4;

    pub(in super::super) const QUANTILE: u32 = 1;
    pub(in super::super) const QUANTILE_VALUE: u32 = 2;

    pub(in super::super) const COUNT_FLOAT: u32 = 4;
    pub(in super::super) const SCHEMA: u32 = 5;
    pub(in super::super) const ZERO_THRESHOLD: u32 = 6;
    pub(in super::super) const ZERO_COUNT: u32 = 7;
    pub(in super::super) const ZERO_COUNT_FLOAT: u32 = 8;
    /// The spans, deltas and counts of the negative buckets.
    pub(in super::super) const NEGATIVE: [u32; 3] = [9, 10, 11];
    /// The spans, deltas and counts of the positive buckets.
    pub(in super::super) const POSITIVE: [u32; 3] = [12, 13, 14];
    pub(in super::super) const HISTOGRAM_CREATED: u32 = 15;
    pub(in super::super) const NATIVE_EXEMPLAR: u32 = 16;

    pub(in super::super) const SPAN_OFFSET: u32 = 1;
    pub(in super::super) const SPAN_LENGTH: u32 = 2;

    pub(in super::super) const BUCKET_COUNT: u32 = 1;
    pub(in super::super) const BUCKET_BOUND: u32 = 2;
    pub(in super::super) const BUCKET_EXEMPLAR: u32 = 3;
    pub(in super::super) const BUCKET_COUNT_FLOAT: u32 = 4;

    pub(in super::super) const EXEMPLAR_VALUE: u32 = 2;
    pub(in super::super) const EXEMPLAR_TIME: u32 = 3;

    pub(in super::super) const SECONDS: u32 = 1;
    pub(in super::super) const NANOS: u32 = 2;
}

/// The type of a field.
pub(super) enum FieldType {
    Varint,
    Double,
    Text,
    /// Repeated, packed or not.
    Varints,
    Doubles,
    Message(FieldTypes),
}

/// The types of the fields of a message from number 1 on, without gaps.
pub(super) type FieldTypes = &'static [FieldType];

const LABEL: FieldTypes = &[FieldType::Text, FieldType::Text];
const TIME: FieldTypes = &[FieldType::Varint, FieldType::Varint];
const EXEMPLAR: FieldTypes =
    &[FieldType::Message(LABEL), FieldType::Double, FieldType::Message(TIME)];
const VALUE: FieldTypes = &[FieldType::Double];
const COUNTER: FieldTypes =
    &[FieldType::Double, FieldType::Message(EXEMPLAR), FieldType::Message(TIME)];
const QUANTILE: FieldTypes = &[FieldType::Double, FieldType::Double];
const SUMMARY: FieldTypes =
    &[FieldType::Varint, FieldType::Double, FieldType::Message(QUANTILE), FieldType::Message(TIME)];
const BUCKET: FieldTypes =
    &[FieldType::Varint, FieldType::Double, FieldType::Message(EXEMPLAR), FieldType::Double];
const SPAN: FieldTypes = &[FieldType::Varint, FieldType::Varint];
const HISTOGRAM: FieldTypes = &[
    FieldType::Varint,
    FieldType::Double,
    FieldType::Message(BUCKET),
    FieldType::Double,
    FieldType::Varint,
    FieldType::Double,
    FieldType::Varint,
    FieldType::Double,
    FieldType::Message(SPAN),
    FieldType::Varints,
    FieldType::Doubles,
    FieldType::Message(SPAN),
    FieldType::Varints,
    FieldType::Doubles,
    FieldType::Message(TIME),
    FieldType::Message(EXEMPLAR),
];

/// The fields of a `Metric` message.
pub(super) const METRIC: FieldTypes = &[
    FieldType::Message(LABEL),
    FieldType::Message(VALUE),
    FieldType::Message(COUNTER),
    FieldType::Message(SUMMARY),
    FieldType::Message(VALUE),
    FieldType::Varint,
    FieldType::Message(HISTOGRAM),
];

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProtobufType {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl ProtobufType {
    pub(super) const ALL: [Self; 6] = [
        Self::Counter,
        Self::Gauge,
        Self::Summary,
        Self::Untyped,
        Self::Histogram,
        Self::GaugeHistogram,
    ];

    pub(super) fn of(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The kind of value that metrics of this type have.
    pub(super) fn kind(self) -> ValueKind {
        match self {
            Self::Counter => ValueKind::Counter,
            Self::Gauge => ValueKind::Gauge,
            Self::Summary => ValueKind::Summary,
            Self::Untyped => ValueKind::Untyped,
            Self::Histogram | Self::GaugeHistogram => ValueKind::Histogram,
        }
    }
}

/// A set of [`ProtobufType`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProtobufTypes(u8);

impl ProtobufTypes {
    pub(super) fn insert(&mut self, metric_type: ProtobufType) {
        self.0 |= 1 << metric_type as u8;
    }

    /// The only type of the set. `None` if the set has no or several types.
    pub(super) fn agreed(self) -> Option<ProtobufType> {
        ProtobufType::ALL.into_iter().find(|&one| self.0 == 1 << one as u8)
    }
}

/// The kind of a metric's value. The number is that of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Gauge = 2,
    Counter = 3,
    Summary = 4,
    Untyped = 5,
    Histogram = 7,
}

impl ValueKind {
    pub(super) const ALL: [Self; 5] =
        [Self::Gauge, Self::Counter, Self::Summary, Self::Untyped, Self::Histogram];
}

/// The fields of a validated message.
pub(super) fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    Fields::new(message).map_while(Result::ok)
}

/// The last field with this number, which overrides earlier ones.
pub(super) fn last(message: &[u8], number: u32) -> Option<Field<'_>> {
    fields(message).filter(|field| field.number == number).last()
}

pub(super) fn bytes(message: &[u8], number: u32) -> Option<&[u8]> {
    last(message, number)?.value.bytes().ok()
}

pub(super) fn double(message: &[u8], number: u32) -> f64 {
    last(message, number).and_then(|field| field.value.double().ok()).unwrap_or_default()
}

pub(super) fn varint(message: &[u8], number: u32) -> u64 {
    last(message, number).and_then(|field| field.value.varint().ok()).unwrap_or_default()
}

/// The messages in a repeated field.
pub(super) fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .filter(move |field| field.number == number)
        .filter_map(|field| field.value.bytes().ok())
}

/// A `LabelPair` of a metric or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LabelPair<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> LabelPair<'a> {
    pub(super) fn of(pair: &'a [u8]) -> Self {
        let mut label = Self { name: b"", value: b"" };
        for field in fields(pair) {
            match (field.number, field.value) {
                (number::LABEL_NAME, FieldValue::Bytes(name)) => label.name = name,
                (number::LABEL_VALUE, FieldValue::Bytes(value)) => label.value = value,
                _ => {}
            }
        }
        label
    }

    /// The labels of a metric or an exemplar.
    pub(super) fn all(message: &'a [u8]) -> impl Iterator<Item = Self> {
        messages(message, number::LABEL).map(Self::of)
    }
}

/// The values and the timestamp of a metric.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MetricContent<'a> {
    /// The values by field number.
    values: [Option<&'a [u8]>; 8],
    timestamp_ms: i64,
    /// Whether a field of a value occurs several times.
    has_repeated_value: bool,
}

impl<'a> MetricContent<'a> {
    pub(super) fn of(metric: &'a [u8]) -> Self {
        let mut content = Self::default();
        for field in fields(metric) {
            match (field.number, field.value) {
                (number::TIMESTAMP_MS, FieldValue::Varint(ms)) => content.timestamp_ms = ms as i64,
                (number::LABEL, _) => {}
                (number, FieldValue::Bytes(value)) => {
                    if let Some(known) = content.values.get_mut(number as usize) {
                        content.has_repeated_value |= known.replace(value).is_some();
                    }
                }
                _ => {}
            }
        }
        content
    }

    /// The timestamp. A timestamp of 0 means none, as in Prometheus.
    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        (self.timestamp_ms != 0).then_some(self.timestamp_ms)
    }

    pub(super) fn has_repeated_value(&self) -> bool {
        self.has_repeated_value
    }

    /// The kind of value in a family of this type. It is the kind of the type, unless the metric
    /// has only a value of another kind.
    pub(super) fn kind(&self, metric_type: ProtobufType) -> ValueKind {
        let wanted = metric_type.kind();
        if self.has(wanted) {
            return wanted;
        }
        ValueKind::ALL.into_iter().find(|&kind| self.has(kind)).unwrap_or(wanted)
    }

    pub(super) fn has(&self, kind: ValueKind) -> bool {
        self.values.get(kind as usize).is_some_and(Option::is_some)
    }

    /// The message with the value. It is empty if there is none, which means 0 in each field.
    pub(super) fn value(&self, kind: ValueKind) -> &'a [u8] {
        self.values.get(kind as usize).copied().flatten().unwrap_or_default()
    }
}
