use super::{
    super::stats::Stats,
    body::{self, TextBody},
    duplicate_sample::{DuplicateSample, SampleLocation},
    families::Roles,
    format::OutputFormat,
    index::{LineForm, SampleRun},
    labels::{AddedLabels, SplitLine},
    lost_type::LostType,
    lost_types,
    output_dialect::OutputDialect,
    output_family::{OutputFamily, OutputPart},
    plan::TextPlan,
    regroup::Regrouped,
    repeated_series,
    rewrite::{RewriteContext, Rewriter},
    sample,
    shared_series::{self, SharedSeries},
};

/// The last line of OpenMetrics.
const EOF: &[u8] = b"# EOF\n";

/// The merged exposition of several text bodies, written in chunks.
pub(in super::super) struct TextMerge {
    dialect: OutputDialect,
    instances: Vec<TextBody>,
    plan: TextPlan,
    content_length: u64,
    stats: Stats,
    /// The first samples that are left out because an earlier instance has the same series.
    duplicate_samples: Vec<DuplicateSample>,
    next: NextLine,
}

/// The position of the next line to write.
#[derive(Default)]
struct NextLine {
    family: usize,
    /// Whether the metadata of the family is written.
    is_started: bool,
    /// The index in the parts of the plan.
    part: usize,
    /// The index within the run.
    line: usize,
    /// The offset of that line in the body, unless it is the first line of the run.
    offset: usize,
    has_ended: bool,
}

impl TextMerge {
    /// Plans the merge of bodies that a [`Reader`](super::super::Reader) parsed for the same
    /// output.
    ///
    /// Within a family, samples are in the order of `instances`.
    pub(in super::super) fn new(output: OutputFormat, instances: Vec<TextBody>) -> Self {
        let dialect = OutputDialect::new(output);
        let mut instances = body::resolve_name_collisions(instances, dialect);
        let mut plan = TextPlan::new(&instances, &dialect);
        let mut found = shared_series::find(&instances, &plan, dialect);
        if !found.equal_bounds.is_empty() {
            instances = keep_bound_spelling(instances, &found, dialect);
            plan = TextPlan::new(&instances, &dialect);
            found = shared_series::find(&instances, &plan, dialect);
        }
        if !found.lines.is_empty() {
            for (&i, offsets) in &found.lines {
                if let Some(instance) = instances.get_mut(i) {
                    instance.drop_lines(offsets, dialect);
                }
            }
            plan = TextPlan::new(&instances, &dialect);
        }
        let mut stats = Stats {
            type_conflicts: plan.conflicts.len(),
            spec_violations: plan.spec_violations,
            duplicates: plan.ambiguous,
            lost_exemplars: plan.lost_exemplars,
            lost_units: plan.lost_units,
            ..Stats::default()
        };
        let mut content_length = plan.exemplar_bytes;
        for instance in &instances {
            let index = &instance.index;
            stats.renamed_labels += index.renamed_labels;
            stats.duplicates += index.duplicates - index.lost_timestamps;
            stats.lost_timestamps += index.lost_timestamps;
            stats.lost_exemplars += index.lost_exemplars;
            content_length += index.sample_bytes;
        }
        content_length = content_length.saturating_add_signed(plan.grown_bytes);
        content_length -= plan.ambiguous_bytes;
        let mut metadata = Vec::new();
        for family in &plan.families {
            metadata.clear();
            family.write_metadata(&instances, &dialect, &mut metadata);
            content_length += metadata.len() as u64;
        }
        if dialect.is_openmetrics() {
            content_length += EOF.len() as u64;
        }
        let duplicate_samples = duplicate_samples(found.reported, &instances);
        let next = NextLine::default();
        Self { dialect, instances, plan, content_length, stats, duplicate_samples, next }
    }

    /// The exact length of the whole output in bytes.
    pub(in super::super) fn content_length(&self) -> u64 {
        self.content_length
    }

    /// The changes that were made to the samples.
    pub(in super::super) fn stats(&self) -> Stats {
        self.stats
    }

    pub(in super::super) fn duplicate_samples(&self) -> &[DuplicateSample] {
        &self.duplicate_samples
    }

