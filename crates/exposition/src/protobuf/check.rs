//! What must hold of a `Metric` before a byte of it is copied.

use super::{
    super::{
        error::ErrorKind, labels::Labels, limits::Limits, names::RESERVED_LABEL, renames::LabelUse,
    },
    message::{self, Content, Kind, Label, METRIC, MetricType, Schema, Type, number},
    native,
    wire::{Fields, Malformed, Value},
};

impl From<Malformed> for ErrorKind {
    fn from(_: Malformed) -> Self {
        Self::Message
    }
}

/// What an index needs to know of a metric.
pub(super) struct Checked {
    pub(super) kind: Kind,
    /// It is a histogram that Prometheus takes for a native one.
    pub(super) is_native: bool,
    pub(super) labels: LabelUse,
    pub(super) is_valueless: bool,
    /// How many samples Prometheus sees in it.
    pub(super) samples: usize,
    /// How long the labels are that single samples would repeat.
    pub(super) repeated: usize,
}

/// Checks a `Metric` whole.
pub(super) fn metric(
    metric: &[u8],
    metric_type: MetricType,
    added: &Labels,
    limits: &Limits,
) -> Result<Checked, ErrorKind> {
    if metric.len() > limits.max_line {
        return Err(ErrorKind::FieldTooLong);
    }
    follows(metric, METRIC)?;
    let content = Content::of(metric);
    // A reader would merge the two; nobody writes that.
    if content.is_double() {
        return Err(ErrorKind::Message);
    }
    let kind = content.kind(metric_type);
    let labels = labels(metric, kind, added, limits)?;
    let value = content.value(kind);
    let is_native = kind == Kind::Histogram && native::is_native(value);
    if is_native && !native::is_sound(value) {
        return Err(ErrorKind::NativeHistogram);
    }
    Ok(Checked {
        kind,
        is_native,
        labels,
        is_valueless: !content.has(kind),
        samples: samples(kind, value, is_native),
        repeated: (metric.len() - value.len()).saturating_mul(samples(kind, value, false)),
    })
}

/// Checks that each field has the type that its schema says; others are skipped.
fn follows(message: &[u8], schema: Schema) -> Result<(), ErrorKind> {
    for field in Fields::new(message) {
        let field = field?;
        let Some(expected) = schema.get(field.number as usize - 1) else { continue };
        match expected {
            Type::Varint => _ = field.value.varint()?,
            Type::Double => _ = field.value.double()?,
            Type::Text => text(field.value)?,
            Type::Varints => field.value.varints().try_for_each(|value| value.map(drop))?,
            Type::Doubles => field.value.doubles().try_for_each(|value| value.map(drop))?,
            // No deeper than the schema, in which no message holds itself.
            Type::Message(inner) => follows(field.value.bytes()?, inner)?,
        }
    }
    Ok(())
}

/// Refuses text that is not UTF-8.
pub(super) fn text(value: Value<'_>) -> Result<(), ErrorKind> {
    std::str::from_utf8(value.bytes()?).map(drop).map_err(|_| ErrorKind::Encoding)
}

fn labels(
    metric: &[u8],
    kind: Kind,
    added: &Labels,
    limits: &Limits,
) -> Result<LabelUse, ErrorKind> {
    /// Up to here a name is compared with each one before; with more, that would take too long.
    const FEW: usize = 16;

    let mut used = LabelUse::default();
    let mut few = [&[][..]; FEW];
    for (i, label) in Label::all(metric).enumerate() {
        if i >= limits.max_labels {
            return Err(ErrorKind::TooManyLabels);
        }
        match label.name {
            b"" => return Err(ErrorKind::LabelName),
            RESERVED_LABEL => return Err(ErrorKind::ReservedLabel),
            // Readers add such a label themselves.
            b"le" if kind == Kind::Histogram => return Err(ErrorKind::DuplicateLabel),
            b"quantile" if kind == Kind::Summary => return Err(ErrorKind::DuplicateLabel),
            name => used.join(LabelUse::of(name, added)),
        }
        let before = few.get(..i.min(FEW)).unwrap_or_default();
        if before.contains(&label.name) {
            return Err(ErrorKind::DuplicateLabel);
        }
        if let Some(place) = few.get_mut(i) {
            *place = label.name;
        } else if i == FEW {
            all_differ(metric)?;
        }
    }
    Ok(used)
}

fn all_differ(metric: &[u8]) -> Result<(), ErrorKind> {
    let mut names: Vec<_> = Label::all(metric).map(|label| label.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(ErrorKind::DuplicateLabel);
    }
    Ok(())
}

/// How many samples Prometheus sees in a value.
pub(super) fn samples(kind: Kind, value: &[u8], is_native: bool) -> usize {
    let parts = || message::messages(value, number::PARTS);
    match kind {
        _ if is_native => 1,
        Kind::Gauge | Kind::Counter | Kind::Untyped => 1,
        Kind::Summary => parts().count() + 2,
        Kind::Histogram => {
            let bound = |bucket| message::double(bucket, number::BUCKET_BOUND);
            let is_closed = parts().any(|bucket| bound(bucket) == f64::INFINITY);
            parts().count() + usize::from(!is_closed) + 2
        }
    }
}
