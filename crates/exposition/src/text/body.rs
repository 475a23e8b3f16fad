use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{
    error::{Error, ErrorKind},
    families::FamilyNaming,
    family_mapping::SourceFamily,
    format::OutputFormat,
    index::{self, BodyLine, IndexedText, ParseContext, TextIndex},
    indexer::Indexer,
    known_families::KnownFamilies,
    labels::{AddedLabels, SplitLine},
    limits::Limits,
    line_breaks, name_collisions,
    output_dialect::OutputDialect,
    plan,
    renames::Renames,
    rewrite::{RewriteContext, Rewriter},
    sample::SourceName,
    span::Span,
    template::{RewrittenPrefixes, Templates},
};

/// A validated body in the text format or OpenMetrics, and its index.
pub(in super::super) struct TextBody {
    pub(super) body: Arc<Vec<u8>>,
    pub(super) labels: AddedLabels,
    pub(super) index: TextIndex,
    pub(super) naming: FamilyNaming,
    /// The rewritten prefixes of the template, if the body was compared with one.
    prefixes: Option<Arc<RewrittenPrefixes>>,
    /// The memory of the template, if this body became it.
    template_memory: usize,
    renames: Renames,
    /// Whether its samples are kept if another body has the same series.
    pub(in super::super) is_preferred: bool,
}

impl TextBody {
    /// Validates a body in the text format or OpenMetrics, and indexes it for `output`.
    ///
    /// With `templates` the body is compared with the first body of the same grammar.
    pub(in super::super) fn parse(
        body: Vec<u8>,
        naming: FamilyNaming,
        labels: AddedLabels,
        limits: &Limits,
        output: OutputFormat,
        templates: Option<&Templates>,
    ) -> Result<Self, Error> {
        let body = Arc::new(body);
        let read = |body| Self::read(body, naming, labels.clone(), limits, output, templates);
        match read(Arc::clone(&body)) {
            Err(error) if naming == FamilyNaming::Classic && error.kind().is_quote_error() => {
                let Some((escaped, breaks)) = line_breaks::escape(&body) else {
                    return Err(error);
                };
                drop(body);
                read(Arc::new(escaped)).map_err(|error| error.shifted(|line| breaks.before(line)))
            }
            read => read,
        }
    }

    fn read(
        body: Arc<Vec<u8>>,
        naming: FamilyNaming,
        labels: AddedLabels,
        limits: &Limits,
        output: OutputFormat,
        templates: Option<&Templates>,
    ) -> Result<Self, Error> {
        if u32::try_from(body.len()).is_err() {
            return Err(Error::new(ErrorKind::BodyTooLarge, 1));
        }
        let dialect = OutputDialect::new(output);
        let context = ParseContext {
            body: &body,
            labels: &labels,
            limits,
            source: naming,
            dialect,
            renames: None,
        };
        let template = templates.and_then(|templates| templates.get(naming));
        let (index, template_builder) =
            Indexer::new(context, template, templates.is_some()).index()?;
        let template_memory = match (templates, template_builder) {
            (Some(templates), Some(template_builder)) => {
                templates.set(context, Arc::clone(&body), template_builder)
            }
            _ => 0,
        };
        let prefixes = template.map(|template| Arc::clone(&template.prefixes));
        let instance = Self {
            body,
            labels,
            index,
            naming,
            prefixes,
            template_memory,
            renames: Renames::default(),
            is_preferred: false,
        };
        Ok(instance.with_own_renames(dialect))
    }

    /// The same body, indexed for another output.
    pub(in super::super) fn reindexed(self, output: OutputFormat) -> Result<Self, Error> {
        let dialect = OutputDialect::new(output);
        let Self { body, labels, naming, .. } = &self;
        let context = ParseContext {
            body,
            labels,
            limits: &Limits::NONE,
            source: *naming,
            dialect,
            renames: None,
        };
        let (index, _) = Indexer::new(context, None, false).index()?;
        let instance = Self { index, prefixes: None, renames: Renames::default(), ..self };
        Ok(instance.with_own_renames(dialect))
    }

    /// Resolves collisions between the names of this body.
    fn with_own_renames(self, dialect: OutputDialect) -> Self {
        let renames = name_collisions::find(&[self.indexed()], &self.labels, &dialect);
        self.renamed(renames, dialect)
    }

