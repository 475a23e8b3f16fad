use super::{
    families::Role,
    index::{Line, Run},
    instance::Instance,
    plan::{Part, Plan},
    rewrite::Rewriter,
    sample,
};

/// What a merge had to do besides adding labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Families that became untyped, because instances (or one instance's own
    /// samples) contradict each other.
    pub type_conflicts: usize,
    /// Labels that became `exported_…`, because one of their name was added.
    pub renamed_labels: usize,
    /// Samples that were left out, because their instance had them before.
    pub duplicates: usize,
}

/// One exposition of several instances, written in chunks.
pub struct Merge {
    instances: Vec<Instance>,
    plan: Plan,
    content_length: u64,
    stats: Stats,
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
}

impl Merge {
    /// Lines up the families of all instances; samples of one family follow each
    /// other in the order given here.
    pub fn new(instances: Vec<Instance>) -> Self {
        let plan = Plan::new(&instances);
        let mut stats = Stats { type_conflicts: plan.type_conflicts, ..Stats::default() };
        let mut content_length = 0;
        for index in instances.iter().map(Instance::index) {
            stats.renamed_labels += index.renamed_labels;
            stats.duplicates += index.duplicates;
            content_length += index.sample_bytes;
        }
        let mut metadata = Vec::new();
        for family in &plan.families {
            metadata.clear();
            family.write_metadata(&instances, &mut metadata);
            content_length += metadata.len() as u64;
        }
        Self { instances, plan, content_length, stats, next: Position::default() }
    }

    /// The length of the whole output in bytes, exact.
    pub fn content_length(&self) -> u64 {
        self.content_length
    }

    /// What was done to the samples.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Appends the next lines: `max` bytes, and then up to the end of the line,
    /// but one line at least. Returns whether there was something to append.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let Self { instances, plan, next, .. } = self;
        let start = out.len();
        let goal = start.saturating_add(max.max(1));
        let mut writer = Writer { rewriter: Rewriter::default(), rewritten: Vec::new(), goal, out };
        while writer.out.len() < goal {
            let Some(family) = plan.families.get(next.family) else { break };
            if !next.is_started {
                family.write_metadata(instances, writer.out);
                next.is_started = true;
            } else if let Some(part) = plan.parts.get(next.part)
                && family.parts.contains(&next.part)
            {
                writer.write(instances, *part, next);
            } else {
                next.family += 1;
                next.is_started = false;
            }
        }
        out.len() > start
    }
}

/// Writes one chunk.
struct Writer<'a> {
    rewriter: Rewriter<'a>,
    rewritten: Vec<u8>,
    /// The length of `out` with which the chunk is long enough.
    goal: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes the rest of a part, or as much of it as the chunk takes.
    fn write(&mut self, instances: &'a [Instance], part: Part, next: &mut Position) {
        if let Some(instance) = instances.get(part.instance as usize)
            && let Some(run) = instance.index().runs.get(part.run as usize)
            && let Some(stop) = self.write_run(instance, run, part.only, next)
        {
            (next.line, next.offset) = stop;
        } else {
            next.part += 1;
            next.line = 0;
        }
    }

    /// Returns the line before which the chunk ends, and where it is; `None` after the last.
    fn write_run(
        &mut self,
        instance: &'a Instance,
        run: &Run,
        only: Option<Role>,
        next: &Position,
    ) -> Option<(usize, usize)> {
        let labels = instance.labels();
        let name = instance.index().families.get(run.family as usize).map(|family| family.name)?;
        let is_wanted = |line: &[u8]| {
            only.is_none_or(|role| sample::is_named(line, [instance.text(name), role.suffix()]))
        };
        let lines = instance.index().lines.iter().skip(run.line as usize).take(run.count as usize);
        let mut offset = if next.line == 0 { run.offset as usize } else { next.offset };
        for (i, form) in lines.enumerate().skip(next.line) {
            if self.out.len() >= self.goal {
                return Some((i, offset));
            }
            if let Some((length, insert)) = form.as_copy() {
                let line = instance.bytes(offset, length);
                offset += length;
                if is_wanted(line) {
                    labels.splice(line, insert, self.out);
                }
                continue;
            }
            let line = instance.line(offset);
            offset = line.next;
            if *form == Line::DROPPED || !is_wanted(line.text) {
                continue;
            }
            self.rewritten.clear();
            // It was written so when it was measured, so there is no error to see here.
            if let Ok(insert) = self.rewriter.write(line.text, labels, &mut self.rewritten) {
                labels.splice(&self.rewritten, insert, self.out);
            }
        }
        None
    }
}
