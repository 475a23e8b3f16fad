//! Protobuf as OpenMetrics 1.0.0.

use std::collections::HashSet;

use super::{
    super::{
        error::{Error, ErrorKind},
        families::Role,
        format::Escaping,
        labels::Labels,
        limits::Limits,
        stats::Stats,
    },
    Dropped, Options,
    index::{Family, Metric},
    instance::Instance,
    merge::Merge,
    message::{Content, Kind, Label, MetricType},
    plan::{Message, Nativeness, Part},
    points::{self, Bucketless, Point},
    text,
};

/// An exposition as OpenMetrics text.
#[derive(Debug)]
pub(in super::super) struct Text {
    /// The text, with its `# EOF`. Names that are not of the old form stand in quotes.
    pub(in super::super) text: Vec<u8>,
    /// What was done to the samples.
    pub(in super::super) stats: Stats,
    /// What the text cannot carry.
    pub(in super::super) dropped: Dropped,
}

/// Checks a body, which is a stream of delimited `MetricFamily` messages, and writes it as text.
///
/// Text repeats the labels of a histogram for each of its buckets, so it can be
/// many times as long: little more than `max_bytes` are written.
///
/// # Errors
///
/// Those of [`Instance::parse`], and the family at which the text gets too long.
pub(in super::super) fn to_text(
    body: impl Into<Vec<u8>>,
    limits: &Limits,
    max_bytes: usize,
) -> Result<Text, Error> {
    let instance = Instance::parse(body, Labels::new([]), limits)?;
    let merge = Merge::new(vec![instance], Options { escaping: Escaping::AllowUtf8 });
    let messages = &merge.plan().messages;
    let names = messages.iter().map(|message| &*message.name).collect();
    let dropped = merge.dropped();
    let mut writer = Writer { merge: &merge, names, max_bytes, out: Vec::new(), dropped };
    let mut before = None;
    for (i, message) in messages.iter().enumerate() {
        let shown = writer.shown(message);
        // Native and classic histograms of a family are two messages, but one family.
        if before.replace(&message.name) != Some(&message.name) {
            writer.head(shown, message);
        }
        for place in message.parts.clone() {
            writer.part(place, shown, message);
        }
        if writer.is_full() {
            return Err(Error::in_message(ErrorKind::TextTooLong, i + 1));
        }
    }
    let Writer { mut out, dropped, .. } = writer;
    out.extend_from_slice(b"# EOF\n");
    Ok(Text { text: out, stats: merge.stats(), dropped })
}

/// A family as the text has it.
#[derive(Clone, Copy)]
struct Shown<'a> {
    name: &'a [u8],
    type_name: &'static str,
    /// Its samples are named `…_total`.
    is_counter: bool,
    has_created: bool,
    has_exemplars: bool,
}

struct Writer<'a> {
    merge: &'a Merge,
    /// Those of all families.
    names: HashSet<&'a [u8]>,
    max_bytes: usize,
    out: Vec<u8>,
    dropped: Dropped,
}

impl<'a> Writer<'a> {
    fn is_full(&self) -> bool {
        self.out.len() > self.max_bytes
    }

    fn shown(&self, message: &'a Message) -> Shown<'a> {
        let type_name = match message.metric_type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Summary => "summary",
            MetricType::Untyped => "unknown",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
        };
        let name = &*message.name;
        let mut shown = Shown {
            name,
            type_name,
            is_counter: false,
            has_created: matches!(
                message.metric_type,
                MetricType::Counter | MetricType::Summary | MetricType::Histogram
            ),
            has_exemplars: matches!(
                message.metric_type,
                MetricType::Counter | MetricType::Histogram | MetricType::GaugeHistogram
            ),
        };
        if message.metric_type == MetricType::Counter {
            // A family of that name beside it would take the same lines before its samples.
            let is_free = |base: &&[u8]| !base.is_empty() && !self.names.contains(base);
            match name.strip_suffix(b"_total").filter(is_free) {
                Some(base) => shown = Shown { name: base, is_counter: true, ..shown },
                // OpenMetrics has no counter of such a name.
                None => {
                    let (has_created, has_exemplars) = (false, false);
                    shown = Shown { type_name: "unknown", has_created, has_exemplars, ..shown };
                }
            }
        }
        shown
    }

    fn head(&mut self, shown: Shown<'_>, message: &Message) {
        let instances = self.merge.instances();
        text::write_comment("TYPE", shown.name, &mut self.out);
        self.out.extend_from_slice(shown.type_name.as_bytes());
        self.out.push(b'\n');
        let unit = message.unit.map(|unit| unit.of(instances)).unwrap_or_default();
        if text::can_be_unit(unit, shown.name) {
            text::write_comment("UNIT", shown.name, &mut self.out);
            self.out.extend_from_slice(unit);
            self.out.push(b'\n');
        }
        if let Some(help) = message.help {
            text::write_comment("HELP", shown.name, &mut self.out);
            text::write_escaped(help.of(instances), &mut self.out);
            self.out.push(b'\n');
        }
    }