    fn indexed(&self) -> IndexedText<'_> {
        IndexedText { body: &self.body, index: &self.index }
    }

    /// Drops the samples whose lines start at these offsets.
    pub(super) fn drop_lines(&mut self, offsets: &BTreeSet<u32>, dialect: OutputDialect) {
        let Self { body, labels, naming: source, renames, index, .. } = self;
        let renames = (!renames.is_empty()).then_some(&*renames);
        let context =
            ParseContext { body, labels, limits: &Limits::NONE, source: *source, dialect, renames };
        for run in index.runs.clone() {
            let mut offset = run.offset as usize;
            for i in run.line..run.line + run.count {
                if offsets.contains(&(offset as u32)) {
                    index.drop_line(i as usize, offset as u32, &context);
                }
                offset = index::line(body, offset).next;
            }
        }
    }

    /// The same body, with the bounds of these families left as they are.
    pub(super) fn with_original_bounds(
        self,
        families: &BTreeSet<Vec<u8>>,
        dialect: OutputDialect,
    ) -> Self {
        let mut renames = self.renames.clone();
        families.iter().for_each(|family| renames.add_equal_bounds(family));
        self.renamed(renames, dialect)
    }

    /// The series of a line in the output, with the added labels.
    pub(super) fn series(
        &self,
        form: RewriteContext<'_>,
        line: &[u8],
        dialect: OutputDialect,
    ) -> String {
        let mut written = Vec::new();
        let mut rewriter = Rewriter::new(dialect);
        // The line was parsed before, so there is no error.
        let Ok(series) = rewriter.series(line, &self.labels, form, &mut written) else {
            return String::new();
        };
        let mut out = Vec::new();
        if let Some(split) = SplitLine::new(&written, series.insert) {
            self.labels.join(&split, &mut out);
        }
        String::from_utf8_lossy(out.trim_ascii_end()).into_owned()
    }

    /// The number of the line that starts at `offset`, counted from 1.
    pub(super) fn line_number(&self, offset: u32) -> usize {
        self.lines(0..offset) + 1
    }

    /// The number of lines that end between these offsets.
    pub(super) fn lines(&self, offsets: Range<u32>) -> usize {
        let text = self.body.get(offsets.start as usize..offsets.end as usize);
        memchr::memchr_iter(b'\n', text.unwrap_or_default()).count()
    }

    /// The same body with other output names.
    pub(super) fn renamed(self, renames: Renames, dialect: OutputDialect) -> Self {
        if self.renames == renames {
            return self;
        }
        let Self { body, labels, naming: source, .. } = &self;
        let (limits, renames_of_task) = (&Limits::NONE, Some(&renames));
        let context = ParseContext {
            body,
            labels,
            limits,
            source: *source,
            dialect,
            renames: renames_of_task,
        };
        match Indexer::new(context, None, false).index() {
            Ok((index, _)) => Self { index, prefixes: None, renames, ..self },
            // The body was parsed before, so there is no error.
            Err(_) => self,
        }
    }

    /// The memory of the body, of its index and of its part of a merge, in bytes.
    pub(in super::super) fn memory(&self, output: OutputFormat, known: &KnownFamilies) -> usize {
        let families = || {
            self.index.families.iter().map(|family| {
                let name = family.name.of(&self.body).unescaped();
                let memory = plan::family_memory(name.len(), family.shape.roles);
                (name, memory + KnownFamilies::NAME_BYTES)
            })
        };
        let new = if self.index.has_template_families { 0 } else { known.add(families()) };
        size_of::<Self>()
            + self.body.capacity()
            + self.index.memory()
            + self.renames.memory()
            + self.template_memory
            + plan::instance_memory(self, &OutputDialect::new(output))
            + new
    }

    /// The number of samples, without duplicates.
    pub(in super::super) fn samples(&self) -> usize {
        self.index.lines.len() - self.index.duplicates
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.body)
    }

    /// The family under its name in the body.
    pub(super) fn source(&self, family: u32) -> SourceFamily<'_> {
        let family = self.index.families.get(family as usize);
        SourceFamily {
            name: family.map_or_else(SourceName::default, |family| family.name.of(&self.body)),
            metric_type: family.and_then(|family| family.metric_type),
            naming: self.naming,
            renames: (!self.renames.is_empty()).then_some(&self.renames),
        }
    }

    /// The context for rewriting the lines of a run.
    pub(super) fn form(&self, run: usize, keeps_exemplar: bool) -> RewriteContext<'_> {
        let run = self.index.runs.get(run);
        RewriteContext {
            family: self.source(run.map_or(0, |run| run.family)),
            has_canonical_bounds: run.is_some_and(|run| run.has_canonical_bounds),
            keeps_exemplar,
        }
    }

    pub(super) fn line(&self, offset: usize) -> BodyLine<'_> {
        index::line(&self.body, offset)
    }

    /// The line at `offset`, written like `sample` of the template, and the length of the line in
    /// the body. The line has `length` bytes after the added labels.
    #[inline(always)]
    pub(super) fn template_line(
        &self,
        sample: u32,
        offset: usize,
        length: usize,
    ) -> Option<(SplitLine<'_>, usize)> {
        let (before, has_braces, start) = self.prefixes.as_ref()?.get(sample as usize)?;
        let after = self.bytes(offset + start, length);
        Some((SplitLine { before, after, has_braces }, start + length))
    }

    pub(super) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        self.body.get(start..start + length).unwrap_or_default()
    }
}

/// Gives bodies output names under which different series stay different.
///
/// Only bodies with equal added labels are compared. Otherwise the added labels make the series
/// different.
pub(super) fn resolve_name_collisions(
    instances: Vec<TextBody>,
    dialect: OutputDialect,
) -> Vec<TextBody> {
    let mut groups = HashMap::<&[u8], Vec<usize>>::new();
    for (i, instance) in instances.iter().enumerate() {
        groups.entry(instance.labels.inserted(true)).or_default().push(i);
    }
    let renames: Vec<_> = groups
        .into_values()
        .filter(|group| group.len() > 1)
        .flat_map(|group| {
            let bodies = group.iter().filter_map(|&i| instances.get(i));
            let added = bodies.clone().next().map(|body| &body.labels);
            let bodies: Vec<_> = bodies.map(TextBody::indexed).collect();
            let renames = added.map(|added| name_collisions::find(&bodies, added, &dialect));
            let renames = renames.unwrap_or_default();
            group.into_iter().map(move |i| (i, renames.clone()))
        })
        .collect();
    let mut renames: HashMap<_, _> = renames.into_iter().collect();
    let renamed = |(i, instance): (usize, TextBody)| match renames.remove(&i) {
        Some(renames) => instance.renamed(renames, dialect),
        None => instance,
    };
    instances.into_iter().enumerate().map(renamed).collect()
}
