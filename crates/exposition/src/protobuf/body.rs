use std::{collections::HashMap, fmt};

use super::{
    super::{
        error::{Error, ErrorKind},
        format::OutputFormat,
        known_families::KnownFamilies,
        labels::{AddedLabels, LabelTraits},
        limits::Limits,
        names::Escaping,
        renames::Renames,
    },
    duplicates,
    index::{self, FamilyMessage, IndexedMessages, IndexedMetric, ProtobufIndex},
    message::number,
    name_collisions,
    output_names::{self, OutputNames},
    plan,
    wire::{field_length, put_bytes, put_start},
};

/// A validated protobuf body and its index.
pub(in super::super) struct ProtobufBody {
    body: Vec<u8>,
    labels: AddedLabels,
    /// The added labels as fields of a metric.
    added: Vec<u8>,
    index: ProtobufIndex,
    renames: Renames,
    is_from_text: bool,
    /// The number of samples that are dropped because another instance has them.
    repeated: usize,
    /// Whether its samples are kept if another body has the same series.
    pub(in super::super) is_preferred: bool,
}

impl ProtobufBody {
    /// Validates and indexes a stream of delimited `MetricFamily` messages. An empty body is valid.
    /// `labels` are added to each metric.
    ///
    /// # Errors
    ///
    /// The first message that is not valid or exceeds the `limits`. The line of the error is the
    /// number of the message, counted from 1.
    pub(in super::super) fn parse(
        body: impl Into<Vec<u8>>,
        labels: AddedLabels,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let body = body.into();
        if u32::try_from(body.len()).is_err() {
            return Err(Error::in_message(ErrorKind::BodyTooLarge, 1));
        }
        let index = index::index(&body, &labels, limits)?;
        let added = output_names::added_fields(&labels);
        let renames = Renames::default();
        let mut instance = Self {
            body,
            labels,
            added,
            index,
            renames,
            is_from_text: false,
            repeated: 0,
            is_preferred: false,
        };
        instance.rename_collisions(Escaping::AllowUtf8);
        Ok(instance)
    }

    /// The number of samples as Prometheus counts them, without duplicates. A native histogram is
    /// one sample.
    pub(in super::super) fn samples(&self) -> usize {
        self.index.samples - self.index.duplicates - self.repeated
    }

    /// The memory of the body, of its index and of its part of a merge, in bytes.
    pub(in super::super) fn memory(&self, output: OutputFormat, known: &KnownFamilies) -> usize {
        let output_names = self.output_names(output.escaping());
        let families = self.index.families.iter().map(|family| {
            let name = output_names.family(family.name.of(&self.body));
            let memory = plan::family_memory(name.len(), family.kinds.roles());
            (name, memory + KnownFamilies::NAME_BYTES)
        });
        let new = known.add(families);
        let parts = self.index.families.iter().map(|one| plan::part_memory(one.kinds.roles()));
        let parts: usize = parts.sum();
        size_of::<Self>()
            + self.body.capacity()
            + self.added.capacity()
            + self.index.memory()
            + self.renames.memory()
            + parts
            + new
    }

    pub(super) fn index(&self) -> &ProtobufIndex {
        &self.index
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn added(&self) -> &[u8] {
        &self.added
    }

    pub(super) fn output_names(&self, escaping: Escaping) -> OutputNames<'_> {
        OutputNames { added: &self.labels, escaping, renames: &self.renames }
    }

    /// Prepares the body for an output with this escaping, which can make names equal.
    pub(super) fn escape(&mut self, escaping: Escaping) {
        let has_utf8_names = self.index.has_utf8_names || self.index.labels.has(LabelTraits::UTF8);
        if escaping != Escaping::AllowUtf8 && has_utf8_names {
            self.rename_collisions(escaping);
        }
    }

