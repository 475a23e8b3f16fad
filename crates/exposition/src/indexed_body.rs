use std::fmt;

use super::{
    error::Error,
    format::{Format, OutputFormat},
    protobuf,
    stats::Stats,
    text,
};

/// The exposition of one instance: a validated body and its index for one
/// [`OutputFormat`].
pub struct IndexedBody {
    pub(super) body: Body,
    /// Changes that the conversion to the output format made.
    pub(super) stats: Stats,
    /// The format of the body before conversion.
    pub(super) format: Format,
    pub(super) memory: usize,
}

/// A body in the family of formats of the output.
pub(super) enum Body {
    Text(text::TextBody),
    Protobuf(protobuf::ProtobufBody),
}

impl IndexedBody {
    /// Gives this body precedence: its samples are kept if another body has the same series.
    #[must_use]
    pub fn preferred(mut self) -> Self {
        match &mut self.body {
            Body::Text(instance) => instance.is_preferred = true,
            Body::Protobuf(instance) => instance.is_preferred = true,
        }
        self
    }

    /// Indexes the body for another output, as if it had been parsed for it. Both outputs must be
    /// text or OpenMetrics.
    ///
    /// # Errors
    ///
    /// The first line that cannot be written in this output.
    pub fn reindexed(self, output: OutputFormat) -> Result<Self, Error> {
        match self.body {
            Body::Text(body) => Ok(Self { body: Body::Text(body.reindexed(output)?), ..self }),
            Body::Protobuf(_) => Ok(self),
        }
    }

    /// An estimate of the memory in bytes: the body, its index and its part of a
    /// [`Merge`](super::Merge).
    ///
    /// Bodies of one [`Reader`](super::Reader) share the names of families. The first one with a
    /// name includes its memory.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The format in which the body was received.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of samples, without duplicates.
    pub fn samples(&self) -> usize {
        match &self.body {
            Body::Text(instance) => instance.samples(),
            Body::Protobuf(instance) => instance.samples(),
        }
    }
}

impl fmt::Debug for IndexedBody {
    /// Omits the body, which does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedBody").field("samples", &self.samples()).finish_non_exhaustive()
    }
}
