use super::{
    super::{
        duplicate_sample::{DuplicateSample, MAX_REPORTED},
        families::Role,
        names::Escaping,
        stats::Stats,
    },
    Dropped,
    body::{self, ProtobufBody},
    index::IndexedMetric,
    plan::{HistogramKind, MessagePart, OutputMessage, ProtobufPlan},
    shared_metrics,
    untyped_samples::{self, DuplicateSamples, SampleWriter},
    wire::{put_varint, varint_length},
};

/// The merged exposition of several protobuf bodies, written in chunks.
pub(in super::super) struct ProtobufMerge {
    instances: Vec<ProtobufBody>,
    plan: ProtobufPlan,
    /// The lengths of the messages of the plan.
    lengths: Vec<u64>,
    duplicates: DuplicateSamples,
    escaping: Escaping,
    content_length: u64,
    stats: Stats,
    dropped: Dropped,
    /// The first samples that are left out because an earlier instance has the same series.
    duplicate_samples: Vec<DuplicateSample>,
    next: NextMetric,
}

/// The position of the next metric to write.
#[derive(Default)]
struct NextMetric {
    message: usize,
    /// Whether the fields before the metrics are written.
    is_started: bool,
    /// The index in the parts of the message.
    part: usize,
    /// The index in the family of the instance.
    metric: u32,
    /// The index in the metric, if single samples are written.
    sample: u32,
}

impl ProtobufMerge {
    /// Plans the merge. Within a family, metrics are in the order of `instances`.
    pub(in super::super) fn new(mut instances: Vec<ProtobufBody>, escaping: Escaping) -> Self {
        instances.iter_mut().for_each(|instance| instance.escape(escaping));
        body::resolve_name_collisions(&mut instances, escaping);
        let mut duplicate_samples = shared_metrics::drop_metrics(&mut instances, escaping);
        let plan = ProtobufPlan::new(&instances, escaping);
        let duplicates = DuplicateSamples::find(&instances, &plan, escaping);
        let mut stats = Stats { type_conflicts: plan.type_conflicts, ..Stats::default() };
        stats.duplicates = duplicates.count();
        duplicate_samples.extend_from_slice(&duplicates.shared);
        duplicate_samples.truncate(MAX_REPORTED);
        for instance in &instances {
            stats.renamed_labels += instance.index().renamed_labels;
            let (duplicates, lost_timestamps) = instance.dropped();
            stats.duplicates += duplicates;
            stats.lost_timestamps += lost_timestamps;
        }
        let dropped = untyped_samples::dropped(&instances, &plan);
        let mut merge = Self {
            instances,
            plan,
            lengths: Vec::new(),
            duplicates,
            escaping,
            content_length: 0,
            stats,
            dropped,
            duplicate_samples,
            next: NextMetric::default(),
        };
        merge.measure();
        merge
    }

    /// Measures each message, and removes messages without metrics.
    fn measure(&mut self) {
        let mut messages = std::mem::take(&mut self.plan.messages);
        let mut head = Vec::new();
        messages.retain(|message| {
            let metrics = self.metrics_length(message);
            head.clear();
            message.write_metadata(&self.instances, &mut head);
            let length = metrics + head.len() as u64;
            if metrics > 0 {
                self.content_length += varint_length(length) + length;
                self.lengths.push(length);
            }
            metrics > 0
        });
        self.plan.messages = messages;
    }

    fn metrics_length(&self, message: &OutputMessage) -> u64 {
        let mut length = 0;
        for part_index in message.parts.clone() {
            let Some(part) = self.plan.parts.get(part_index) else { continue };
            let Some((_, family)) = part.of(&self.instances) else { continue };
            let [others, native] = family.lengths;
            length += match (part.only, message.only) {
                (None, None) => others + native,
                (None, Some(HistogramKind::Native)) => native,
                (None, Some(HistogramKind::Classic)) => others,
                (Some(role), _) => self.samples_length(part_index, *part, role),
            };
        }
        length
    }