    fn indexed(&self) -> IndexedMessages<'_> {
        IndexedMessages { body: &self.body, index: &self.index }
    }

    fn rename_collisions(&mut self, escaping: Escaping) {
        let renames = name_collisions::find(&[self.indexed()], &self.labels, escaping);
        self.rename(renames, escaping);
    }

    /// Sets the output names that differ from the usual ones.
    fn rename(&mut self, renames: Renames, escaping: Escaping) {
        self.renames = renames;
        self.update_lengths_and_duplicates(escaping);
    }

    fn renames(&self) -> &Renames {
        &self.renames
    }

    pub(super) fn labels(&self) -> &AddedLabels {
        &self.labels
    }

    /// Marks a body that was converted from text without duplicates. Its duplicates differ in
    /// timestamps below a millisecond.
    #[must_use]
    pub(in super::super) fn converted_from_text(self) -> Self {
        Self { is_from_text: true, ..self }
    }

    /// The number of dropped duplicates, and of samples dropped because their timestamps are equal
    /// in milliseconds.
    pub(super) fn dropped(&self) -> (usize, usize) {
        let (dropped, repeated) = (self.index.duplicates, self.repeated);
        if self.is_from_text { (repeated, dropped) } else { (dropped + repeated, 0) }
    }

    /// Drops metrics that are equal under their output names, and measures the rest.
    fn update_lengths_and_duplicates(&mut self, escaping: Escaping) {
        let output_names = OutputNames { added: &self.labels, escaping, renames: &self.renames };
        self.index.metrics.iter_mut().for_each(IndexedMetric::keep);
        self.index.duplicates =
            duplicates::drop_duplicates(&self.body, &mut self.index, output_names);
        self.measure_lengths(escaping);
    }

    /// Drops metrics that another instance has.
    pub(super) fn drop_metrics(&mut self, metric_indexes: &[u32], escaping: Escaping) {
        for &metric_index in metric_indexes {
            self.repeated += self.index.drop(metric_index, &self.body);
        }
        self.measure_lengths(escaping);
    }

    fn measure_lengths(&mut self, escaping: Escaping) {
        let output_names = OutputNames { added: &self.labels, escaping, renames: &self.renames };
        let (mut renamed_labels, mut scratch) = (0, Vec::new());
        let mut lengths = Vec::with_capacity(self.index.families.len());
        for family in &self.index.families {
            let mut length = [0, 0];
            for metric in family.metrics(&self.index) {
                if metric.is(IndexedMetric::DROPPED) {
                    continue;
                }
                let message = metric.span.of(&self.body);
                let metric_bytes = if must_be_rewritten(*metric, output_names) {
                    scratch.clear();
                    let name = family.name.of(&self.body);
                    renamed_labels +=
                        rewrite(message, (name, family.kind()), output_names, &mut scratch);
                    scratch.len()
                } else {
                    message.len()
                };
                let [others, native] = &mut length;
                let length = if metric.is(IndexedMetric::NATIVE) { native } else { others };
                *length += field_length((metric_bytes + self.added.len()) as u64);
            }
            lengths.push(length);
        }
        self.index.renamed_labels = renamed_labels;
        for (family, lengths) in self.index.families.iter_mut().zip(lengths) {
            family.lengths = lengths;
        }
    }

    /// Writes a metric with the added labels as a field of its family.
    pub(super) fn write(
        &self,
        metric: IndexedMetric,
        family: &FamilyMessage,
        escaping: Escaping,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        let message = metric.span.of(&self.body);
        let output_names = self.output_names(escaping);
        let metric_bytes = if must_be_rewritten(metric, output_names) {
            scratch.clear();
            rewrite(message, (family.name.of(&self.body), family.kind()), output_names, scratch);
            scratch
        } else {
            message
        };
        put_start(number::FAMILY_METRIC, (metric_bytes.len() + self.added.len()) as u64, out);
        out.extend_from_slice(metric_bytes);
        out.extend_from_slice(&self.added);
    }
}

fn must_be_rewritten(metric: IndexedMetric, output_names: OutputNames<'_>) -> bool {
    metric.is(IndexedMetric::VALUELESS) || output_names.must_rename(metric)
}

/// Writes a metric with its output labels. A missing value is written as an empty message. Returns
/// the number of renamed labels.
fn rewrite(
    message: &[u8],
    (family, kind): (&[u8], u32),
    output_names: OutputNames<'_>,
    out: &mut Vec<u8>,
) -> usize {
    let (labels, renamed) = output_names.labels(family, message);
    for label in &labels {
        label.write(out);
    }
    let mut has_value = false;
    for field in super::message::fields(message).filter(|field| field.number != number::LABEL) {
        has_value |= field.number == kind;
        out.extend_from_slice(field.raw);
    }
    if !has_value {
        put_bytes(kind, b"", out);
    }
    renamed
}

/// Gives bodies output names under which different series stay different.
///
/// Only bodies with equal added labels are compared. Otherwise the added labels make the series
/// different.
pub(super) fn resolve_name_collisions(instances: &mut [ProtobufBody], escaping: Escaping) {
    let mut groups = HashMap::<&[u8], Vec<usize>>::new();
    for (i, instance) in instances.iter().enumerate() {
        groups.entry(instance.added()).or_default().push(i);
    }
    let groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
    for group in groups {
        let bodies = group.iter().filter_map(|&i| instances.get(i));
        let Some(added) = bodies.clone().next().map(ProtobufBody::labels) else { continue };
        let bodies: Vec<_> = bodies.map(ProtobufBody::indexed).collect();
        let renames = name_collisions::find(&bodies, added, escaping);
        for i in group {
            if let Some(instance) = instances.get_mut(i).filter(|one| *one.renames() != renames) {
                instance.rename(renames.clone(), escaping);
            }
        }
    }
}

impl fmt::Debug for ProtobufBody {
    /// Omits the body, which does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtobufBody").field("samples", &self.samples()).finish_non_exhaustive()
    }
}
