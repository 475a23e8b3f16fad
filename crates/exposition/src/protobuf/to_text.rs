//! Protobuf as OpenMetrics 1.0.0.

use std::collections::HashSet;

use super::{
    super::{
        error::{Error, ErrorKind},
        families::Role,
        format::Escaping,
        labels::AddedLabels,
        limits::Limits,
        stats::Stats,
    },
    Dropped,
    body::ProtobufBody,
    index::{FamilyMessage, IndexedMetric},
    merge::ProtobufMerge,
    message::{LabelPair, MetricContent, ProtobufType, ValueKind},
    openmetrics_text,
    plan::{HistogramKind, MessagePart, OutputMessage},
    samples::{self, MetricSample, MissingBuckets},
};

/// An exposition as OpenMetrics text.
#[derive(Debug)]
pub(in super::super) struct ConvertedText {
    /// The text, with its `# EOF`. SourceNames that are not of the old form stand in quotes.
    pub(in super::super) text: Vec<u8>,
    /// What was done to the samples.
    pub(in super::super) stats: Stats,
    /// What the text cannot carry.
    pub(in super::super) dropped: Dropped,
}

/// Checks a body, which is a stream of delimited `MetricFamily` messages, and writes it as text.
///
/// ConvertedText repeats the labels of a histogram for each of its buckets, so it can be
/// many times as long: little more than `max_bytes` are written.
///
/// # Errors
///
/// Those of [`ProtobufBody::parse`], and the family at which the text gets too long.
pub(in super::super) fn to_text(
    body: impl Into<Vec<u8>>,
    limits: &Limits,
    max_bytes: usize,
) -> Result<ConvertedText, Error> {
    let instance = ProtobufBody::parse(body, AddedLabels::new([]), limits)?;
    let merge = ProtobufMerge::new(vec![instance], Escaping::AllowUtf8);
    let messages = &merge.plan().messages;
    let names = messages.iter().map(|message| &*message.name).collect();
    let dropped = merge.dropped();
    let mut writer = TextWriter { merge: &merge, names, max_bytes, out: Vec::new(), dropped };
    let mut before = None;
    for (i, message) in messages.iter().enumerate() {
        let family = writer.family(message);
        // Native and classic histograms of a family are two messages, but one family.
        if before.replace(&message.name) != Some(&message.name) {
            writer.head(family, message);
        }
        for place in message.parts.clone() {
            writer.part(place, family, message);
        }
        if writer.is_full() {
            return Err(Error::in_message(ErrorKind::TextTooLong, i + 1));
        }
    }
    let TextWriter { mut out, dropped, .. } = writer;
    out.extend_from_slice(b"# EOF\n");
    Ok(ConvertedText { text: out, stats: merge.stats(), dropped })
}

/// A family as the text has it.
#[derive(Clone, Copy)]
struct TextFamily<'a> {
    name: &'a [u8],
    type_name: &'static str,
    /// Its samples are named `…_total`.
    is_counter: bool,
    has_created: bool,
    has_exemplars: bool,
}

struct TextWriter<'a> {
    merge: &'a ProtobufMerge,
    /// Those of all families.
    names: HashSet<&'a [u8]>,
    max_bytes: usize,
    out: Vec<u8>,
    dropped: Dropped,
}

impl<'a> TextWriter<'a> {
    fn is_full(&self) -> bool {
        self.out.len() > self.max_bytes
    }

