//! Converts protobuf to OpenMetrics 1.0.0.

use std::collections::HashSet;

use super::{
    super::{
        error::{Error, ErrorKind},
        families::Role,
        labels::AddedLabels,
        limits::Limits,
        names::Escaping,
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

/// The OpenMetrics text of a protobuf body.
#[derive(Debug)]
pub(in super::super) struct ConvertedText {
    /// The text with its `# EOF`. Names that are not legacy names are quoted.
    pub(in super::super) text: Vec<u8>,
    /// The changes that were made to the samples.
    pub(in super::super) stats: Stats,
    /// Data that text cannot carry.
    pub(in super::super) dropped: Dropped,
}

/// Validates a stream of delimited `MetricFamily` messages, and writes it as text.
///
/// Text repeats the labels of a histogram for each bucket, so it can be many times as long as the
/// body. The conversion stops soon after `max_bytes`.
///
/// # Errors
///
/// The errors of [`ProtobufBody::parse`], and an error if the text becomes too long.
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
        // The native and classic histograms of a family are two messages of one family.
        if before.replace(&message.name) != Some(&message.name) {
            writer.metadata(family, message);
        }
        for part_index in message.parts.clone() {
            writer.part(part_index, family, message);
        }
        if writer.is_full() {
            return Err(Error::in_message(ErrorKind::TextTooLong, i + 1));
        }
    }
    let TextWriter { mut out, dropped, .. } = writer;
    out.extend_from_slice(b"# EOF\n");
    Ok(ConvertedText { text: out, stats: merge.stats(), dropped })
}

/// A family of the text.
#[derive(Clone, Copy)]
struct TextFamily<'a> {
    name: &'a [u8],
    type_name: &'static str,
    /// Whether the sample names end in `_total`.
    is_counter: bool,
    has_created: bool,
    has_exemplars: bool,
}

struct TextWriter<'a> {
    merge: &'a ProtobufMerge,
    /// The names of all families.
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
            // Another family of this name would have the same metadata lines.
            let is_free = |base: &&[u8]| !base.is_empty() && !self.names.contains(base);
            match name.strip_suffix(b"_total").filter(is_free) {
                Some(base) => family = TextFamily { name: base, is_counter: true, ..family },
                // OpenMetrics cannot express a counter with this name.
                None => {
                    let (has_created, has_exemplars) = (false, false);
                    family =
                        TextFamily { type_name: "unknown", has_created, has_exemplars, ..family };
                }
            }
        }
        family
    }

    fn metadata(&mut self, family: TextFamily<'_>, message: &OutputMessage) {
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

    fn part(&mut self, part_index: usize, family: TextFamily<'_>, message: &OutputMessage) {
        let merge = self.merge;
        let Some(part) = merge.plan().parts.get(part_index) else { return };
        let Some((instance, source)) = part.of(merge.instances()) else { return };
        for (metric_index, metric) in source.kept(instance.index(), 0) {
            let is_native = metric.is(IndexedMetric::NATIVE);
            if message.only.is_some_and(|only| (only == HistogramKind::Native) != is_native) {
                continue;
            }
            let MessagePart { only, .. } = *part;
            let line =
                MetricLines::new(metric.span.of(instance.body()), source, only, message, family);
            match only {
                None => self.metric(&line, is_native),
                Some(role) => self.samples(&line, role, (part_index as u32, metric_index)),
            }
        }
    }

    /// Writes all samples of a metric.
    fn metric(&mut self, line: &MetricLines<'_>, is_native: bool) {
        samples::each(line.kind, line.value, MissingBuckets::Infinity, &mut |sample| {
            if !self.is_full() {
                self.sample(line, sample);
            }
        });
        self.dropped.native_histograms += usize::from(is_native);
        self.dropped.exemplars += samples::native_exemplars(line.kind, line.value);
        let Some(created) = samples::created(line.kind, line.value) else { return };
        if line.family.has_created {
            line.write_series(b"_created", None, &mut self.out);
            openmetrics_text::write_time(created, &mut self.out);
            // Strict parsers require a timestamp on all lines of a metric or on none.
            self.timestamp(line);
            self.out.push(b'\n');
        } else {
            self.dropped.created += 1;
        }
    }

    /// Writes the samples of one role, in a family of their name.
    fn samples(&mut self, line: &MetricLines<'_>, only: Role, (part, metric): (u32, u32)) {
        let missing_buckets = MissingBuckets::for_samples(line.value);
        let mut part_index = 0;
        samples::each(line.kind, line.value, missing_buckets, &mut |sample| {
            if sample.role == only {
                let is_duplicate = self.merge.duplicates().contains((part, metric, part_index));
                part_index += 1;
                if !is_duplicate && !self.is_full() {
                    // Lost exemplars were counted with the conflict.
                    self.sample(line, MetricSample { exemplar: None, ..sample });
                }
            }
        });
    }

    fn sample(&mut self, line: &MetricLines<'_>, sample: MetricSample<'_>) {
        let label = samples::bound_label(sample.role);
        let bound = sample.bound.map(|bound| (label, bound));
        line.write_series(line.suffix(sample.role), bound, &mut self.out);
        openmetrics_text::write_number(sample.value, &mut self.out);
        self.timestamp(line);
        match sample.exemplar {
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

/// The common properties of all lines of one metric.
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

    /// The suffix of a sample name.
    fn suffix(&self, role: Role) -> &'static [u8] {
        // The name of a family of single samples includes the suffix.
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
