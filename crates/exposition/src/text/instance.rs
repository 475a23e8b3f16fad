use std::{collections::BTreeSet, sync::Arc};

use super::{
    collisions,
    dialect::Dialect,
    error::{Error, ErrorKind},
    families::Naming,
    format::Target,
    index::{self, Index, TextLine},
    indexer::Indexer,
    labels::{Labels, Split},
    limits::Limits,
    line_breaks,
    renames::Renames,
    rewrite::{Form, Rewriter},
    sample::Name,
    siblings::{Heads, Models},
    span::Span,
    task::Task,
    translate::Source,
};

/// A body of text that was checked whole, and its index.
pub(in super::super) struct Instance {
    pub(super) body: Arc<Vec<u8>>,
    pub(super) labels: Labels,
    pub(super) index: Index,
    pub(super) naming: Naming,
    /// Of the body that it was compared with.
    heads: Option<Arc<Heads>>,
    renames: Renames,
    /// Its samples are kept where another body has the same.
    pub(in super::super) is_preferred: bool,
}

impl Instance {
    /// Checks a body in the text format or OpenMetrics, and indexes it for an answer in
    /// `target`.
    ///
    /// With `models` it is compared with the first body that came with them.
    pub(in super::super) fn parse(
        body: Vec<u8>,
        naming: Naming,
        labels: Labels,
        limits: &Limits,
        target: Target,
        models: Option<&Models>,
    ) -> Result<Self, Error> {
        let body = Arc::new(body);
        let read = |body| Self::read(body, naming, labels.clone(), limits, target, models);
        match read(Arc::clone(&body)) {
            Err(error) if naming == Naming::Classic && error.kind().is_of_quotes() => {
                let Some((escaped, breaks)) = line_breaks::escape(&body) else {
                    return Err(error);
                };
                drop(body);
                read(Arc::new(escaped)).map_err(|error| error.moved(|line| breaks.before(line)))
            }
            read => read,
        }
    }

    fn read(
        body: Arc<Vec<u8>>,
        naming: Naming,
        labels: Labels,
        limits: &Limits,
        target: Target,
        models: Option<&Models>,
    ) -> Result<Self, Error> {
        if u32::try_from(body.len()).is_err() {
            return Err(Error::new(ErrorKind::BodyTooLarge, 1));
        }
        let dialect = Dialect::new(target);
        let task =
            Task { body: &body, labels: &labels, limits, source: naming, dialect, renames: None };
        let model = models.and_then(|models| models.get(naming));
        let (index, lessons) = Indexer::new(task, model, models.is_some()).index()?;
        if let (Some(models), Some(lessons)) = (models, lessons) {
            models.learn(task, Arc::clone(&body), lessons);
        }
        let heads = model.map(|model| Arc::clone(&model.heads));
        let instance = Self {
            body,
            labels,
            index,
            naming,
            heads,
            renames: Renames::default(),
            is_preferred: false,
        };
        let renames = collisions::find(&[&instance], &dialect);
        Ok(instance.renamed(renames, dialect))
    }

    /// Takes out the samples whose lines start there.
    pub(super) fn drop_lines(&mut self, offsets: &BTreeSet<u32>, dialect: Dialect) {
        let Self { body, labels, naming: source, renames, index, .. } = self;
        let renames = (!renames.is_empty()).then_some(&*renames);
        let task = Task { body, labels, limits: &Limits::NONE, source: *source, dialect, renames };
        for run in index.runs.clone() {
            let mut offset = run.offset as usize;
            for i in run.line..run.line + run.count {
                if offsets.contains(&(offset as u32)) {
                    index.drop_line(i as usize, offset as u32, &task);
                }
                offset = index::line(body, offset).next;
            }
        }
    }

    /// The same where the bounds of these families stay as they are spelled.
    pub(super) fn with_spelled_bounds(
        self,
        families: &BTreeSet<Vec<u8>>,
        dialect: Dialect,
    ) -> Self {
        let mut renames = self.renames.clone();
        families.iter().for_each(|family| renames.add_equal_bounds(family));
        self.renamed(renames, dialect)
    }

    /// The series of a line as it is written, with the added labels.
    pub(super) fn series(&self, form: Form<'_>, line: &[u8], dialect: Dialect) -> String {
        let mut written = Vec::new();
        let mut rewriter = Rewriter::new(dialect);
        // It was read before, so there is no error to see here.
        let Ok(series) = rewriter.series(line, &self.labels, form, &mut written) else {
            return String::new();
        };
        let mut out = Vec::new();
        if let Some(split) = Split::new(&written, series.insert) {
            self.labels.join(&split, &mut out);
        }
        String::from_utf8_lossy(out.trim_ascii_end()).into_owned()
    }

    /// The number of the line that starts there, counted from 1.
    pub(super) fn line_number(&self, offset: u32) -> usize {
        let before = self.body.get(..offset as usize).unwrap_or_default();
        memchr::memchr_iter(b'\n', before).count() + 1
    }

    /// The same under other names.
    pub(super) fn renamed(self, renames: Renames, dialect: Dialect) -> Self {
        if self.renames == renames {
            return self;
        }
        let Self { body, labels, naming: source, .. } = &self;
        let (limits, renames_of_task) = (&Limits::NONE, Some(&renames));
        let task =
            Task { body, labels, limits, source: *source, dialect, renames: renames_of_task };
        match Indexer::new(task, None, false).index() {
            Ok((index, _)) => Self { index, heads: None, renames, ..self },
            // It was read before, so there is no error to see here.
            Err(_) => self,
        }
    }

    /// How many samples it has, without its duplicates.
    pub(in super::super) fn samples(&self) -> usize {
        self.index.lines.len() - self.index.duplicates
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.body)
    }

    /// A family as the body names it.
    pub(super) fn source(&self, family: u32) -> Source<'_> {
        let family = self.index.families.get(family as usize);
        Source {
            name: family.map_or_else(Name::default, |family| family.name.of(&self.body)),
            metric_type: family.and_then(|family| family.metric_type),
            naming: self.naming,
            renames: (!self.renames.is_empty()).then_some(&self.renames),
        }
    }

    /// How the lines of a run are written.
    pub(super) fn form(&self, run: usize, keeps_exemplar: bool) -> Form<'_> {
        let run = self.index.runs.get(run);
        Form {
            family: self.source(run.map_or(0, |run| run.family)),
            has_bounds: run.is_some_and(|run| run.has_bounds),
            keeps_exemplar,
        }
    }

    pub(super) fn line(&self, offset: usize) -> TextLine<'_> {
        index::line(&self.body, offset)
    }

    /// The line at `offset`, which is alike to a sample of the model and has `length` bytes
    /// behind its added labels; and how long it is in the body.
    #[inline(always)]
    pub(super) fn alike(
        &self,
        sample: u32,
        offset: usize,
        length: usize,
    ) -> Option<(Split<'_>, usize)> {
        let (before, has_braces, start) = self.heads.as_ref()?.get(sample as usize)?;
        let after = self.bytes(offset + start, length);
        Some((Split { before, after, has_braces }, start + length))
    }

    pub(super) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        self.body.get(start..start + length).unwrap_or_default()
    }
}
