//! Validates `Metric` messages.

use super::{
    super::{
        error::ErrorKind, labels::AddedLabels, labels::LabelTraits, limits::Limits,
        names::RESERVED_LABEL,
    },
    message::{
        self, FieldType, FieldTypes, LabelPair, METRIC, MetricContent, ProtobufType, ValueKind,
        number,
    },
    native_histogram,
    wire::{FieldValue, Fields, Malformed},
};

impl From<Malformed> for ErrorKind {
    fn from(_: Malformed) -> Self {
        Self::Message
    }
}

/// The properties of a metric.
pub(super) struct CheckedMetric {
    pub(super) kind: ValueKind,
    /// Whether Prometheus reads the metric as a native histogram.
    pub(super) is_native: bool,
    pub(super) labels: LabelTraits,
    pub(super) is_valueless: bool,
    /// The number of samples as Prometheus counts them.
    pub(super) samples: usize,
    /// The length of the labels that single samples would repeat.
    pub(super) repeated: usize,
}

/// Validates a `Metric` message.
pub(super) fn metric(
    metric: &[u8],
    metric_type: ProtobufType,
    added: &AddedLabels,
    limits: &Limits,
) -> Result<CheckedMetric, ErrorKind> {
    if metric.len() > limits.max_line {
        return Err(ErrorKind::FieldTooLong);
    }
    matches_fields(metric, METRIC)?;
    let content = MetricContent::of(metric);
    // Parsers would merge two values of one kind. No client library writes this.
    if content.has_repeated_value() {
        return Err(ErrorKind::Message);
    }
    let kind = content.kind(metric_type);
    let labels = labels(metric, kind, added, limits)?;
    let value = content.value(kind);
    let is_native = kind == ValueKind::Histogram && native_histogram::is_native(value);
    if is_native && !native_histogram::is_consistent(value) {
        return Err(ErrorKind::NativeHistogram);
    }
    Ok(CheckedMetric {
        kind,
        is_native,
        labels,
        is_valueless: !content.has(kind),
        samples: samples(kind, value, is_native),
        repeated: (metric.len() - value.len()).saturating_mul(samples(kind, value, false)),
    })
}

/// Checks the types of known fields. Unknown fields are skipped.
fn matches_fields(message: &[u8], schema: FieldTypes) -> Result<(), ErrorKind> {
    for field in Fields::new(message) {
        let field = field?;
        let Some(expected) = schema.get(field.number as usize - 1) else { continue };
        match expected {
            FieldType::Varint => _ = field.value.varint()?,
            FieldType::Double => _ = field.value.double()?,
            FieldType::Text => text(field.value)?,
            FieldType::Varints => field.value.varints().try_for_each(|value| value.map(drop))?,
            FieldType::Doubles => field.value.doubles().try_for_each(|value| value.map(drop))?,
            // The recursion is as deep as the schema, which is not recursive.
            FieldType::Message(inner) => matches_fields(field.value.bytes()?, inner)?,
        }
    }
    Ok(())
}

/// Refuses text that is not UTF-8.
pub(super) fn text(value: FieldValue<'_>) -> Result<(), ErrorKind> {
    std::str::from_utf8(value.bytes()?).map(drop).map_err(|_| ErrorKind::Encoding)
}

fn labels(
    metric: &[u8],
    kind: ValueKind,
    added: &AddedLabels,
    limits: &Limits,
) -> Result<LabelTraits, ErrorKind> {
    /// Up to this number of labels each name is compared with all previous ones. For more labels
    /// the names are sorted.
    const PAIRWISE_LIMIT: usize = 16;

    let mut used = LabelTraits::default();
    let mut first_names = [&[][..]; PAIRWISE_LIMIT];
    for (i, label) in LabelPair::all(metric).enumerate() {
        if i >= limits.max_labels {
            return Err(ErrorKind::TooManyLabels);
        }
        match label.name {
            b"" => return Err(ErrorKind::LabelName),
            RESERVED_LABEL => return Err(ErrorKind::ReservedLabel),
            // Parsers add this label to each bucket or quantile.
            b"le" if kind == ValueKind::Histogram => return Err(ErrorKind::DuplicateLabel),
            b"quantile" if kind == ValueKind::Summary => return Err(ErrorKind::DuplicateLabel),
            name => used.join(LabelTraits::of(name, added)),
        }
        let before = first_names.get(..i.min(PAIRWISE_LIMIT)).unwrap_or_default();
        if before.contains(&label.name) {
            return Err(ErrorKind::DuplicateLabel);
        }
        if let Some(place) = first_names.get_mut(i) {
            *place = label.name;
        } else if i == PAIRWISE_LIMIT {
            all_differ(metric)?;
        }
    }
    Ok(used)
}

fn all_differ(metric: &[u8]) -> Result<(), ErrorKind> {
    let mut names: Vec<_> = LabelPair::all(metric).map(|label| label.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(ErrorKind::DuplicateLabel);
    }
    Ok(())
}

/// The number of samples of a value as Prometheus counts them.
pub(super) fn samples(kind: ValueKind, value: &[u8], is_native: bool) -> usize {
    let parts = || message::messages(value, number::PARTS);
    match kind {
        _ if is_native => 1,
        ValueKind::Gauge | ValueKind::Counter | ValueKind::Untyped => 1,
        ValueKind::Summary => parts().count() + 2,
        ValueKind::Histogram => {
            let bound = |bucket| message::double(bucket, number::BUCKET_BOUND);
            let has_infinity = parts().any(|bucket| bound(bucket) == f64::INFINITY);
            parts().count() + usize::from(!has_infinity) + 2
        }
    }
}
