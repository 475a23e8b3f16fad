//! Converts OpenMetrics text to protobuf.
//!
//! The text is the output of [`TextMerge`](super::super::text::TextMerge): families are contiguous,
//! metadata precedes samples, and the samples of a metric point are contiguous. A line that does
//! not follow this is skipped or starts a family. Nothing is refused.

mod line;
mod metric;

use line::{MetadataLine, OpenMetricsSample};
use metric::{MetricBuilder, OpenMetricsType, SampleSlot};

use super::{
    message::{ProtobufType, number},
    wire::{put_bytes, put_varint, put_varint_field},
};

/// Writes spec-compliant OpenMetrics text as a stream of delimited `MetricFamily` messages. Returns
/// the stream, and the number of sums and counts that the text does not have and that a parser of
/// protobuf reads as 0.
///
/// Samples of a counter can also have the name of their family. Info and stateset become gauges,
/// and unknown becomes untyped. They get the names of their samples.
pub(in super::super) fn from_text(text: &[u8]) -> (Vec<u8>, usize) {
    let mut writer = MessageWriter::default();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(comment) = line.strip_prefix(b"# ") {
            match line::comment(comment) {
                Some(MetadataLine { keyword: b"TYPE", name, text }) => {
                    writer.family_named(&name).openmetrics_type = OpenMetricsType::parse(text);
                }
                Some(MetadataLine { keyword: b"HELP", name, text }) => {
                    writer.family_named(&name).help = line::unescape(text).into_owned();
                }
                Some(MetadataLine { keyword: b"UNIT", name, text }) => {
                    writer.family_named(&name).unit = text.to_vec();
                }
                _ => {}
            }
        } else if let Some(sample) = line::sample(line) {
            writer.sample(&sample);
        }
    }
    writer.end_family();
    (writer.out, writer.synthesized)
}

/// The family that is being read.
#[derive(Default)]
struct PendingFamily {
    name: Vec<u8>,
    openmetrics_type: OpenMetricsType,
    help: Vec<u8>,
    unit: Vec<u8>,
    /// The suffix of the sample names, if it belongs to the output name.
    suffix: &'static [u8],
    /// The metrics as fields.
    metrics: Vec<u8>,
    /// Created timestamps without a metric.
    created: Vec<u8>,
}

#[derive(Default)]
struct MessageWriter {
    family: PendingFamily,
    metric: MetricBuilder,
    out: Vec<u8>,
    /// Sums and counts that the text does not have.
    synthesized: usize,
}

impl MessageWriter {
    /// The current family if it has this name and no samples. Otherwise a new family.
    fn family_named(&mut self, name: &[u8]) -> &mut PendingFamily {
        if self.family.name != name || self.has_samples() {
            self.end_family();
            self.family = PendingFamily { name: name.to_vec(), ..PendingFamily::default() };
        }
        &mut self.family
    }

    fn has_samples(&self) -> bool {
        !self.family.metrics.is_empty() || self.metric.has_value()
    }

    fn sample(&mut self, sample: &OpenMetricsSample<'_>) {
        let openmetrics_type = self.family.openmetrics_type;
        let suffix = sample.name.strip_prefix(&*self.family.name);
        let slot = suffix.and_then(|suffix| SampleSlot::of(openmetrics_type, suffix, sample));
        let slot = slot.unwrap_or_else(|| {
            self.end_family();
            self.family = PendingFamily { name: sample.name.to_vec(), ..PendingFamily::default() };
            SampleSlot::Plain
        });
        let suffix: &[u8] = match (self.family.openmetrics_type, slot) {
            (OpenMetricsType::Counter, SampleSlot::Total) => b"_total",
            (OpenMetricsType::Info, _) => b"_info",
            _ => b"",
        };
        if slot != SampleSlot::Created && suffix != self.family.suffix {
            if self.has_samples() {
                self.end_message();
            }
            self.family.suffix = suffix;
        }
        if !self.metric.takes(slot, sample) {
            self.end_metric();
        }
        self.metric.take(slot, sample);
    }

    fn end_metric(&mut self) {
        let metric = std::mem::take(&mut self.metric);
        self.synthesized += metric.synthesized(self.family.openmetrics_type);
        metric.write(self.family.openmetrics_type, &mut self.family.metrics);
        metric.write_created_gauge(&mut self.family.created);
    }

    /// Writes the metrics read so far.
    fn end_message(&mut self) {
        self.end_metric();
        let PendingFamily { name, help, unit, suffix, metrics, .. } = &self.family;
        let metric_type = self.family.openmetrics_type.metric_type();
        write_family(&[name, suffix], help, unit, metric_type, metrics, &mut self.out);
        self.family.metrics.clear();
    }

    fn end_family(&mut self) {
        self.end_message();
        let PendingFamily { name, created, .. } = &self.family;
        let name = [&**name, &b"_created"[..]];
        write_family(&name, b"", b"", ProtobufType::Gauge, created, &mut self.out);
        self.family.created.clear();
    }
}

fn write_family(
    name: &[&[u8]],
    help: &[u8],
    unit: &[u8],
    metric_type: ProtobufType,
    metrics: &[u8],
    out: &mut Vec<u8>,
) {
    // Parsers skip a family without metrics.
    if metrics.is_empty() {
        return;
    }
    let mut message = Vec::new();
    put_bytes(number::FAMILY_NAME, &name.concat(), &mut message);
    if !help.is_empty() {
        put_bytes(number::FAMILY_HELP, help, &mut message);
    }
    put_varint_field(number::FAMILY_TYPE, metric_type as u64, &mut message);
    if !unit.is_empty() {
        put_bytes(number::FAMILY_UNIT, unit, &mut message);
    }
    put_varint((message.len() + metrics.len()) as u64, out);
    out.extend_from_slice(&message);
    out.extend_from_slice(metrics);
}