    /// The samples that are left out because the same body has their series before.
    pub(in super::super) fn duplicates_within_bodies(&self, limit: usize) -> Vec<DuplicateSample> {
        let mut found = Vec::new();
        for (i, instance) in self.instances.iter().enumerate() {
            repeated_series::find((i, instance), self.dialect, limit, &mut found);
        }
        found
    }

    /// The families that lose their type.
    pub(in super::super) fn lost_types(&self, limit: usize) -> Vec<LostType> {
        lost_types::find(&self.instances, &self.dialect, limit)
    }

    /// Removes the line numbers of converted bodies, because they are not those of the original
    /// body.
    pub(in super::super) fn clear_line_numbers(&mut self, is_converted: impl Fn(usize) -> bool) {
        let samples = self.duplicate_samples.iter_mut();
        let locations = samples.flat_map(|sample| [&mut sample.kept, &mut sample.dropped]);
        locations.filter(|one| is_converted(one.instance)).for_each(|one| one.line = None);
    }

    /// Writes at least one line, and further ones until the sink has `goal` bytes. Returns whether
    /// anything was written.
    pub(in super::super) fn write(&mut self, sink: &mut impl LineSink, goal: usize) -> bool {
        let Self { dialect, instances, plan, next, .. } = self;
        let mut written = false;
        let mut metadata = Vec::new();
        let rewriter = Rewriter::new(*dialect);
        let mut writer =
            ChunkWriter { instances, plan, rewriter, rewritten: Vec::new(), goal, sink };
        while !written || writer.sink.length() < goal {
            let Some(family) = plan.families.get(next.family) else { break };
            if !next.is_started {
                metadata.clear();
                family.write_metadata(instances, dialect, &mut metadata);
                writer.sink.text(&metadata);
                next.is_started = true;
                written |= !metadata.is_empty();
            } else if let Some(part) = plan.parts.get(next.part)
                && family.parts.contains(&next.part)
            {
                written |= writer.write(family, part, next);
            } else {
                next.family += 1;
                next.is_started = false;
            }
        }
        let is_end = next.family >= plan.families.len() && !next.has_ended;
        if is_end && dialect.is_openmetrics() && (!written || sink.length() < goal) {
            next.has_ended = true;
            sink.text(EOF);
            written = true;
        }
        written
    }

    /// The added labels of each instance.
    pub(in super::super) fn labels(&self) -> impl Iterator<Item = &AddedLabels> {
        self.instances.iter().map(|instance| &instance.labels)
    }
}

fn keep_bound_spelling(
    instances: Vec<TextBody>,
    found: &SharedSeries,
    dialect: OutputDialect,
) -> Vec<TextBody> {
    let original = |(i, instance): (usize, TextBody)| match found.equal_bounds.get(&i) {
        Some(families) => instance.with_original_bounds(families, dialect),
        None => instance,
    };
    instances.into_iter().enumerate().map(original).collect()
}

fn duplicate_samples(
    reported: Vec<(String, [(usize, u32); 2])>,
    instances: &[TextBody],
) -> Vec<DuplicateSample> {
    let location = |(instance, offset): (usize, u32)| {
        let line = instances.get(instance).map(|body| body.line_number(offset));
        SampleLocation { instance, line }
    };
    let sample = |(series, locations): (String, [_; 2])| {
        let [kept, dropped] = locations.map(location);
        DuplicateSample { series, kept, dropped }
    };
    reported.into_iter().map(sample).collect()
}

/// Receives the lines of an output.
pub(in super::super) trait LineSink {
    /// The number of bytes that the sink holds.
    fn length(&self) -> usize;

    /// Writes lines that are not samples.
    fn text(&mut self, text: &[u8]);

    /// Writes a sample line and the added labels of an instance.
    fn line(&mut self, line: &SplitLine<'_>, labels: &AddedLabels, instance: usize);
}

impl LineSink for Vec<u8> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.len()
    }

    fn text(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }

    #[inline(always)]
    fn line(&mut self, line: &SplitLine<'_>, labels: &AddedLabels, _: usize) {
        labels.join(line, self);
    }
}

/// Writes one chunk.
struct ChunkWriter<'a, 's, S> {
    instances: &'a [TextBody],
    plan: &'a TextPlan,
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    /// The length of the sink at which the chunk ends.
    goal: usize,
    sink: &'s mut S,
}