    fn samples_length(&self, part_index: usize, part: MessagePart, role: Role) -> u64 {
        let Some((instance, family)) = part.of(&self.instances) else { return 0 };
        let (mut length, mut writer) = (0, SampleWriter::default());
        for (metric_index, metric) in family.kept(instance.index(), 0) {
            writer.start(instance, metric, family, self.escaping);
            writer.each(role, &mut |writer, sample_number, sample| {
                if !self.duplicates.contains((part_index as u32, metric_index, sample_number)) {
                    length += writer.length(&sample);
                }
                true
            });
        }
        length
    }

    /// The exact length of the whole output in bytes.
    pub(in super::super) fn content_length(&self) -> u64 {
        self.content_length
    }

    /// The changes that were made to the samples.
    pub(in super::super) fn stats(&self) -> Stats {
        self.stats
    }

    /// The data that was lost in families that became untyped.
    pub(in super::super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub(in super::super) fn duplicate_samples(&self) -> &[DuplicateSample] {
        &self.duplicate_samples
    }

    pub(super) fn instances(&self) -> &[ProtobufBody] {
        &self.instances
    }

    pub(super) fn plan(&self) -> &ProtobufPlan {
        &self.plan
    }

    pub(super) fn duplicates(&self) -> &DuplicateSamples {
        &self.duplicates
    }

    /// Appends at least one metric, and further ones until the chunk has `max` bytes. Returns
    /// whether anything was appended.
    pub(in super::super) fn next_chunk(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let start = out.len();
        let goal = start.saturating_add(max.max(1));
        let mut next = std::mem::take(&mut self.next);
        while out.len() < goal
            && let Some(message) = self.plan.messages.get(next.message)
        {
            if !next.is_started {
                let length = self.lengths.get(next.message).copied().unwrap_or_default();
                put_varint(length, out);
                message.write_metadata(&self.instances, out);
                next.is_started = true;
            }
            let part_index = message.parts.start + next.part;
            match self.plan.parts.get(part_index).filter(|_| message.parts.contains(&part_index)) {
                Some(part) => {
                    let is_full = match part.only {
                        None => self.write_metrics(*part, message, &mut next, goal, out),
                        Some(_) => self.write_samples(part_index, *part, &mut next, goal, out),
                    };
                    if !is_full {
                        (next.part, next.metric, next.sample) = (next.part + 1, 0, 0);
                    }
                }
                None => next = NextMetric { message: next.message + 1, ..NextMetric::default() },
            }
        }
        self.next = next;
        out.len() > start
    }

    /// Writes the rest of a part until the chunk ends. Returns whether the chunk is full.
    fn write_metrics(
        &self,
        part: MessagePart,
        message: &OutputMessage,
        next: &mut NextMetric,
        goal: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some((instance, family)) = part.of(&self.instances) else { return false };
        let mut scratch = Vec::new();
        for (part_index, metric) in family.kept(instance.index(), next.metric) {
            let is_native = metric.is(IndexedMetric::NATIVE);
            if message.only.is_some_and(|only| (only == HistogramKind::Native) != is_native) {
                continue;
            }
            if out.len() >= goal {
                next.metric = part_index;
                return true;
            }
            instance.write(metric, family, self.escaping, &mut scratch, out);
        }
        false
    }

    /// Same as [`write_metrics`](Self::write_metrics), for a part that is written as single
    /// samples.
    fn write_samples(
        &self,
        part_index: usize,
        part: MessagePart,
        next: &mut NextMetric,
        goal: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let (Some((instance, family)), Some(role)) = (part.of(&self.instances), part.only) else {
            return false;
        };
        let mut writer = SampleWriter::default();
        for (metric_index, metric) in family.kept(instance.index(), next.metric) {
            let first = if metric_index == next.metric { next.sample } else { 0 };
            let mut stopped = None;
            writer.start(instance, metric, family, self.escaping);
            writer.each(role, &mut |writer, sample_number, sample| {
                let id = (part_index as u32, metric_index, sample_number);
                if sample_number < first || self.duplicates.contains(id) {
                    return true;
                }
                if out.len() >= goal {
                    stopped = Some(sample_number);
                    return false;
                }
                writer.write(&sample, out);
                true
            });
            if let Some(sample) = stopped {
                (next.metric, next.sample) = (metric_index, sample);
                return true;
            }
        }
        false
    }
}
