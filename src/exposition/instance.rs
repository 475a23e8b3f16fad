use std::fmt;

use super::{
    error::{Error, ErrorKind},
    index::{self, Index, Span, TextLine},
    indexer::Indexer,
    labels::Labels,
    limits::Limits,
};

/// The exposition of one instance: a body that was checked whole, and its index.
pub struct Instance {
    body: Vec<u8>,
    labels: Labels,
    index: Index,
}

impl Instance {
    /// Checks a body in text format 0.0.4 and indexes it; an empty one is an
    /// exposition too. The `labels` are added to each of its samples.
    ///
    /// # Errors
    ///
    /// The first line that is not as the format wants it, or is more than the `limits`.
    pub fn parse(body: impl Into<Vec<u8>>, labels: Labels, limits: &Limits) -> Result<Self, Error> {
        let body = body.into();
        if u32::try_from(body.len()).is_err() {
            return Err(Error::new(ErrorKind::BodyTooLarge, 1));
        }
        let index = Indexer::new(&body, &labels, limits).index()?;
        Ok(Self { body, labels, index })
    }

    /// How many samples it has, without its duplicates.
    pub fn samples(&self) -> usize {
        self.index.lines.len() - self.index.duplicates
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.of(&self.body)
    }

    pub(super) fn line(&self, offset: usize) -> TextLine<'_> {
        index::line(&self.body, offset)
    }

    pub(super) fn bytes(&self, start: usize, length: usize) -> &[u8] {
        self.body.get(start..start + length).unwrap_or_default()
    }
}

impl fmt::Debug for Instance {
    /// Without the body, which does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("samples", &self.samples()).finish_non_exhaustive()
    }
}
