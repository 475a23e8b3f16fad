//! Writes the samples of families in conflict as untyped metrics.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher},
};

use foldhash::quality::RandomState;

use super::{
    super::{
        canonical::write_canonical,
        duplicate_sample::{DuplicateSample, MAX_REPORTED, SampleLocation},
        families::Role,
        label_sets::LabelSets,
        names::Escaping,
    },
    Dropped,
    body::ProtobufBody,
    index::{FamilyMessage, IndexedMetric},
    message::{LabelPair, MetricContent, ProtobufType, ValueKind, bytes, messages, number},
    openmetrics_text,
    output_names::OutputLabel,
    plan::ProtobufPlan,
    samples::{self, MetricSample, MissingBuckets},
    wire::{field_length, put_bytes, put_double, put_message, put_start, put_varint_field},
};

/// Identifies a sample: the part of the plan, the metric in the family, and the number of the
/// sample among those of its role.
pub(super) type SampleId = (u32, u32, u32);

/// Duplicate samples of families in conflict.
#[derive(Default)]
pub(super) struct DuplicateSamples {
    ids: HashSet<SampleId, RandomState>,
    /// The first samples that another instance has.
    pub(super) shared: Vec<DuplicateSample>,
}

impl DuplicateSamples {
    pub(super) fn contains(&self, id: SampleId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn count(&self) -> usize {
        self.ids.len()
    }

    /// Finds duplicates among samples of several families that have one name now. They can be of
    /// one instance, or of instances whose added labels do not make them different.
    pub(super) fn find(
        instances: &[ProtobufBody],
        plan: &ProtobufPlan,
        escaping: Escaping,
    ) -> Self {
        let are_disjoint = LabelSets::new(instances.iter().map(ProtobufBody::labels)).are_disjoint;
        let mut duplicates = Self::default();
        // Two seeded hashes of 64 bits, so that accidental collisions are not expected.
        let states = [RandomState::default(), RandomState::default()];
        let mut seen = HashMap::<[u64; 2], (u32, SampleId), RandomState>::default();
        let mut writer = SampleWriter::default();
        for message in &plan.messages {
            seen.clear();
            let mut instance_before = None;
            for (part_index, part) in plan.by_preference(message, instances) {
                let (Some(role), Some((instance, family))) = (part.only, part.of(instances)) else {
                    continue;
                };
                if are_disjoint && instance_before.replace(part.instance) != Some(part.instance) {
                    seen.clear();
                }
                let added =
                    if are_disjoint { [0; 2] } else { added_fingerprint(instance, &states) };
                for (m, metric) in family.kept(instance.index(), 0) {
                    writer.start(instance, metric, family, escaping);
                    let series = add(writer.fingerprint(&states), added);
                    writer.each(role, &mut |writer, p, sample| {
                        let bound =
                            states.each_ref().map(|state| bound_fingerprint(&sample, state));
                        let first = *seen
                            .entry(add(series, bound))
                            .or_insert((part.instance, (part_index, m, p)));
                        if first.1 != (part_index, m, p) {
                            duplicates.ids.insert((part_index, m, p));
                            if first.0 != part.instance && duplicates.shared.len() < MAX_REPORTED {
                                let [kept, dropped] = [first.0, part.instance].map(sample_location);
                                let series = writer.series(&message.name, &sample);
                                duplicates.shared.push(DuplicateSample { series, kept, dropped });
                            }
                        }
                        true
                    });
                }
            }
        }
        duplicates
    }
}

/// The data that is lost in families in conflict.
pub(super) fn dropped(instances: &[ProtobufBody], plan: &ProtobufPlan) -> Dropped {
    let mut dropped = Dropped::default();
    let mut done = HashSet::<(u32, u32), RandomState>::default();
    for part in &plan.parts {
        let Some((instance, family)) = part.of(instances) else { continue };
        if part.only.is_none() || !done.insert((part.instance, part.family)) {
            continue;
        }
        for (_, metric) in family.kept(instance.index(), 0) {
            let message = metric.span.of(instance.body());
            let content = MetricContent::of(message);
            let kind = content.kind(family.metric_type);
            let value = content.value(kind);
            dropped.native_histograms += usize::from(metric.is(IndexedMetric::NATIVE));
            dropped.created += usize::from(samples::created(kind, value).is_some());
            dropped.exemplars += exemplars(kind, value);
        }
    }
    dropped
}

fn exemplars(kind: ValueKind, value: &[u8]) -> usize {
    let in_value = match kind {
        ValueKind::Counter => usize::from(bytes(value, number::COUNTER_EXEMPLAR).is_some()),
        ValueKind::Histogram => messages(value, number::PARTS)
            .filter(|bucket| bytes(bucket, number::BUCKET_EXEMPLAR).is_some())
            .count(),
        _ => 0,
    };
    in_value + samples::native_exemplars(kind, value)
}

/// Writes samples of a metric as untyped metrics.
pub(super) struct SampleWriter<'a> {
    kind: ValueKind,
    value: &'a [u8],
    timestamp_ms: Option<i64>,
    added: &'a [u8],
    labels: Vec<OutputLabel<'a>>,
    /// The labels as fields.
    written: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for SampleWriter<'_> {
    fn default() -> Self {
        Self {
            kind: ProtobufType::Untyped.kind(),
            value: b"",
            timestamp_ms: None,
            added: b"",
            labels: Vec::new(),
            written: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl<'a> SampleWriter<'a> {
    /// Starts with a metric.
    pub(super) fn start(
        &mut self,
        instance: &'a ProtobufBody,
        metric: IndexedMetric,
        family: &FamilyMessage,
        escaping: Escaping,
    ) {
        let message = metric.span.of(instance.body());
        let content = MetricContent::of(message);
        self.kind = content.kind(family.metric_type);
        self.value = content.value(self.kind);
        self.timestamp_ms = content.timestamp_ms();
        self.added = instance.added();
        let family = family.name.of(instance.body());
        self.labels = instance.output_names(escaping).labels(family, message).0;
        self.written.clear();
        for label in &self.labels {
            label.write(&mut self.written);
        }
    }

    /// Calls `each` with the samples of a role and their numbers, until it returns false.
    pub(super) fn each(
        &mut self,
        role: Role,
        each: &mut dyn FnMut(&mut Self, u32, MetricSample<'a>) -> bool,
    ) {
        let (mut number, mut goes_on) = (0, true);
        let (kind, value) = (self.kind, self.value);
        samples::each(kind, value, MissingBuckets::for_samples(value), &mut |sample| {
            if sample.role == role && goes_on {
                goes_on = each(self, number, sample);
                number += 1;
            }
        });
    }

    /// Writes a sample as a metric of its family.
    pub(super) fn write(&mut self, sample: &MetricSample<'_>, out: &mut Vec<u8>) {
        self.compose(sample);
        let length = self.written.len() + self.scratch.len();
        put_start(number::FAMILY_METRIC, length as u64, out);
        out.extend_from_slice(&self.written);
        out.extend_from_slice(&self.scratch);
    }

    /// The length of a sample in the output.
    pub(super) fn length(&mut self, sample: &MetricSample<'_>) -> u64 {
        self.compose(sample);
        field_length((self.written.len() + self.scratch.len()) as u64)
    }

    /// Writes the fields after the labels of the metric into `scratch`.
    fn compose(&mut self, sample: &MetricSample<'_>) {
        let scratch = &mut self.scratch;
        scratch.clear();
        if let Some(bound) = sample.bound {
            put_message(number::LABEL, scratch, |out| {
                put_bytes(number::LABEL_NAME, samples::bound_label(sample.role), out);
                put_message(number::LABEL_VALUE, out, |out| write_canonical(bound, out));
            });
        }
        scratch.extend_from_slice(self.added);
        put_message(ValueKind::Untyped as u32, scratch, |out| {
            put_double(number::VALUE, sample.value.to_f64(), out);
        });
        if let Some(timestamp_ms) = self.timestamp_ms {
            put_varint_field(number::TIMESTAMP_MS, timestamp_ms as u64, scratch);
        }
    }

    /// The series of a sample in text syntax.
    fn series(&self, family: &[u8], sample: &MetricSample<'_>) -> String {
        let labels = self.labels.iter().map(OutputLabel::label);
        let bound = sample.bound.map(|bound| (samples::bound_label(sample.role), bound));
        openmetrics_text::series(family, labels.chain(LabelPair::all(self.added)), bound)
    }

    /// Equal for equal labels and timestamps.
    fn fingerprint(&self, states: &[RandomState; 2]) -> [u64; 2] {
        let time = self.timestamp_ms.unwrap_or_default().to_le_bytes();
        states.each_ref().map(|state| {
            let label =
                |label: &OutputLabel<'_>| label_fingerprint(&label.name, label.value, state);
            // The sum does not depend on the order of labels.
            let labels = self.labels.iter().map(label).fold(0, u64::wrapping_add);
            labels.wrapping_add(label_fingerprint(b"", &time, state))
        })
    }
}

fn sample_location(instance: u32) -> SampleLocation {
    SampleLocation { instance: instance as usize, line: None }
}

/// Equal for equal added labels.
fn added_fingerprint(instance: &ProtobufBody, states: &[RandomState; 2]) -> [u64; 2] {
    states.each_ref().map(|state| {
        let added = LabelPair::all(instance.added());
        let fingerprint = |label: LabelPair<'_>| label_fingerprint(label.name, label.value, state);
        added.map(fingerprint).fold(0, u64::wrapping_add)
    })
}

fn bound_fingerprint(sample: &MetricSample<'_>, state: &RandomState) -> u64 {
    let Some(bound) = sample.bound else { return 0 };
    let mut text = Vec::new();
    write_canonical(bound, &mut text);
    label_fingerprint(samples::bound_label(sample.role), &text, state)
}

fn label_fingerprint(name: &[u8], value: &[u8], state: &RandomState) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_usize(name.len());
    hasher.write(name);
    hasher.write(value);
    hasher.finish()
}

fn add([a, b]: [u64; 2], [c, d]: [u64; 2]) -> [u64; 2] {
    [a.wrapping_add(c), b.wrapping_add(d)]
}
