use std::sync::Arc;

use super::{
    dialect::Dialect,
    error::{Error, ErrorKind},
    families::Naming,
    format::Target,
    index::{self, Index, TextLine},
    indexer::Indexer,
    labels::{Labels, Split},
    limits::Limits,
    rewrite::Form,
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
        if u32::try_from(body.len()).is_err() {
            return Err(Error::new(ErrorKind::BodyTooLarge, 1));
        }
        let (body, dialect) = (Arc::new(body), Dialect::new(target));
        let task = Task { body: &body, labels: &labels, limits, source: naming, dialect };
        let model = models.and_then(|models| models.get(naming));
        let (index, lessons) = Indexer::new(task, model, models.is_some()).index()?;
        if let (Some(models), Some(lessons)) = (models, lessons) {
            models.learn(task, Arc::clone(&body), lessons);
        }
        let heads = model.map(|model| Arc::clone(&model.heads));
        Ok(Self { body, labels, index, naming, heads })
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
