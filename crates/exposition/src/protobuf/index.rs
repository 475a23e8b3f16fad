//! The index of a protobuf body: families and metrics.

use std::ops::Range;

use super::{
    super::{
        error::{Error, ErrorKind},
        families::{Role, Roles},
        labels::{AddedLabels, LabelTraits},
        limits::Limits,
        names::is_legacy_metric_name,
        span::Span,
    },
    message::{MetricContent, ProtobufType, ValueKind, number},
    metric_check,
    wire::{Fields, take_delimited},
};

/// The index of a body.
#[derive(Default)]
pub(super) struct ProtobufIndex {
    /// Messages with metrics, in the order of the body. A name can occur in several messages.
    pub(super) families: Vec<FamilyMessage>,
    /// The metrics of all families, grouped by family.
    pub(super) metrics: Vec<IndexedMetric>,
    /// The number of samples as Prometheus counts them, with duplicates.
    pub(super) samples: usize,
    /// The number of samples of dropped metrics.
    pub(super) duplicates: usize,
    pub(super) renamed_labels: usize,
    /// Whether a family name is not a legacy name.
    pub(super) has_utf8_names: bool,
    /// The properties of all label names.
    pub(super) labels: LabelTraits,
}

impl ProtobufIndex {
    /// Drops the metric at `metric_index`. Returns the number of its samples.
    pub(super) fn drop(&mut self, metric_index: u32, body: &[u8]) -> usize {
        let metric = self.metrics.get(metric_index as usize).copied();
        let family = self.family_of(metric_index).zip(metric);
        let samples = family.map_or(0, |(family, metric)| family.samples(body, metric));
        if let Some(metric) = self.metrics.get_mut(metric_index as usize) {
            metric.flags |= IndexedMetric::DROPPED;
        }
        samples
    }

    /// The memory of the index, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.families.capacity() * size_of::<FamilyMessage>()
            + self.metrics.capacity() * size_of::<IndexedMetric>()
    }

    /// The family of the metric at `metric_index`.
    pub(super) fn family_of(&self, metric_index: u32) -> Option<&FamilyMessage> {
        let before = self.families.partition_point(|family| family.metrics.end <= metric_index);
        self.families.get(before)
    }
}

/// A body and its index.
#[derive(Clone, Copy)]
pub(super) struct IndexedMessages<'a> {
    pub(super) body: &'a [u8],
    pub(super) index: &'a ProtobufIndex,
}

/// A `MetricFamily` message of a body.
pub(super) struct FamilyMessage {
    pub(super) name: Span,
    pub(super) help: Span,
    pub(super) unit: Span,
    pub(super) metric_type: ProtobufType,
    /// The kinds of values of its metrics.
    pub(super) kinds: ValueKinds,
    /// The indexes of its metrics.
    pub(super) metrics: Range<u32>,
    /// The length of the metrics in the output: \[other metrics, native histograms\].
    pub(super) lengths: [u64; 2],
}

impl FamilyMessage {
    /// The field number of values of its type.
    pub(super) fn kind(&self) -> u32 {
        self.metric_type.kind() as u32
    }

    pub(super) fn metrics<'i>(&self, index: &'i ProtobufIndex) -> &'i [IndexedMetric] {
        let range = self.metrics.start as usize..self.metrics.end as usize;
        index.metrics.get(range).unwrap_or_default()
    }

    /// The number of samples of a metric of this family.
    fn samples(&self, body: &[u8], metric: IndexedMetric) -> usize {
        let content = MetricContent::of(metric.span.of(body));
        let kind = content.kind(self.metric_type);
        metric_check::samples(kind, content.value(kind), metric.is(IndexedMetric::NATIVE))
    }

    /// The indexes and metrics that are not dropped, from the index `start` in the family on.
    pub(super) fn kept(
        &self,
        index: &ProtobufIndex,
        start: u32,
    ) -> impl Iterator<Item = (u32, IndexedMetric)> {
        let metrics = self.metrics(index).get(start as usize..).unwrap_or_default();
        let metrics = (start..).zip(metrics.iter().copied());
        metrics.filter(|(_, metric)| !metric.is(IndexedMetric::DROPPED))
    }
}

/// The position and properties of a metric.
#[derive(Clone, Copy)]
pub(super) struct IndexedMetric {
    pub(super) span: Span,
    flags: u8,
}

impl IndexedMetric {
    /// A label has the name of an added label.
    pub(super) const CLASH: u8 = 1;
    /// A label name is not a legacy name.
    pub(super) const UTF8_LABEL: u8 = 2;
    pub(super) const NATIVE: u8 = 4;
    /// The metric is a duplicate.
    pub(super) const DROPPED: u8 = 8;
    pub(super) const VALUELESS: u8 = 16;

    pub(super) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Marks the metric as not dropped.
    pub(super) fn keep(&mut self) {
        self.flags &= !Self::DROPPED;
    }
}

/// A set of [`ValueKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ValueKinds(u8);

