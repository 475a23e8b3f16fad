use super::{
    super::{
        duplicate_sample::{DuplicateSample, MAX_REPORTED},
        families::Role,
        format::Escaping,
        stats::Stats,
    },
    Dropped,
    body::ProtobufBody,
    index::IndexedMetric,
    name_collisions,
    plan::{HistogramKind, MessagePart, OutputMessage, ProtobufPlan},
    untyped_samples::{self, DuplicateSamples, SampleWriter},
    wire::{put_varint, varint_length},
};

/// One exposition of several instances, written in chunks.
pub(in super::super) struct ProtobufMerge {
    instances: Vec<ProtobufBody>,
    plan: ProtobufPlan,
    /// The lengths of the plan's messages.
    lengths: Vec<u64>,
    duplicates: DuplicateSamples,
    escaping: Escaping,
    content_length: u64,
    stats: Stats,
    dropped: Dropped,
    /// The first of the samples that an earlier instance has.
    duplicate_samples: Vec<DuplicateSample>,
    next: NextMetric,
}

/// What is written next.
#[derive(Default)]
struct NextMetric {
    message: usize,
    /// Whether what stands before its metrics is written.
    is_started: bool,
    /// Counted from the message's first one.
    part: usize,
    /// Within the instance's family.
    metric: u32,
    /// Within the metric, where single samples are written.
    point: u32,
}

impl ProtobufMerge {
    /// Lines up the families of all instances; metrics of one family follow each
    /// other in the order given here.
    pub(in super::super) fn new(mut instances: Vec<ProtobufBody>, escaping: Escaping) -> Self {
        instances.iter_mut().for_each(|instance| instance.escape(escaping));
        name_collisions::resolve(&mut instances, escaping);
        let mut duplicate_samples = name_collisions::drop_shared_metrics(&mut instances, escaping);
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

    /// Finds how long each message is, and leaves out those without a metric.
    fn measure(&mut self) {
        let mut messages = std::mem::take(&mut self.plan.messages);
        let mut head = Vec::new();
        messages.retain(|message| {
            let metrics = self.metrics_length(message);
            head.clear();
            message.write_head(&self.instances, &mut head);
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
        for place in message.parts.clone() {
            let Some(part) = self.plan.parts.get(place) else { continue };
            let Some((_, family)) = part.of(&self.instances) else { continue };
            let [others, native] = family.lengths;
            length += match (part.only, message.only) {
                (None, None) => others + native,
                (None, Some(HistogramKind::Native)) => native,
                (None, Some(HistogramKind::Classic)) => others,
                (Some(role), _) => self.points_length(place, *part, role),
            };
        }
        length
    }

    fn points_length(&self, part_place: usize, part: MessagePart, role: Role) -> u64 {
        let Some((instance, family)) = part.of(&self.instances) else { return 0 };
        let (mut length, mut writer) = (0, SampleWriter::default());
        for (metric_place, metric) in family.kept(instance.index(), 0) {
            writer.start(instance, metric, family, self.escaping);
            writer.each(role, &mut |writer, point_place, point| {
                if !self.duplicates.contains((part_place as u32, metric_place, point_place)) {
                    length += writer.length(&point);
                }
                true
            });
        }
        length
    }

    /// The length of the whole output in bytes, exact.
    pub(in super::super) fn content_length(&self) -> u64 {
        self.content_length
    }

    /// What was done to the samples.
    pub(in super::super) fn stats(&self) -> Stats {
        self.stats
    }

    /// What single samples cannot carry, of families that became untyped.
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

    /// Appends the next metrics: `max` bytes, and then up to the end of the metric,
    /// but one at least. Returns whether there was something to append.
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
                message.write_head(&self.instances, out);
                next.is_started = true;
            }
            let place = message.parts.start + next.part;
            match self.plan.parts.get(place).filter(|_| message.parts.contains(&place)) {
                Some(part) => {
                    let is_full = match part.only {
                        None => self.write_metrics(*part, message, &mut next, goal, out),
                        Some(_) => self.write_points(place, *part, &mut next, goal, out),
                    };
                    if !is_full {
                        (next.part, next.metric, next.point) = (next.part + 1, 0, 0);
                    }
                }
                None => next = NextMetric { message: next.message + 1, ..NextMetric::default() },
            }
        }
        self.next = next;
        out.len() > start
    }

    /// Writes the rest of a part, or as much of it as the chunk takes; returns
    /// whether the chunk is full.
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
        for (place, metric) in family.kept(instance.index(), next.metric) {
            let is_native = metric.is(IndexedMetric::NATIVE);
            if message.only.is_some_and(|only| (only == HistogramKind::Native) != is_native) {
                continue;
            }
            if out.len() >= goal {
                next.metric = place;
                return true;
            }
            instance.write(metric, family, self.escaping, &mut scratch, out);
        }
        false
    }

    /// The same for a part of which single samples are written.
    fn write_points(
        &self,
        part_place: usize,
        part: MessagePart,
        next: &mut NextMetric,
        goal: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let (Some((instance, family)), Some(role)) = (part.of(&self.instances), part.only) else {
            return false;
        };
        let mut writer = SampleWriter::default();
        for (metric_place, metric) in family.kept(instance.index(), next.metric) {
            let first = if metric_place == next.metric { next.point } else { 0 };
            let mut stopped = None;
            writer.start(instance, metric, family, self.escaping);
            writer.each(role, &mut |writer, point_place, point| {
                let place = (part_place as u32, metric_place, point_place);
                if point_place < first || self.duplicates.contains(place) {
                    return true;
                }
                if out.len() >= goal {
                    stopped = Some(point_place);
                    return false;
                }
                writer.write(&point, out);
                true
            });
            if let Some(point) = stopped {
                (next.metric, next.point) = (metric_place, point);
                return true;
            }
        }
        false
    }
}