impl<'a, S: LineSink> ChunkWriter<'a, '_, S> {
    /// Writes the rest of a part until the chunk ends, but at least one line. Returns whether
    /// anything was written.
    fn write(&mut self, family: &OutputFamily, part: &OutputPart, next: &mut NextLine) -> bool {
        let start = (next.part, next.line);
        match self.write_part(family, part, next) {
            Some(stop) => (next.line, next.offset) = stop,
            None => {
                next.part += 1;
                next.line = 0;
            }
        }
        start != (next.part, next.line)
    }

    /// Returns the index and offset of the line at which the chunk ends, or `None` after the last
    /// line.
    fn write_part(
        &mut self,
        family: &OutputFamily,
        part: &OutputPart,
        next: &NextLine,
    ) -> Option<(usize, usize)> {
        let at = part.instance as usize;
        let instance = self.instances.get(at)?;
        let keeps_exemplars = family.keeps_exemplars();
        if part.is_regrouped {
            let regrouped = self.plan.regrouped.get(part.run as usize);
            let regrouped = regrouped.filter(|_| part.only == Roles::ANY)?;
            return self.write_regrouped((at, instance), regrouped, keeps_exemplars, next);
        }
        let run = instance.index.runs.get(part.run as usize)?;
        self.write_run((at, instance), (part.run, run), part.only, keeps_exemplars, next)
    }

    fn write_run(
        &mut self,
        (at, instance): (usize, &'a TextBody),
        (r, run): (u32, &SampleRun),
        only: Roles,
        keeps_exemplars: bool,
        next: &NextLine,
    ) -> Option<(usize, usize)> {
        let family = instance.source(run.family);
        let is_selected = |line: &'a [u8]| {
            only == Roles::ANY || only.contains(family.role_of(sample::name_of(line)))
        };
        let lines = instance.index.lines.iter().skip(run.line as usize).take(run.count as usize);
        let mut offset = if next.line == 0 { run.offset as usize } else { next.offset };
        for (i, form) in lines.enumerate().skip(next.line) {
            if i > next.line && self.sink.length() >= self.goal {
                return Some((i, offset));
            }
            let split = match form.as_template_tail() {
                Some(length) => instance.template_line(
                    run.template_sample.wrapping_add(i as u32),
                    offset,
                    length,
                ),
                None => form.as_copy().and_then(|(length, insert)| {
                    Some((SplitLine::new(instance.bytes(offset, length), insert)?, length))
                }),
            };
            if let Some((line, length)) = split {
                if is_selected(instance.bytes(offset, length)) {
                    self.sink.line(&line, &instance.labels, at);
                }
                offset += length;
                continue;
            }
            let line = instance.line(offset);
            offset = line.next;
            if *form == LineForm::REWRITE && is_selected(line.text) {
                let form = instance.form(r as usize, keeps_exemplars);
                self.rewrite((at, instance), form, line.text);
            }
        }
        None
    }

    fn write_regrouped(
        &mut self,
        (at, instance): (usize, &'a TextBody),
        regrouped: &Regrouped,
        keeps_exemplars: bool,
        next: &NextLine,
    ) -> Option<(usize, usize)> {
        for (i, line) in regrouped.lines.iter().enumerate().skip(next.line) {
            if i > next.line && self.sink.length() >= self.goal {
                return Some((i, 0));
            }
            let text = instance.line(line.offset as usize).text;
            let form = instance.form(line.run as usize, keeps_exemplars);
            let has_canonical_bounds = form.has_canonical_bounds || regrouped.has_canonical_bounds;
            self.rewrite((at, instance), RewriteContext { has_canonical_bounds, ..form }, text);
        }
        None
    }

    fn rewrite(
        &mut self,
        (at, instance): (usize, &'a TextBody),
        form: RewriteContext<'_>,
        line: &'a [u8],
    ) {
        self.rewritten.clear();
        let labels = &instance.labels;
        // The line was rewritten before to measure it, so there is no error.
        if let Ok(line) = self.rewriter.line(line, labels, form, &mut self.rewritten)
            && let Some(line) = SplitLine::new(&self.rewritten, line.insert)
        {
            self.sink.line(&line, labels, at);
        }
    }
}