impl ValueKinds {
    pub(super) fn insert(&mut self, kind: ValueKind) {
        self.0 |= 1 << kind as u8;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn contains(self, kind: ValueKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(super) fn are_all(self, kind: ValueKind) -> bool {
        self.0 == 1 << kind as u8
    }

    /// The roles of the samples of these values.
    pub(super) fn roles(self) -> Roles {
        let mut roles = Roles::default();
        let mut insert = |is_there, role| {
            if is_there {
                roles.insert(role);
            }
        };
        let has = |kind| self.contains(kind);
        let is_plain = has(ValueKind::Gauge) || has(ValueKind::Counter) || has(ValueKind::Untyped);
        insert(is_plain || has(ValueKind::Summary), Role::Plain);
        insert(has(ValueKind::Histogram), Role::Bucket);
        insert(has(ValueKind::Histogram) || has(ValueKind::Summary), Role::Sum);
        insert(has(ValueKind::Histogram) || has(ValueKind::Summary), Role::Count);
        roles
    }
}

/// The largest growth by conversion to single samples, which repeat the labels for each bucket.
/// Labels of 1 kB on a thousand buckets give a factor of 80, and a crafted body can give a factor
/// of a million.
const MAX_GROWTH: usize = 64;

/// The number of repeated bytes that is always allowed.
const FREE_REPEATED_BYTES: usize = 16 << 20;

/// Validates and indexes a body.
pub(super) fn index(
    body: &[u8],
    added: &AddedLabels,
    limits: &Limits,
) -> Result<ProtobufIndex, Error> {
    let mut builder =
        IndexBuilder { body, added, limits, index: ProtobufIndex::default(), repeated: 0 };
    let (mut stream, mut number) = (body, 0);
    while !stream.is_empty() {
        number += 1;
        let family = take_delimited(&mut stream).map_err(ErrorKind::from);
        family
            .and_then(|family| builder.family(family, number))
            .map_err(|kind| Error::in_message(kind, number))?;
    }
    builder.index.families.shrink_to_fit();
    builder.index.metrics.shrink_to_fit();
    Ok(builder.index)
}

struct IndexBuilder<'a> {
    body: &'a [u8],
    added: &'a AddedLabels,
    limits: &'a Limits,
    index: ProtobufIndex,
    /// The length of the labels that single samples would repeat.
    repeated: usize,
}

impl<'a> IndexBuilder<'a> {
    fn family(&mut self, message: &'a [u8], count: usize) -> Result<(), ErrorKind> {
        if count > self.limits.max_families {
            return Err(ErrorKind::TooManyFamilies);
        }
        let (mut name, mut help, mut unit): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        // The default type is the first of the enumeration.
        let (mut type_number, mut has_metrics) = (0, false);
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                number::FAMILY_NAME => name = self.text(field.value)?,
                number::FAMILY_HELP => help = self.text(field.value)?,
                number::FAMILY_UNIT => unit = self.text(field.value)?,
                number::FAMILY_TYPE => type_number = field.value.varint()?,
                number::FAMILY_METRIC => {
                    field.value.bytes()?;
                    has_metrics = true;
                }
                _ => {}
            }
        }
        // Prometheus skips these families too.
        if !has_metrics {
            return Ok(());
        }
        if name.is_empty() {
            return Err(ErrorKind::MetricName);
        }
        let metric_type = ProtobufType::of(type_number).ok_or(ErrorKind::MetricType)?;
        let start = self.index.metrics.len() as u32;
        let mut kinds = ValueKinds::default();
        for field in Fields::new(message) {
            let field = field?;
            if field.number == number::FAMILY_METRIC {
                kinds.insert(self.metric(field.value.bytes()?, metric_type)?);
            }
        }
        let name_span = Span::within(self.body, name);
        self.index.has_utf8_names |= !is_legacy_metric_name(name);
        self.index.families.push(FamilyMessage {
            name: name_span,
            help: Span::within(self.body, help),
            unit: Span::within(self.body, unit),
            metric_type,
            kinds,
            metrics: start..self.index.metrics.len() as u32,
            lengths: [0; 2],
        });
        Ok(())
    }

    fn text(&self, value: super::wire::FieldValue<'a>) -> Result<&'a [u8], ErrorKind> {
        metric_check::text(value)?;
        let text = value.bytes()?;
        if text.len() > self.limits.max_line { Err(ErrorKind::FieldTooLong) } else { Ok(text) }
    }

    fn metric(
        &mut self,
        message: &[u8],
        metric_type: ProtobufType,
    ) -> Result<ValueKind, ErrorKind> {
        let checked = metric_check::metric(message, metric_type, self.added, self.limits)?;
        self.index.samples += checked.samples;
        if self.limits.max_samples != 0 && self.index.samples > self.limits.max_samples {
            return Err(ErrorKind::TooManySamples);
        }
        self.repeated = self.repeated.saturating_add(checked.repeated);
        if self.repeated
            > FREE_REPEATED_BYTES.saturating_add(self.body.len().saturating_mul(MAX_GROWTH))
        {
            return Err(ErrorKind::TextTooLong);
        }
        let mut flags = 0;
        for (is_set, flag) in [
            (checked.labels.has(LabelTraits::CLASH), IndexedMetric::CLASH),
            (checked.is_valueless, IndexedMetric::VALUELESS),
            (checked.labels.has(LabelTraits::UTF8), IndexedMetric::UTF8_LABEL),
            (checked.is_native, IndexedMetric::NATIVE),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        self.index.labels.join(checked.labels);
        self.index.metrics.push(IndexedMetric { span: Span::within(self.body, message), flags });
        Ok(checked.kind)
    }
}
