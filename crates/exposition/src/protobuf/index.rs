//! What is kept of a body besides its bytes, and the walk that finds it.

use std::ops::Range;

use super::{
    super::{
        error::{Error, ErrorKind},
        labels::Labels,
        limits::Limits,
        names::is_legacy_metric_name,
        renames::LabelUse,
        span::Span,
    },
    check,
    message::{Kind, MetricType, number},
    series,
    wire::{Fields, take_delimited},
};

/// What is kept of a body.
#[derive(Default)]
pub(super) struct Index {
    /// Those with metrics, in their order; a name can occur again.
    pub(super) families: Vec<Family>,
    /// Those of the first family, then those of the second, and so on.
    pub(super) metrics: Vec<Metric>,
    /// How many samples Prometheus sees, duplicates among them.
    pub(super) samples: usize,
    /// How many samples the dropped metrics have.
    pub(super) duplicates: usize,
    pub(super) renamed_labels: usize,
    /// Whether the name of some family is none that older scrapers know.
    pub(super) is_odd: bool,
    /// Of all metrics.
    pub(super) labels: LabelUse,
}

impl Index {
    /// Drops the metric at `place`; returns how many samples it has.
    pub(super) fn drop(&mut self, place: u32, body: &[u8]) -> usize {
        let metric = self.metrics.get(place as usize).copied();
        let family = self.family_of(place).zip(metric);
        let samples = family.map_or(0, |(family, metric)| series::samples(body, family, metric));
        if let Some(metric) = self.metrics.get_mut(place as usize) {
            metric.flags |= Metric::DROPPED;
        }
        samples
    }

    /// The family of the metric at `place`.
    pub(super) fn family_of(&self, place: u32) -> Option<&Family> {
        let before = self.families.partition_point(|family| family.metrics.end <= place);
        self.families.get(before)
    }
}

/// A message in a body that says what a family is and has some of its metrics.
pub(super) struct Family {
    pub(super) name: Span,
    pub(super) help: Span,
    pub(super) unit: Span,
    pub(super) metric_type: MetricType,
    /// What its metrics hold.
    pub(super) kinds: Kinds,
    /// The places of its metrics.
    pub(super) metrics: Range<u32>,
    /// How long they are when written, the native histograms apart: \[others, native\].
    pub(super) lengths: [u64; 2],
}

impl Family {
    /// The number of the field for the values of its type.
    pub(super) fn kind(&self) -> u32 {
        self.metric_type.kind() as u32
    }

    pub(super) fn metrics<'i>(&self, index: &'i Index) -> &'i [Metric] {
        let range = self.metrics.start as usize..self.metrics.end as usize;
        index.metrics.get(range).unwrap_or_default()
    }

    /// The metrics that are not dropped and their places, from the place `start` on.
    pub(super) fn kept(&self, index: &Index, start: u32) -> impl Iterator<Item = (u32, Metric)> {
        let metrics = self.metrics(index).get(start as usize..).unwrap_or_default();
        let metrics = (start..).zip(metrics.iter().copied());
        metrics.filter(|(_, metric)| !metric.is(Metric::DROPPED))
    }
}

/// A metric: its place in the body, and what to do with it.
#[derive(Clone, Copy)]
pub(super) struct Metric {
    pub(super) span: Span,
    flags: u8,
}

impl Metric {
    /// A label has the name of an added one.
    pub(super) const CLASH: u8 = 1;
    /// A label's name is none that older scrapers know.
    pub(super) const ODD: u8 = 2;
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

/// A set of [`Kind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(super) fn are_all(self, kind: Kind) -> bool {
        self.0 == 1 << kind as u8
    }
}

/// A body may become so many times as long if each of its samples stands on its
/// own. Labels of 1 kB on a thousand buckets are 80 times as long then; a body can be made
/// up that becomes a million times as long.
const MOST_TIMES: usize = 64;

/// What is not worth a look.
const LEAST_REPEATED: usize = 16 << 20;

/// Checks a body and indexes it.
pub(super) fn index(body: &[u8], added: &Labels, limits: &Limits) -> Result<Index, Error> {
    let mut walk = Walk { body, added, limits, index: Index::default(), repeated: 0 };
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

struct Walk<'a> {
    body: &'a [u8],
    added: &'a Labels,
    limits: &'a Limits,
    index: Index,
    /// How long the labels are that single samples would repeat.
    repeated: usize,
}

impl<'a> Walk<'a> {
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
        let metric_type = MetricType::of(type_number).ok_or(ErrorKind::MetricType)?;
        let start = self.index.metrics.len() as u32;
        let mut kinds = Kinds::default();
        for field in Fields::new(message) {
            let field = field?;
            if field.number == number::FAMILY_METRIC {
                kinds.insert(self.metric(field.value.bytes()?, metric_type)?);
            }
        }
        let name_span = Span::within(self.body, name);
        self.index.is_odd |= !is_legacy_metric_name(name);
        self.index.families.push(Family {
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

    fn text(&self, value: super::wire::Value<'a>) -> Result<&'a [u8], ErrorKind> {
        check::text(value)?;
        let text = value.bytes()?;
        if text.len() > self.limits.max_line { Err(ErrorKind::FieldTooLong) } else { Ok(text) }
    }

    fn metric(&mut self, message: &[u8], metric_type: MetricType) -> Result<Kind, ErrorKind> {
        let checked = check::metric(message, metric_type, self.added, self.limits)?;
        self.index.samples += checked.samples;
        if self.limits.max_samples != 0 && self.index.samples > self.limits.max_samples {
            return Err(ErrorKind::TooManySamples);
        }
        self.repeated = self.repeated.saturating_add(checked.repeated);
        if self.repeated > LEAST_REPEATED.saturating_add(self.body.len().saturating_mul(MOST_TIMES))
        {
            return Err(ErrorKind::TextTooLong);
        }
        let mut flags = 0;
        for (is_set, flag) in [
            (checked.labels.has(LabelUse::CLASH), Metric::CLASH),
            (checked.is_valueless, Metric::VALUELESS),
            (checked.labels.has(LabelUse::ODD), Metric::ODD),
            (checked.is_native, Metric::NATIVE),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        self.index.labels.join(checked.labels);
        self.index.metrics.push(Metric { span: Span::within(self.body, message), flags });
        Ok(checked.kind)
    }
}
