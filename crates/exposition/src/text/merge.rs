use super::{
    super::stats::Stats,
    collisions,
    dialect::Dialect,
    families::Roles,
    format::Target,
    index::{Line, Run},
    instance::Instance,
    labels::{Labels, Split},
    plan::Plan,
    planned::{Part, Planned},
    regroup::Regrouped,
    repeated::{Repeated, RepeatedPlace},
    rewrite::{Form, Rewriter},
    sample,
    sources::{self, Found},
};

/// The last line of OpenMetrics.
const EOF: &[u8] = b"# EOF\n";

/// One exposition of several instances, written in chunks.
pub(in super::super) struct Merge {
    dialect: Dialect,
    instances: Vec<Instance>,
    plan: Plan,
    content_length: u64,
    stats: Stats,
    /// The first of the samples that an earlier instance has.
    repeated: Vec<Repeated>,
    next: Position,
}

/// What is written next.
#[derive(Default)]
struct Position {
    family: usize,
    /// Whether the lines before its samples are written.
    is_started: bool,
    /// Counted through all families.
    part: usize,
    /// Within the run.
    line: usize,
    /// Of that line, in the body; unless it is the first.
    offset: usize,
    has_ended: bool,
}

impl Merge {
    /// Lines up the families of all instances; samples of one family follow each
    /// other in the order given here.
    ///
    /// The instances are those of a [`Reader`](super::super::Reader) for the same target.
    pub(in super::super) fn new(target: Target, instances: Vec<Instance>) -> Self {
        let dialect = Dialect::new(target);
        let mut instances = collisions::resolve(instances, dialect);
        let mut plan = Plan::new(&instances, &dialect);
        let mut found = sources::find(&instances, &plan, dialect);
        if !found.equal_bounds.is_empty() {
            instances = spell_bounds(instances, &found, dialect);
            plan = Plan::new(&instances, &dialect);
            found = sources::find(&instances, &plan, dialect);
        }
        if !found.lines.is_empty() {
            for (&i, offsets) in &found.lines {
                if let Some(instance) = instances.get_mut(i) {
                    instance.drop_lines(offsets, dialect);
                }
            }
            plan = Plan::new(&instances, &dialect);
        }
        let mut stats = Stats {
            type_conflicts: plan.type_conflicts,
            broken_rules: plan.broken_rules,
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
        let repeated = tell(found.told, &instances);
        let next = Position::default();
        Self { dialect, instances, plan, content_length, stats, repeated, next }
    }

    /// The length of the whole output in bytes, exact.
    pub(in super::super) fn content_length(&self) -> u64 {
        self.content_length
    }

    /// What was done to the samples.
    pub(in super::super) fn stats(&self) -> Stats {
        self.stats
    }

    pub(in super::super) fn repeated(&self) -> &[Repeated] {
        &self.repeated
    }

    /// Removes the line numbers of instances that were converted: no reader has seen these lines.
    pub(in super::super) fn forget_lines_of(&mut self, is_converted: impl Fn(usize) -> bool) {
        let places = self.repeated.iter_mut().flat_map(|repeated| &mut repeated.places);
        places.filter(|place| is_converted(place.instance)).for_each(|place| place.line = None);
    }

    /// Writes the next lines, until the sink has `goal` bytes and then up to the end of
    /// the line, but one line at least. Returns whether there was something to write.
    pub(in super::super) fn write(&mut self, sink: &mut impl Sink, goal: usize) -> bool {
        let Self { dialect, instances, plan, next, .. } = self;
        let mut written = false;
        let mut metadata = Vec::new();
        let rewriter = Rewriter::new(*dialect);
        let mut writer = Writer { instances, plan, rewriter, rewritten: Vec::new(), goal, sink };
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

    /// The labels that each instance's samples get, in the order of the instances.
    pub(in super::super) fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.instances.iter().map(|instance| &instance.labels)
    }
}

fn spell_bounds(instances: Vec<Instance>, found: &Found, dialect: Dialect) -> Vec<Instance> {
    let spelled = |(i, instance): (usize, Instance)| match found.equal_bounds.get(&i) {
        Some(families) => instance.with_spelled_bounds(families, dialect),
        None => instance,
    };
    instances.into_iter().enumerate().map(spelled).collect()
}

fn tell(told: Vec<(String, [(usize, u32); 2])>, instances: &[Instance]) -> Vec<Repeated> {
    let place = |(instance, offset): (usize, u32)| {
        let line = instances.get(instance).map(|one| one.line_number(offset));
        RepeatedPlace { instance, line }
    };
    let repeated =
        |(series, places): (String, [_; 2])| Repeated { series, places: places.map(place) };
    told.into_iter().map(repeated).collect()
}

/// Where an answer is written.
pub(in super::super) trait Sink {
    /// How many bytes of it wait here.
    fn length(&self) -> usize;

