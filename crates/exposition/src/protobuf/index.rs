//! What is kept of a body besides its bytes, and the walk that finds it.

use std::ops::Range;

use super::{
    super::{
        error::{Error, ErrorKind},
        labels::AddedLabels,
        limits::Limits,
        names::is_legacy_metric_name,
        renames::LabelTraits,
        span::Span,
    },
    message::{MetricContent, ProtobufType, ValueKind, number},
    metric_check,
    wire::{Fields, take_delimited},
};

/// What is kept of a body.
#[derive(Default)]
pub(super) struct ProtobufIndex {
    /// Those with metrics, in their order; a name can occur again.
    pub(super) families: Vec<FamilyMessage>,
    /// Those of the first family, then those of the second, and so on.
    pub(super) metrics: Vec<IndexedMetric>,
    /// How many samples Prometheus sees, duplicates among them.
    pub(super) samples: usize,
    /// How many samples the dropped metrics have.
    pub(super) duplicates: usize,
    pub(super) renamed_labels: usize,
    /// Whether the name of some family is none that older scrapers know.
    pub(super) has_utf8_names: bool,
    /// Of all metrics.
    pub(super) labels: LabelTraits,
}

impl ProtobufIndex {
    /// Drops the metric at `place`; returns how many samples it has.
    pub(super) fn drop(&mut self, place: u32, body: &[u8]) -> usize {
        let metric = self.metrics.get(place as usize).copied();
        let family = self.family_of(place).zip(metric);
        let samples = family.map_or(0, |(family, metric)| family.samples(body, metric));
        if let Some(metric) = self.metrics.get_mut(place as usize) {
            metric.flags |= IndexedMetric::DROPPED;
        }
        samples
    }

    /// The family of the metric at `place`.
    pub(super) fn family_of(&self, place: u32) -> Option<&FamilyMessage> {
        let before = self.families.partition_point(|family| family.metrics.end <= place);
        self.families.get(before)
    }
}

/// A message in a body that says what a family is and has some of its metrics.
pub(super) struct FamilyMessage {
    pub(super) name: Span,
    pub(super) help: Span,
    pub(super) unit: Span,
    pub(super) metric_type: ProtobufType,
    /// What its metrics hold.
    pub(super) kinds: ValueKinds,
    /// The places of its metrics.
    pub(super) metrics: Range<u32>,
    /// How long they are when written, the native histograms apart: \[others, native\].
    pub(super) lengths: [u64; 2],
}

impl FamilyMessage {
    /// The number of the field for the values of its type.
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

    /// The metrics that are not dropped and their places, from the place `start` on.
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

/// A metric: its place in the body, and what to do with it.
#[derive(Clone, Copy)]
pub(super) struct IndexedMetric {
    pub(super) span: Span,
    flags: u8,
}

impl IndexedMetric {
    /// A label has the name of an added one.
    pub(super) const CLASH: u8 = 1;
    /// A label's name is none that older scrapers know.
    pub(super) const UTF8_LABEL: u8 = 2;
    pub(super) const NATIVE: u8 = 4;
    /// A duplicate.
    pub(super) const DROPPED: u8 = 8;
    pub(super) const VALUELESS: u8 = 16;

    pub(super) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Takes it back that it was dropped.
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
}

/// A body may become so many times as long if each of its samples stands on its
/// own. AddedLabels of 1 kB on a thousand buckets are 80 times as long then; a body can be made
/// up that becomes a million times as long.
const MAX_GROWTH: usize = 64;

/// What is not worth a look.
const FREE_REPEATED_BYTES: usize = 16 << 20;

/// Checks a body and indexes it.
pub(super) fn index(
    body: &[u8],
    added: &AddedLabels,
    limits: &Limits,
) -> Result<ProtobufIndex, Error> {
    let mut walk =
        IndexBuilder { body, added, limits, index: ProtobufIndex::default(), repeated: 0 };
    let (mut stream, mut number) = (body, 0);
    while !stream.is_empty() {
        number += 1;
        let family = take_delimited(&mut stream).map_err(ErrorKind::from);
        family
            .and_then(|family| walk.family(family, number))
            .map_err(|kind| Error::in_message(kind, number))?;
    }
    walk.index.families.shrink_to_fit();
    walk.index.metrics.shrink_to_fit();
    Ok(walk.index)
}

struct IndexBuilder<'a> {
    body: &'a [u8],
    added: &'a AddedLabels,
    limits: &'a Limits,
    index: ProtobufIndex,
    /// How long the labels are that single samples would repeat.
    repeated: usize,
}

impl<'a> IndexBuilder<'a> {
    fn family(&mut self, message: &'a [u8], count: usize) -> Result<(), ErrorKind> {
        if count > self.limits.max_families {
            return Err(ErrorKind::TooManyFamilies);
        }
        let (mut name, mut help, mut unit): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        // The type that is meant by none is the first.
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
        // Prometheus does not look at them either.
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