    fn part(&mut self, place: usize, shown: Shown<'_>, message: &Message) {
        let merge = self.merge;
        let Some(part) = merge.plan().parts.get(place) else { return };
        let Some((instance, family)) = part.of(merge.instances()) else { return };
        for (metric_place, metric) in family.kept(instance.index(), 0) {
            let is_native = metric.is(Metric::NATIVE);
            if message.only.is_some_and(|only| (only == Nativeness::Native) != is_native) {
                continue;
            }
            let Part { only, .. } = *part;
            let line = Line::new(metric.span.of(instance.body()), family, only, message, shown);
            match only {
                None => self.metric(&line, is_native),
                Some(role) => self.samples(&line, role, (place as u32, metric_place)),
            }
        }
    }

    /// Writes all samples of a metric.
    fn metric(&mut self, line: &Line<'_>, is_native: bool) {
        points::each(line.kind, line.value, Bucketless::Infinity, &mut |point| {
            if !self.is_full() {
                self.point(line, point);
            }
        });
        self.dropped.native_histograms += usize::from(is_native);
        self.dropped.exemplars += points::native_exemplars(line.kind, line.value);
        let Some(created) = points::created(line.kind, line.value) else { return };
        if line.shown.has_created {
            line.write_series(b"_created", None, &mut self.out);
            text::write_time(created, &mut self.out);
            // Strict readers want it on all lines of a metric or on none.
            self.timestamp(line);
            self.out.push(b'\n');
        } else {
            self.dropped.created += 1;
        }
    }

    /// Writes the samples of one role, which stand in a family of their name.
    fn samples(&mut self, line: &Line<'_>, only: Role, (part, metric): (u32, u32)) {
        let bucketless = Bucketless::for_samples(line.value);
        let mut place = 0;
        points::each(line.kind, line.value, bucketless, &mut |point| {
            if point.role == only {
                let is_twice = self.merge.twice().contains((part, metric, place));
                place += 1;
                if !is_twice && !self.is_full() {
                    // What it has besides was counted with the conflict.
                    self.point(line, Point { exemplar: None, ..point });
                }
            }
        });
    }

    fn point(&mut self, line: &Line<'_>, point: Point<'_>) {
        let label = points::bound_label(point.role);
        let bound = point.bound.map(|bound| (label, bound));
        line.write_series(line.suffix(point.role), bound, &mut self.out);
        text::write_number(point.value, &mut self.out);
        self.timestamp(line);
        match point.exemplar {
            Some(exemplar) if line.shown.has_exemplars => {
                text::write_exemplar(exemplar, &mut self.out);
            }
            Some(_) => self.dropped.exemplars += 1,
            None => {}
        }
        self.out.push(b'\n');
    }

    fn timestamp(&mut self, line: &Line<'_>) {
        if let Some(timestamp_ms) = line.timestamp_ms {
            self.out.push(b' ');
            text::write_ms(timestamp_ms, &mut self.out);
        }
    }
}

/// What the lines of one metric have in common.
struct Line<'a> {
    timestamp_ms: Option<i64>,
    kind: Kind,
    value: &'a [u8],
    only: Option<Role>,
    shown: Shown<'a>,
    metric_type: MetricType,
    labels: Vec<u8>,
}

impl<'a> Line<'a> {
    fn new(
        metric: &'a [u8],
        family: &Family,
        only: Option<Role>,
        message: &Message,
        shown: Shown<'a>,
    ) -> Self {
        let content = Content::of(metric);
        let (timestamp_ms, kind) = (content.timestamp_ms(), content.kind(family.metric_type));
        let value = content.value(kind);
        let mut labels = Vec::new();
        Label::all(metric).for_each(|label| text::write_label(label, &mut labels));
        Self { timestamp_ms, kind, value, only, shown, metric_type: message.metric_type, labels }
    }

    /// What the family's name gets in a sample of this role.
    fn suffix(&self, role: Role) -> &'static [u8] {
        // In a family of single samples the suffix is part of the name.
        if self.only.is_some() {
            return b"";
        }
        match (self.metric_type, role) {
            (MetricType::Counter, Role::Plain) if self.shown.is_counter => b"_total",
            (MetricType::GaugeHistogram, Role::Sum) => b"_gsum",
            (MetricType::GaugeHistogram, Role::Count) => b"_gcount",
            _ => role.suffix(),
        }
    }

    fn write_series(&self, suffix: &[u8], bound: Option<(&[u8], f64)>, out: &mut Vec<u8>) {
        text::write_series([self.shown.name, suffix], &self.labels, bound, out);
    }
}