    fn family(&self, message: &'a OutputMessage) -> TextFamily<'a> {
        let type_name = match message.metric_type {
            ProtobufType::Counter => "counter",
            ProtobufType::Gauge => "gauge",
            ProtobufType::Summary => "summary",
            ProtobufType::Untyped => "unknown",
            ProtobufType::Histogram => "histogram",
            ProtobufType::GaugeHistogram => "gaugehistogram",
        };
        let name = &*message.name;
        let mut family = TextFamily {
            name,
            type_name,
            is_counter: false,
            has_created: matches!(
                message.metric_type,
                ProtobufType::Counter | ProtobufType::Summary | ProtobufType::Histogram
            ),
            has_exemplars: matches!(
                message.metric_type,
                ProtobufType::Counter | ProtobufType::Histogram | ProtobufType::GaugeHistogram
            ),
        };
        if message.metric_type == ProtobufType::Counter {
            // A family of that name beside it would take the same lines before its samples.
            let is_free = |base: &&[u8]| !base.is_empty() && !self.names.contains(base);
            match name.strip_suffix(b"_total").filter(is_free) {
                Some(base) => family = TextFamily { name: base, is_counter: true, ..family },
                // OpenMetrics has no counter of such a name.
                None => {
                    let (has_created, has_exemplars) = (false, false);
                    family =
                        TextFamily { type_name: "unknown", has_created, has_exemplars, ..family };
                }
            }
        }
        family
    }

    fn head(&mut self, family: TextFamily<'_>, message: &OutputMessage) {
        let instances = self.merge.instances();
        openmetrics_text::write_comment("TYPE", family.name, &mut self.out);
        self.out.extend_from_slice(family.type_name.as_bytes());
        self.out.push(b'\n');
        let unit = message.unit.map(|unit| unit.of(instances)).unwrap_or_default();
        if openmetrics_text::can_be_unit(unit, family.name) {
            openmetrics_text::write_comment("UNIT", family.name, &mut self.out);
            self.out.extend_from_slice(unit);
            self.out.push(b'\n');
        }
        if let Some(help) = message.help {
            openmetrics_text::write_comment("HELP", family.name, &mut self.out);
            openmetrics_text::write_escaped(help.of(instances), &mut self.out);
            self.out.push(b'\n');
        }
    }

    fn part(&mut self, place: usize, family: TextFamily<'_>, message: &OutputMessage) {
        let merge = self.merge;
        let Some(part) = merge.plan().parts.get(place) else { return };
        let Some((instance, source)) = part.of(merge.instances()) else { return };
        for (metric_place, metric) in source.kept(instance.index(), 0) {
            let is_native = metric.is(IndexedMetric::NATIVE);
            if message.only.is_some_and(|only| (only == HistogramKind::Native) != is_native) {
                continue;
            }
            let MessagePart { only, .. } = *part;
            let line =
                MetricLines::new(metric.span.of(instance.body()), source, only, message, family);
            match only {
                None => self.metric(&line, is_native),
                Some(role) => self.samples(&line, role, (place as u32, metric_place)),
            }
        }
    }

    /// Writes all samples of a metric.
    fn metric(&mut self, line: &MetricLines<'_>, is_native: bool) {
        samples::each(line.kind, line.value, MissingBuckets::Infinity, &mut |point| {
            if !self.is_full() {
                self.point(line, point);
            }
        });
        self.dropped.native_histograms += usize::from(is_native);
        self.dropped.exemplars += samples::native_exemplars(line.kind, line.value);
        let Some(created) = samples::created(line.kind, line.value) else { return };
        if line.family.has_created {
            line.write_series(b"_created", None, &mut self.out);
            openmetrics_text::write_time(created, &mut self.out);
            // Strict readers want it on all lines of a metric or on none.
            self.timestamp(line);
            self.out.push(b'\n');
        } else {
            self.dropped.created += 1;
        }
    }

    /// Writes the samples of one role, which stand in a family of their name.
    fn samples(&mut self, line: &MetricLines<'_>, only: Role, (part, metric): (u32, u32)) {
        let missing_buckets = MissingBuckets::for_samples(line.value);
        let mut place = 0;
        samples::each(line.kind, line.value, missing_buckets, &mut |point| {
            if point.role == only {
                let is_duplicate = self.merge.duplicates().contains((part, metric, place));
                place += 1;
                if !is_duplicate && !self.is_full() {
                    // What it has besides was counted with the conflict.
                    self.point(line, MetricSample { exemplar: None, ..point });
                }
            }
        });
    }

    fn point(&mut self, line: &MetricLines<'_>, point: MetricSample<'_>) {
        let label = samples::bound_label(point.role);
        let bound = point.bound.map(|bound| (label, bound));
        line.write_series(line.suffix(point.role), bound, &mut self.out);
        openmetrics_text::write_number(point.value, &mut self.out);
        self.timestamp(line);
        match point.exemplar {
            Some(exemplar) if line.family.has_exemplars => {
                openmetrics_text::write_exemplar(exemplar, &mut self.out);
            }
            Some(_) => self.dropped.exemplars += 1,
            None => {}
        }
        self.out.push(b'\n');
    }

    fn timestamp(&mut self, line: &MetricLines<'_>) {
        if let Some(timestamp_ms) = line.timestamp_ms {
            self.out.push(b' ');
            openmetrics_text::write_ms(timestamp_ms, &mut self.out);
        }
    }
}

/// What the lines of one metric have in common.
struct MetricLines<'a> {
    timestamp_ms: Option<i64>,
    kind: ValueKind,
    value: &'a [u8],
    only: Option<Role>,
    family: TextFamily<'a>,
    metric_type: ProtobufType,
    labels: Vec<u8>,
}

impl<'a> MetricLines<'a> {
    fn new(
        metric: &'a [u8],
        source: &FamilyMessage,
        only: Option<Role>,
        message: &OutputMessage,
        family: TextFamily<'a>,
    ) -> Self {
        let content = MetricContent::of(metric);
        let (timestamp_ms, kind) = (content.timestamp_ms(), content.kind(source.metric_type));
        let value = content.value(kind);
        let mut labels = Vec::new();
        LabelPair::all(metric).for_each(|label| openmetrics_text::write_label(label, &mut labels));
        Self { timestamp_ms, kind, value, only, family, metric_type: message.metric_type, labels }
    }

    /// What the family's name gets in a sample of this role.
    fn suffix(&self, role: Role) -> &'static [u8] {
        // In a family of single samples the suffix is part of the name.
        if self.only.is_some() {
            return b"";
        }
        match (self.metric_type, role) {
            (ProtobufType::Counter, Role::Plain) if self.family.is_counter => b"_total",
            (ProtobufType::GaugeHistogram, Role::Sum) => b"_gsum",
            (ProtobufType::GaugeHistogram, Role::Count) => b"_gcount",
            _ => role.suffix(),
        }
    }

    fn write_series(&self, suffix: &[u8], bound: Option<(&[u8], f64)>, out: &mut Vec<u8>) {
        openmetrics_text::write_series([self.family.name, suffix], &self.labels, bound, out);
    }
}