    /// Takes lines that are no samples.
    fn text(&mut self, text: &[u8]);

    /// Takes a sample and its added labels, those of an instance.
    fn line(&mut self, line: &Split<'_>, labels: &Labels, instance: usize);
}

impl Sink for Vec<u8> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.len()
    }

    fn text(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }

    #[inline(always)]
    fn line(&mut self, line: &Split<'_>, labels: &Labels, _: usize) {
        labels.join(line, self);
    }
}

/// Writes one chunk.
struct Writer<'a, 's, S> {
    instances: &'a [Instance],
    plan: &'a Plan,
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    /// The length of the sink with which the chunk is long enough.
    goal: usize,
    sink: &'s mut S,
}

impl<'a, S: Sink> Writer<'a, '_, S> {
    /// Writes the rest of a part, or as much of it as the chunk takes, but a line if there
    /// is one.
    fn write(&mut self, family: &Planned, part: &Part, next: &mut Position) -> bool {
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

    /// Returns the line before which the chunk ends, and where it is; `None` after the last.
    fn write_part(
        &mut self,
        family: &Planned,
        part: &Part,
        next: &Position,
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
        (at, instance): (usize, &'a Instance),
        (r, run): (u32, &Run),
        only: Roles,
        keeps_exemplars: bool,
        next: &Position,
    ) -> Option<(usize, usize)> {
        let family = instance.source(run.family);
        let is_wanted = |line: &'a [u8]| {
            only == Roles::ANY || only.contains(family.role_of(sample::name_of(line)))
        };
        let lines = instance.index.lines.iter().skip(run.line as usize).take(run.count as usize);
        let mut offset = if next.line == 0 { run.offset as usize } else { next.offset };
        for (i, form) in lines.enumerate().skip(next.line) {
            if i > next.line && self.sink.length() >= self.goal {
                return Some((i, offset));
            }
            let split = match form.as_alike() {
                Some(length) => instance.alike(run.alike.wrapping_add(i as u32), offset, length),
                None => form.as_copy().and_then(|(length, insert)| {
                    Some((Split::new(instance.bytes(offset, length), insert)?, length))
                }),
            };
            if let Some((line, length)) = split {
                if is_wanted(instance.bytes(offset, length)) {
                    self.sink.line(&line, &instance.labels, at);
                }
                offset += length;
                continue;
            }
            let line = instance.line(offset);
            offset = line.next;
            if *form == Line::REWRITE && is_wanted(line.text) {
                let form = instance.form(r as usize, keeps_exemplars);
                self.rewrite((at, instance), form, line.text);
            }
        }
        None
    }

    fn write_regrouped(
        &mut self,
        (at, instance): (usize, &'a Instance),
        regrouped: &Regrouped,
        keeps_exemplars: bool,
        next: &Position,
    ) -> Option<(usize, usize)> {
        for (i, line) in regrouped.lines.iter().enumerate().skip(next.line) {
            if i > next.line && self.sink.length() >= self.goal {
                return Some((i, 0));
            }
            let text = instance.line(line.offset as usize).text;
            let form = instance.form(line.run as usize, keeps_exemplars);
            let has_bounds = form.has_bounds || regrouped.has_bounds;
            self.rewrite((at, instance), Form { has_bounds, ..form }, text);
        }
        None
    }

    fn rewrite(&mut self, (at, instance): (usize, &'a Instance), form: Form<'_>, line: &'a [u8]) {
        self.rewritten.clear();
        let labels = &instance.labels;
        // It was written so when it was measured, so there is no error to see here.
        if let Ok(line) = self.rewriter.line(line, labels, form, &mut self.rewritten)
            && let Some(line) = Split::new(&self.rewritten, line.insert)
        {
            self.sink.line(&line, labels, at);
        }
    }
}
